"""`tiermalloc pgo`: records a program, makes classes that fit it, builds the library with them, and measures the gain."""

import pathlib
import sys

import histogram
import profile_printer
from picture import page
from support import analysis, building, files, gain, optimising, parsers, places, preload, profiles, recordings
from support.measuring import Workload

DEFAULT_FOLDER = "tiermalloc-pgo"
DEFAULT_RUNS = 5

# What is in the folder afterwards.
PROFILE, RESULT, PAGE, LOG = "profile.toml", "result.txt", "report.html", "program.log"


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "pgo", execute,
        summary="do the whole loop and show the gain",
        description="Record a program, make size classes that fit it, build the library with them, and measure it before and\n"
                    "after. The program has to end by itself, with status 0, and should do the same each time. What it prints\n"
                    f"goes to {LOG} in the folder; standard input, if it is a file, is read anew in each run. In the folder\n"
                    f"afterwards: before.histogram and after.histogram, {PROFILE}, both builds, {PAGE}, {RESULT}.",
        examples=("./program arguments", "-o pgo-sqlite --runs 9 sqlite3 :memory: < script.sql",
                  "--objective memory --max-classes 64 python3 script.py"))
    parser.add_argument("-o", "--output", metavar="DIR", default=DEFAULT_FOLDER,
                        help=f"the folder for the results (default {DEFAULT_FOLDER})")
    parser.add_argument("--runs", metavar="N", type=parsers.whole_number(1), default=DEFAULT_RUNS,
                        help=f"runs on each library that are measured (default {DEFAULT_RUNS})")
    parsers.add_process(parser)
    parser.add_argument("--source", metavar="DIR", help="the source tree of tiermalloc; by default the one that the tool is in")
    optimising.add_options(parser)
    parsers.add_configuration(parser)
    parsers.add_program(parser)


def say(text):
    print(f"tiermalloc: {text}", file=sys.stderr)


def execute(options):
    entries = preload.check_entries("--conf", options.conf)
    source = places.find_source(options.source)
    folder = pathlib.Path(options.output).absolute()
    files.make_folder(folder)
    workload = Workload(parsers.program_of(options), folder / LOG)

    def build(profile, side):
        say(f"building the library with {profile}")
        return building.build_library(profile, folder / f"build-{side}", source)

    def record(library, side):
        path = folder / f"{side}.histogram"
        say(f"recording {workload.program[0]} ({side})")
        with recordings.Recorder(path) as recorder:
            recorded = workload.record(library, recorder, entries, options.process)
        files.write_file(path, histogram.histogram_text(recorded))
        return recorded

    libraries = [build(options.base, "before")]
    recorded = [record(libraries[0], "before")]
    say("making size classes")
    suggestion = optimising.suggest(options, recorded[0])
    files.write_file(folder / PROFILE, profile_printer.profile_text(suggestion))
    libraries.append(build(folder / PROFILE, "after"))
    runs = workload.measure_interleaved(libraries, options.runs, entries,
                                        lambda turn: say(f"measuring, {turn} of {options.runs}"))
    recorded.append(record(libraries[1], "after"))
    layouts = [profiles.load(options.base), profiles.load(folder / PROFILE)]
    text = "\n".join(gain.gain_lines(recorded, suggestion, runs)) + "\n"
    files.write_file(folder / RESULT, text)
    lines = analysis.lines_of(recorded[0], layouts)
    files.write_file(folder / PAGE, page.page_text(" ".join(workload.program), recorded[0], layouts, lines))
    print(text, end="")
    say(f"{folder / PAGE} shows the sizes; the library is {libraries[1]}")
    return 0

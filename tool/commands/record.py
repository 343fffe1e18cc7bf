"""`tiermalloc record`: runs a program with recording on, and leaves one histogram of all its processes."""

import os
import sys

import histogram
from support import files, figures, parsers, places, preload, recordings
from support.refusal import EXIT_REFUSED, Refused


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "record", execute,
        summary="run a program and record what it allocates",
        description="Run a program with the library preloaded and recording on, and write one histogram: the sum over all its\n"
                    "processes that have ended when the program itself ends. The exit status is the program's.",
        examples=("-o app.histogram ./program arguments", "-o cc1.histogram --process cc1 gcc -c file.c",
                  "-o server.histogram --period 10 ./server"))
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the histogram to write")
    parsers.add_process(parser)
    parser.add_argument("--period", metavar="SECONDS", type=parsers.whole_number(1),
                        help="write as it goes, so that a process that is killed leaves what it had by then")
    parsers.add_library(parser)
    parsers.add_program(parser)


def execute(options):
    program = parsers.program_of(options)
    entries = preload.check_entries("--conf", options.conf)
    library = places.find_library(options.library)
    with recordings.Recorder(options.output) as recorder:
        status = preload.run(program, {**os.environ, **recorder.settings(library, entries, options.period)})
        if status in (preload.EXIT_NOT_FOUND, preload.EXIT_CANNOT_RUN) and not os.listdir(recorder.folder):
            return status
        try:
            recorded = recorder.merged(options.process)
            files.write_file(options.output, histogram.histogram_text(recorded))
        except (Refused, histogram.HistogramError) as error:
            print("\n".join(f"tiermalloc: {line}" for line in error.problems), file=sys.stderr)
            return status or EXIT_REFUSED
    print(f"tiermalloc: {options.output}: {figures.recorded_text(recorded)}", file=sys.stderr)
    return status

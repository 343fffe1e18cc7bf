#!/usr/bin/env python3
"""Measures allocators and compares them: `run` (what is done without a command), `compare`, `report`, `list`.

Relies on the drivers that `meson compile -C build bench-drivers` builds, on the programs that the group `programs`
runs, and on Linux. docs/benchmarks.md says how measuring is done and what the rows are.
"""

import argparse
import datetime
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import groups
from harness import allocators, compare, launch, machine, measure, plots, results, summary, table
from harness.rows import GROUPS

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEFAULT_DRIVERS = ROOT / "build" / "bench" / "drivers"
DEFAULT_LIBRARY = ROOT / "build" / "src" / "libtiermalloc.so"

# The groups whose drivers are also built with allocators linked in.
LINKED_GROUPS = ("micro", "threads", "tail")

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


class UsageError(Exception):
    """The command line asks for something that is not there."""


def say(text):
    print(f"benchmark: {text}", file=sys.stderr)


def parse_allocator(text):
    """NAME=PATH of a library, or the word glibc for the C library's own."""
    name, _, path = text.partition("=")
    if text == allocators.BASELINE:
        return allocators.baseline()
    if not name or not pathlib.Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r}: must be NAME=PATH of a library, or {allocators.BASELINE}")
    return allocators.Allocator(name, str(pathlib.Path(path).absolute()))


def parse_groups(text):
    chosen = text.split(",")
    unknown = [group for group in chosen if group not in GROUPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    return [group for group in GROUPS if group in chosen]


def parse_count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number from 1")
    return int(text)


def parse_pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def add_selection(parser):
    parser.add_argument("--groups", metavar="NAME,...", type=parse_groups, default=list(GROUPS),
                        help=", ".join(GROUPS))
    parser.add_argument("--rows", metavar="REGEX", type=parse_pattern,
                        help="only the rows in whose name it is found")
    parser.add_argument("--quick", action="store_true",
                        help=f"fewer rows (unless they are named), runs of {measure.QUICK_MILLISECONDS} ms, "
                             f"{measure.QUICK_REPETITIONS} repetitions: does it work, and about how fast is it")


def add_run_arguments(parser):
    add_selection(parser)
    parser.add_argument("--reps", metavar="N", type=parse_count,
                        help="repetitions, in place of each group's own number")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--allocators", metavar="NAME=PATH", nargs="+", type=parse_allocator,
                       help="compare these, the first with the others, in place of those found; "
                            f"{allocators.BASELINE} is the C library's own")
    which.add_argument("--extra", metavar="NAME=PATH", nargs="+", type=parse_allocator, default=[],
                       help="show these beside those found")
    parser.add_argument("--static", action="store_true",
                        help=f"also the allocators that are linked into the drivers of {', '.join(LINKED_GROUPS)}")
    parser.add_argument("--output", metavar="FOLDER", type=pathlib.Path,
                        help="the results folder (default: one named by the time, below build/bench-results)")
    parser.add_argument("--tiermalloc", metavar="PATH", default=DEFAULT_LIBRARY, help="our library")
    parser.add_argument("--drivers", metavar="FOLDER", type=pathlib.Path, default=DEFAULT_DRIVERS,
                        help="where the build has put the drivers")
    parser.add_argument("--check", action="store_true", help="end with status 1 if a goal is missed")


def parse_arguments(command_line):
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add_run_arguments(commands.add_parser("run", help="measure; `run --help` lists the options"))
    comparing = commands.add_parser("compare", help="what became slower or larger between two results")
    comparing.add_argument("before", help="a results folder, or its results.json")
    comparing.add_argument("after")
    comparing.add_argument("--allocator", metavar="NAME", help="whose change (default: ours)")
    commands.add_parser("report", help="make tables and plots again").add_argument("folder", type=pathlib.Path)
    add_selection(commands.add_parser("list", help="the rows"))
    if not command_line or (command_line[0].startswith("-") and command_line[0] not in ("-h", "--help")):
        command_line = ["run", *command_line]
    return parser.parse_args(command_line)


def choose_rows(arguments):
    """The rows asked for. A quick run leaves some out, unless rows are named."""
    pattern = arguments.rows or re.compile("")
    leave_out = arguments.quick and arguments.rows is None
    rows = [row for row in groups.collect_rows()
            if row.group in arguments.groups and pattern.search(row.name) and (row.quick or not leave_out)]
    if not rows:
        raise UsageError(f"no row matches {pattern.pattern!r} in {', '.join(arguments.groups)}")
    return rows


def choose_allocators(arguments):
    """What is preloaded, what is linked into drivers, and the names of the peers."""
    linked = allocators.find_linked(arguments.drivers) if arguments.static else []
    if arguments.static and not linked:
        raise UsageError(f"no driver in {arguments.drivers} has an allocator linked into it")
    if arguments.allocators:
        preloaded, peers = arguments.allocators, [one.name for one in arguments.allocators[1:]]
    else:
        if not pathlib.Path(arguments.tiermalloc).is_file():
            raise UsageError(f"{arguments.tiermalloc} is not built; `make bench` builds it")
        preloaded, missing = allocators.find_allocators(arguments.tiermalloc)
        if missing:
            say(f"not installed, left out: apt-get install {' '.join(missing)}")
        peers = [one.name for one in preloaded[1:]]
        preloaded += arguments.extra
    names = [one.name for one in preloaded + linked]
    if len(set(names)) != len(names):
        raise UsageError(f"a name is used twice: {', '.join(names)}")
    return preloaded, linked, peers


def default_folder(drivers):
    """Below the build folder; the link `latest` is set to it."""
    parent = drivers.resolve().parents[1] / "bench-results"
    folder = parent / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder.mkdir(parents=True)
    link = parent / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    return folder


def make_folder(arguments):
    if not (arguments.drivers / "launch").exists():
        raise UsageError(f"no drivers in {arguments.drivers}; `make bench` builds them")
    if arguments.output is None:
        return default_folder(arguments.drivers)
    arguments.output.mkdir(parents=True, exist_ok=True)
    return arguments.output


class Collection:
    """The results of a run as they are so far."""

    def __init__(self, arguments, rows, compared, peers, milliseconds):
        chosen = dict.fromkeys(row.group for row in rows)
        default = dict.fromkeys(chosen, measure.QUICK_REPETITIONS) if arguments.quick else measure.REPETITIONS
        self.repetitions = {group: arguments.reps or default[group] for group in chosen}
        self.measured = []
        self.head = {
            "format": results.FORMAT, "ours": compared[0].name, "peers": peers,
            "allocators": {one.name: allocators.describe(one) for one in compared},
            "machine": machine.describe(arguments.drivers), "repository": machine.describe_commit(),
            "run": {"quick": arguments.quick, "milliseconds": milliseconds, "repetitions": self.repetitions,
                    "finished": False},
        }

    def results(self):
        return self.head | {"rows": [results.row_entry(one) for one in self.measured if one.samples]}

    def finish(self):
        self.head["run"]["finished"] = True
        self.head["machine"]["load_after"] = machine.load_average()


def write_report(folder, found):
    """Tables and plots from results, into their folder; the tables also to standard output. Returns the verdicts."""
    verdicts = summary.judge_all(found)
    (folder / "tables.md").write_text(table.markdown(found, verdicts), encoding="utf-8")
    print(table.terminal(found, verdicts))
    draw(folder, found, verdicts)
    return verdicts


def draw(folder, found, verdicts):
    """The plots, drawn by Debian's Python if matplotlib is there alone."""
    if plots.available:
        plots.plot_all(found, verdicts, folder)
    elif pathlib.Path(plots.DEBIAN_PYTHON).exists() and not pathlib.Path(plots.DEBIAN_PYTHON).samefile(sys.executable):
        command = [plots.DEBIAN_PYTHON, "-B", __file__, "report", str(folder)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # it says itself what it lacks
    else:
        say(plots.HOW_TO_INSTALL)


def run(arguments):
    rows = choose_rows(arguments)
    preloaded, linked, peers = choose_allocators(arguments)
    folder = make_folder(arguments)
    milliseconds = measure.QUICK_MILLISECONDS if arguments.quick else measure.MILLISECONDS
    collection = Collection(arguments, rows, preloaded + linked, peers, milliseconds)
    for warning in summary.noise_warnings(collection.results(), []):
        say(warning)
    scratch = tempfile.mkdtemp(prefix="bench-")
    interrupted = False
    try:
        session = launch.Session(arguments.drivers.resolve(), scratch, milliseconds, arguments.quick)
        measure.measure_all(session, rows, lambda group: preloaded + (linked if group in LINKED_GROUPS else []),
                            collection.repetitions, collection.measured,
                            lambda: results.write(folder, collection.results()))
        collection.finish()
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; this is what there is")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    results.write(folder, collection.results())
    verdicts = write_report(folder, collection.results())
    print(f"results: {folder}")
    if interrupted:
        return INTERRUPTED_STATUS
    failed = any(one.failed for one in collection.measured)
    return int(failed or (arguments.check and bool(summary.missed_goals(verdicts))))


def run_compare(arguments):
    before, after = results.read(arguments.before), results.read(arguments.after)
    name = arguments.allocator or after["ours"]
    for path, found in ((arguments.before, before), (arguments.after, after)):
        if name not in found["allocators"]:
            raise UsageError(f"{path} has no allocator {name}")
    text, worse = compare.report(before, after, name)
    print(text)
    return int(worse)


def run_report(arguments):
    write_report(arguments.folder, results.read(arguments.folder))
    return 0


def run_list(arguments):
    for row in choose_rows(arguments):
        print(f"{row.group:9} {row.name}")
    return 0


def main(command_line=None):
    arguments = parse_arguments(sys.argv[1:] if command_line is None else command_line)
    try:
        commands = {"run": run, "compare": run_compare, "report": run_report, "list": run_list}
        return commands[arguments.command](arguments)
    except (UsageError, results.ResultsError) as error:
        say(str(error))
        return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main())

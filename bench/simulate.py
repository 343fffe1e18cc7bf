#!/usr/bin/env python3
"""Runs the page heap alone against traces, with the operating system replaced by an account: `run`, `compare`, `record`,
`list`.

Relies on the programs that `meson compile -C build simulator` builds. docs/simulator.md explains traces and values.
"""

import argparse
import csv
import json
import pathlib
import sys
import tempfile

from harness import machine
from simulator import comparing, figures, plot, programs, runs

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEFAULT_LIBRARY = ROOT / "build" / "src" / "libtiermalloc.so"
DEFAULT_PROGRAMS = ROOT / "build" / "bench" / "simulator"


def parse_positive(text):
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number above 0")
    return number


def parse_count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 1 on")
    return int(text)


def add_run_arguments(parser):
    parser.add_argument("traces", metavar="TRACE", nargs="*",
                        help="the name of a workload to generate, or a file as `tiermalloc trace` writes it, also .gz "
                             "or .xz (default: all workloads but huge)")
    parser.add_argument("--heaps", metavar="NAME,...", default="tiermalloc,first-fit,best-fit",
                        help="page heaps to run them on (%(default)s)")
    parser.add_argument("--huge", action="store_true",
                        help="the kernel gives huge pages wherever it can (transparent_hugepage: always)")
    parser.add_argument("--thp", action="store_true",
                        help="the page heap has its policy for huge pages (option thp:auto); otherwise it asks for none")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of generated traces (%(default)s)")
    parser.add_argument("--scale", metavar="X", type=parse_positive, default=1.0,
                        help="makes generated traces so many times as large (%(default)s)")
    parser.add_argument("--runs", metavar="N", type=parse_count, default=1,
                        help="run each N times; of the page heap's own times the least counts (%(default)s)")
    parser.add_argument("--programs", metavar="FOLDER", type=pathlib.Path, default=DEFAULT_PROGRAMS,
                        help="where the build has put simulate and generate")
    parser.add_argument("--traces", metavar="FOLDER", type=pathlib.Path, dest="folder",
                        help="keep generated traces there, and use those that are there (in place of a folder that goes)")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write all values there, for `compare`")
    parser.add_argument("--csv", metavar="FOLDER", type=pathlib.Path, help="write each run's series there")
    parser.add_argument("--plot", metavar="FILE", type=pathlib.Path, help="draw the series (SVG; needs matplotlib)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")


def parse_arguments(command_line):
    parser = argparse.ArgumentParser(prog="simulate.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add_run_arguments(commands.add_parser("run", help="run traces; `run --help` lists the options"))
    compare = commands.add_parser("compare", help="the values of two runs side by side")
    compare.add_argument("before", type=pathlib.Path, help="what --json has written")
    compare.add_argument("after", type=pathlib.Path)
    compare.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    recording = commands.add_parser("record", help="record the traces of real programs, a minute and a half for all")
    recording.add_argument("folder", type=pathlib.Path, help="where to put them, as NAME.trace.xz")
    recording.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(programs.PROGRAMS)} (default: all)")
    recording.add_argument("--library", metavar="PATH", type=pathlib.Path, default=DEFAULT_LIBRARY, help="our library")
    listing = commands.add_parser("list", help="the workloads that traces are generated from")
    listing.add_argument("--programs", metavar="FOLDER", type=pathlib.Path, default=DEFAULT_PROGRAMS)
    return parser.parse_args(command_line)


def write_series(folder, results):
    folder.mkdir(parents=True, exist_ok=True)
    for (trace, heap), result in results.items():
        with open(folder / f"{pathlib.Path(trace).name}.{heap}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(runs.SERIES)
            writer.writerows(result["series"])


def write_results(path, results):
    entries = [{"trace": trace, **result} for (trace, _), result in results.items()]
    path.write_text(json.dumps({"format": 1, "machine": machine.one_line(machine.describe(DEFAULT_PROGRAMS)),
                                "repository": machine.describe_commit(), "results": entries}) + "\n", encoding="utf-8")


def run(arguments):
    heaps = arguments.heaps.split(",")
    simulator = runs.Programs(arguments.programs)
    options = [option for option, on in (("--huge", arguments.huge), ("--thp", arguments.thp)) if on]
    names = arguments.traces or [name for name in simulator.workloads() if name != "huge"]
    with tempfile.TemporaryDirectory(prefix="simulate-") as scratch:
        traces = runs.Traces(simulator, arguments.folder or pathlib.Path(scratch), arguments.seed, arguments.scale)
        results = {(name, heap): simulator.simulate(traces.find(name), heap, options, arguments.runs)
                   for name in names for heap in heaps}
    print(figures.text(results, heaps[0], arguments.markdown))
    if arguments.json:
        write_results(arguments.json, results)
    if arguments.csv:
        write_series(arguments.csv, results)
    if arguments.plot:
        plot.draw(arguments.plot, results)


def record(arguments):
    unknown = [name for name in arguments.names if name not in programs.PROGRAMS]
    if unknown:
        raise runs.SimulatorError(f"{unknown[0]}: no such program; there are {', '.join(programs.PROGRAMS)}")
    for name in arguments.names or programs.PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="record-") as scratch:
            print(programs.record(name, arguments.library.absolute(), arguments.folder, pathlib.Path(scratch)))


def main(command_line):
    arguments = parse_arguments(command_line)
    try:
        if arguments.command == "run":
            run(arguments)
        elif arguments.command == "record":
            record(arguments)
        elif arguments.command == "compare":
            print(comparing.text(arguments.before, arguments.after, arguments.markdown))
        else:
            print(runs.Programs(arguments.programs).listing(), end="")
    except runs.SimulatorError as error:
        print(f"simulate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

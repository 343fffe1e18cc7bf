#!/usr/bin/env python3
"""The PGO loop on the benchmark's real programs: what classes made from a recording of each bring it. Makes the tables of
docs/pgo.md, and the profiles and histograms of classes/.

Each program is recorded on the default profile, and classes are made from that: with the default's alignment of 16, and
with 8, which a program has to be able to do with. Both libraries are built, and recorded in turn for the waste that is
really there. Then all three run in turns, for processor time and peak memory. Relies on bench/groups/programs.py for the
programs, on codegen/ for the classes, and on tool/ for building.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import shutil
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "codegen"), str(ROOT / "tool")]

import histogram
import optimiser
import profile_printer
import profile_reader
import waste
from groups import programs
from harness import launch, machine, measure
from harness.allocators import Allocator, BenchmarkError, Skipped
from support import building

DEFAULT_PROFILE = ROOT / "classes" / "default.toml"
DEFAULT_DRIVERS = ROOT / "build" / "bench" / "drivers"
ALIGNMENTS = (16, 8)
REPETITIONS = 11
MIB = 1 << 20


def say(text):
    print(f"pgo: {text}", file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", metavar="REGEX", type=re.compile, default=re.compile(""),
                        help="only the programs in whose name it is found")
    parser.add_argument("--reps", metavar="N", type=int, default=REPETITIONS, help=f"repetitions (default {REPETITIONS})")
    parser.add_argument("--output", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build" / "pgo-results",
                        help="where profiles, histograms, builds and tables go (default build/pgo-results)")
    parser.add_argument("--drivers", metavar="FOLDER", type=pathlib.Path, default=DEFAULT_DRIVERS,
                        help="where the build has put the benchmark's drivers")
    parser.add_argument("--objective", choices=("balanced", "memory", "speed"), default=optimiser.Settings().objective,
                        help="as of `tiermalloc classes`")
    return parser.parse_args()


def base_profile(alignment):
    """The default profile, for requests aligned to so many bytes."""
    profile = profile_reader.read_profile(str(DEFAULT_PROFILE))
    return dataclasses.replace(profile, config=dataclasses.replace(profile.config, alignment=alignment))


class Recorder(launch.Session):
    """A session whose programs are recorded into a folder."""

    folder = None

    def start(self, allocator, arguments, *, environment=None, **options):
        if self.folder:
            environment = {**(environment or {}), "TIERMALLOC_CONF": f"record:{self.folder}/%p.histogram"}
        return super().start(allocator, arguments, environment=environment, **options)


def record(session, row, library):
    """The histogram of one run, merged over the program's processes."""
    with tempfile.TemporaryDirectory(dir=session.scratch) as folder:
        session.folder = folder
        try:
            row.measure(session, library)
        finally:
            session.folder = None
        paths = sorted(pathlib.Path(folder).iterdir())
        if not paths:
            raise BenchmarkError(f"{row.name}: nothing was recorded")
        return histogram.merge(histogram.read_histogram(path) for path in paths)


def measured_waste(recorded):
    return recorded.totals["peak_small_given"] - recorded.totals["peak_small_requested"]


class Loop:
    """One program's way through the loop."""

    def __init__(self, arguments, session, row, default):
        self.arguments, self.session, self.row = arguments, session, row
        self.libraries = {"default": default}
        self.recorded, self.suggestions, self.samples = {}, {}, {}

    def make_classes(self, alignment):
        name = f"{self.row.name}-{alignment}"
        settings = optimiser.Settings(objective=self.arguments.objective)
        suggestion = optimiser.suggest(self.recorded["default"], base_profile(alignment), settings)
        path = self.arguments.output / f"{name}.toml"
        path.write_text(profile_printer.profile_text(suggestion), encoding="utf-8")
        library = building.build_library(path, self.arguments.output / f"build-{name}", ROOT)
        self.suggestions[str(alignment)] = suggestion
        self.libraries[str(alignment)] = Allocator(str(alignment), str(library))

    def run(self):
        say(f"{self.row.name}: recording, making classes, building")
        self.recorded["default"] = record(self.session, self.row, self.libraries["default"])
        path = self.arguments.output / f"{self.row.name}.histogram"
        path.write_text(histogram.histogram_text(self.recorded["default"]), encoding="ascii")
        for alignment in ALIGNMENTS:
            self.make_classes(alignment)
            name = str(alignment)
            self.recorded[name] = record(self.session, self.row, self.libraries[name])
        say(f"{self.row.name}: measuring")
        for repetition in range(self.arguments.reps):
            for library in measure.rotate(list(self.libraries.values()), repetition):
                self.samples.setdefault(library.name, []).append(self.row.measure(self.session, library))

    def median(self, name, key):
        return statistics.median(sample[key] for sample in self.samples[name])

    def ratio(self, name, key):
        """The median over the repetitions of the ratio to the default, and half the distance of its quartiles."""
        ratios = [one[key] / other[key] for one, other in zip(self.samples[name], self.samples["default"])]
        quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
        return statistics.median(ratios), (quartiles[2] - quartiles[0]) / 2

    def entry(self):
        """All figures, for the JSON file and the tables."""
        entry = {"program": self.row.name, "requested": self.recorded["default"].totals["peak_small_requested"],
                 "default": {"waste": measured_waste(self.recorded["default"]),
                             "predicted": self.suggestions["16"].before.small_rounding,
                             "cpu_s": self.median("default", "cpu_s"), "peak_rss": self.median("default", "peak_rss")}}
        for name, suggestion in self.suggestions.items():
            recorded = self.recorded[name]
            time, time_spread = self.ratio(name, "cpu_s")
            memory, _ = self.ratio(name, "peak_rss")
            tables = suggestion.tables
            entry[name] = {"waste": measured_waste(recorded), "predicted": suggestion.after.small_rounding,
                           "predicted_here": waste.predicted_waste(tables, recorded.rows).small_rounding,
                           "requested": recorded.totals["peak_small_requested"], "classes": len(suggestion.classes),
                           "time": time, "time_spread": time_spread, "memory": memory,
                           "cpu_s": self.median(name, "cpu_s"), "peak_rss": self.median(name, "peak_rss")}
        return entry


def kib(count):
    return f"{count / 1024:,.0f}"


def percent(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else ""


def markdown(entries):
    lines = ["| program | asked for, KiB | lost, default | 16: classes | lost | time | RSS | 8: classes | lost | time | RSS |",
             "|" + "---|" * 11]
    for entry in entries:
        default = entry["default"]
        cells = [entry["program"], kib(entry["requested"]), f"{kib(default['waste'])} ({percent(default['waste'], entry['requested'])})"]
        for alignment in ALIGNMENTS:
            one = entry[str(alignment)]
            cells += [str(one["classes"]), f"{kib(one['waste'])} ({percent(one['waste'], one['requested'])})",
                      f"{one['time']:.3f} ± {one['time_spread']:.3f}", f"{one['memory']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main():
    arguments = parse_arguments()
    arguments.output = arguments.output.absolute()
    arguments.output.mkdir(parents=True, exist_ok=True)
    default = Allocator("default", str(building.build_library(DEFAULT_PROFILE, arguments.output / "build-default", ROOT)))
    scratch = tempfile.mkdtemp(prefix="pgo-")
    entries = []
    try:
        session = Recorder(arguments.drivers.resolve(), scratch, measure.MILLISECONDS, False)
        for row in (row for row in programs.rows() if arguments.rows.search(row.name)):
            loop = Loop(arguments, session, row, default)
            try:
                loop.run()
            except Skipped as reason:
                say(f"{row.name}: skipped: {reason}")
                continue
            entries.append(loop.entry())
            print(markdown(entries[-1:])[-1], flush=True)
            found = {"machine": machine.describe(arguments.drivers), "repository": machine.describe_commit(),
                     "repetitions": arguments.reps, "programs": entries}
            (arguments.output / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = "\n".join(markdown(entries)) + "\n"
    (arguments.output / "tables.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

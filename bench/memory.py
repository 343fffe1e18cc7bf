#!/usr/bin/env python3
"""Measures memory and large blocks under several allocators and prints a table with this project's goals.

Like run.py: runs are interleaved, each proves which allocator it ran on, and medians are shown.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time

import allocators
import table

# A slow measurement is not repeated under an allocator that has already taken this long for it.
SECONDS_PER_ROW = 20

# Code that runs for the first time makes its own pages resident: so much is no sign that a block was touched.
CODE_KIB = 256

MIB = 1024.0  # in KiB


class Value:
    """A line of the table: a number that a measurement yields, in what unit it is shown, and the most it may be.

    `goal` is a number in the same unit, or a function of the value under glibc.
    """

    def __init__(self, key, label, unit, goal, divisor=1.0):
        self.key, self.label, self.unit, self.goal, self.divisor = key, label, unit, goal, divisor

    def goal_beside(self, baseline):
        if not callable(self.goal):
            return self.goal
        return self.goal(baseline) if baseline is not None else None


class Measurement:
    """One program call and the values it yields."""

    def __init__(self, name, arguments, values, program="memory", faults=False):
        self.name, self.arguments, self.values = name, arguments, values
        self.program = program
        self.faults = faults  # count the page faults of a run without arguments instead


def freed_values():
    return [
        Value("live_kib", "live", "MiB", lambda glibc: 1.02 * glibc, MIB),
        Value("freed_kib", "right after freeing", "MiB", 10, MIB),
        Value("trimmed_kib", "after malloc_trim(0)", "MiB", 4, MIB),
    ]


MEASUREMENTS = [
    Measurement("live-24", ["live", 24, 100000, 1], [Value("live_kib", "100 k live objects of 24 B", "MiB", 6, MIB)]),
    Measurement("live-100", ["live", 100, 2000000, 1], freed_values()),
    Measurement("live-100-scattered", ["live", 100, 2000000, 64], freed_values()),
    Measurement("threads-in-turn", ["short-threads", 1000, 1],
                [Value("resident_kib", "after 1000 threads in turn", "MiB", 4, MIB)]),
    Measurement("threads-by-20", ["short-threads", 1000, 20],
                [Value("resident_kib", "after 1000 threads, 20 at once", "MiB", 4, MIB)]),
    Measurement("idle-thread", ["idle-threads", 200],
                [Value("kib_per_thread", "a thread that worked and idles", "KiB", 20)]),
    Measurement("hello", ["memory"],
                [Value("resident_kib", "resident", "MiB", lambda glibc: glibc + 0.5, MIB),
                 Value("address_space_kib", "address space", "MiB", 64, MIB)], program="hello"),
    Measurement("hello-faults", [], [Value("faults", "minor page faults", "", 110)], program="hello", faults=True),
    Measurement("calloc-256M", ["calloc", 256],
                [Value("ms", "time", "ms", 0.1), Value("resident_kib", "made resident", "KiB", CODE_KIB)]),
    Measurement("growth", ["growth", 1, 513],
                [Value("ms", "realloc 1 to 513 MiB by 1 MiB", "ms", lambda glibc: 2 * glibc)]),
    Measurement("enlargement", ["enlargement", 64, 1024], [Value("ms", "realloc 64 MiB to 1 GiB", "ms", 1)]),
]


def count_faults(allocator, program):
    """Minor page faults of a program from its start to its end, by its parent. Which allocator it ran on is proven by
    the row `hello`: the same program in the same environment."""
    discard = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(program, [program], allocator.environment(), file_actions=discard)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise allocators.BenchmarkError(f"{allocator.name}: {program}: wait status {status}")
    return {"faults": float(usage.ru_minflt)}


def run_once(measurement, allocator, programs):
    program = programs[measurement.program]
    if measurement.faults:
        return count_faults(allocator, program)
    return allocator.run([program, *map(str, measurement.arguments)])


def measure(measurements, compared, programs, reps):
    """Returns {measurement name: {allocator name: [values of each run]}}."""
    samples = {m.name: {a.name: [] for a in compared} for m in measurements}
    spent = {}
    for repetition in range(reps):
        print(f"repetition {repetition + 1} of {reps}", file=sys.stderr)
        for index, measurement in enumerate(measurements):
            for turn in range(len(compared)):
                allocator = compared[(turn + repetition + index) % len(compared)]
                key = measurement.name, allocator.name
                if spent.get(key, 0) >= SECONDS_PER_ROW:
                    continue
                start = time.monotonic()
                samples[measurement.name][allocator.name].append(run_once(measurement, allocator, programs))
                spent[key] = spent.get(key, 0) + time.monotonic() - start
    return samples


def format_goal(value, goal):
    if goal is None:
        return ""
    return ("glibc: " if callable(value.goal) else "") + table.format_number(goal)


def table_lines(measurements, samples, names):
    """The table's lines, and how many values of the first allocator are above their goals."""
    lines, above = [], 0
    for measurement in measurements:
        for value in measurement.values:
            medians = {name: statistics.median(run[value.key] for run in runs) / value.divisor
                       for name, runs in samples[measurement.name].items()}
            goal = value.goal_beside(medians.get(allocators.BASELINE))
            sign = table.mark(medians[names[0]], goal, noise=0)
            above += sign == "!"
            numbers = [table.format_number(medians[name]) for name in names]
            lines.append([f"{measurement.name}: {value.label}", value.unit, *numbers, format_goal(value, goal), sign])
    return lines, above


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    allocators.add_arguments(parser, default_reps=10)
    parser.add_argument("--program", metavar="PATH", default="build/bench/memory", help="default: build/bench/memory")
    parser.add_argument("--hello", metavar="PATH", default="build/bench/hello", help="default: build/bench/hello")
    arguments = parser.parse_args()
    if arguments.reps < 1:
        parser.error("--reps must be at least 1")
    return arguments


def main():
    arguments = parse_arguments()
    compared = arguments.allocators or allocators.default_allocators(arguments.tiermalloc)
    measurements = [m for m in MEASUREMENTS if re.search(arguments.rows, m.name)]
    if not measurements:
        print(f"benchmark: no row matches {arguments.rows!r}", file=sys.stderr)
        return 2
    names = [allocator.name for allocator in compared]
    machine = allocators.describe_machine()
    programs = {"memory": arguments.program, "hello": arguments.hello}
    try:
        samples = measure(measurements, compared, programs, arguments.reps)
    except allocators.BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    lines, above = table_lines(measurements, samples, names)
    print(f"{machine}\nmedians of {arguments.reps} interleaved runs, fewer where an allocator takes long")
    table.print_table(["row", "unit", *names, "goal", ""], lines)
    print(f"! {names[0]} is above the goal; {len(lines) - above} of {len(lines)} values reach it")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "libraries": {a.name: a.library for a in compared}, "samples": samples},
                      file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Measures the rows of `micro` under several allocators and prints a table with ratios to the fastest peer.

Runs are short and interleaved: within each repetition every row is run under every allocator in turn, in an order that
rotates, and only medians over the repetitions are shown. Each run proves which allocator it ran on.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys

import allocators
import table

PAIR_GOAL, PAIR_GOAL_SIZES = 0.80, (16, 65536)
GOAL = 1.0


def goal_of(row):
    """The largest ratio to the fastest peer that this project accepts for a row."""
    family, size = row.split("/")
    if family == "pair" and PAIR_GOAL_SIZES[0] <= int(size) <= PAIR_GOAL_SIZES[1]:
        return PAIR_GOAL
    return GOAL


def list_rows(program, pattern):
    listing = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [row for row in listing if re.search(pattern, row)]


def rotate(names, by):
    by %= len(names)
    return names[by:] + names[:by]


def measure(program, rows, compared, reps, milliseconds):
    """Runs everything; returns {row: {allocator name: [value of each repetition]}} without the rows skipped."""
    samples = {row: {allocator.name: [] for allocator in compared} for row in rows}
    for repetition in range(reps):
        print(f"repetition {repetition + 1} of {reps}", file=sys.stderr)
        for index, row in enumerate(rows):
            if row not in samples:
                continue
            try:
                for allocator in rotate(compared, repetition + index):
                    values = allocator.run([program, row, str(milliseconds)])
                    samples[row][allocator.name].append(values["ns"])
            except allocators.Skipped as reason:
                print(f"{row}: {reason}", file=sys.stderr)
                del samples[row]
    return samples


def table_lines(samples, names):
    """The table's lines, and how many rows are above their goals."""
    lines, above = [], 0
    ours, peers = names[0], names[1:]
    for row, series in samples.items():
        line = [row] + [table.format_number(statistics.median(series[name])) for name in names]
        if peers:
            result, goal = table.compare(series, ours, peers), goal_of(row)
            sign = table.mark(result["ratio"], goal)
            above += sign == "!"
            line += [result["fastest"], f"{result['ratio']:.2f}", f"{result['paired']:.2f}",
                     f"{result['spread']:.0%}", f"{goal:.2f}", sign]
        lines.append(line)
    return lines, above


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    allocators.add_arguments(parser, default_reps=11)
    parser.add_argument("--program", metavar="PATH", default="build/bench/micro", help="default: build/bench/micro")
    parser.add_argument("--milliseconds", metavar="N", type=int, default=40, help="length of a run (default 40)")
    arguments = parser.parse_args()
    if arguments.reps < 1 or arguments.milliseconds < 1:
        parser.error("--reps and --milliseconds must be at least 1")
    return arguments


def main():
    arguments = parse_arguments()
    compared = arguments.allocators or allocators.default_allocators(arguments.tiermalloc)
    rows = list_rows(arguments.program, arguments.rows)
    if not rows:
        print(f"benchmark: no row matches {arguments.rows!r}", file=sys.stderr)
        return 2
    names = [allocator.name for allocator in compared]
    machine = allocators.describe_machine()
    try:
        samples = measure(arguments.program, rows, compared, arguments.reps, arguments.milliseconds)
    except allocators.BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    lines, above = table_lines(samples, names)
    print(f"{machine}\nns per operation, medians of {arguments.reps} interleaved runs of {arguments.milliseconds} ms")
    comparison = ["fastest", "ratio", "paired", "spread", "goal", ""] if len(names) > 1 else []
    table.print_table(["row", *names, *comparison], lines)
    if len(names) > 1:
        print(f"ratio: {names[0]} to the fastest other; {table.MARK_MEANING}")
        print(f"{len(lines) - above} of {len(lines)} rows reach their goal, within noise")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "unit": "ns", "milliseconds": arguments.milliseconds,
                       "libraries": {a.name: a.library for a in compared}, "samples": samples}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

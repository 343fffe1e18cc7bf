#!/usr/bin/env python3
"""Memory that caches hold for threads that wait: our two frontends and the other allocators, over the number of threads.
Makes the table and the picture of docs/percpu.md. Relies on bench/drivers/idle.c for what the threads do.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

from harness import launch, machine, plots
from harness.allocators import OURS, Allocator, BenchmarkError, find_allocators

ROOT = pathlib.Path(__file__).resolve().parents[1]
FRONTENDS = {"per thread": "thread", "per CPU": "cpu"}
THREADS = (1, 3, 10, 30, 100, 300, 1000)
REPETITIONS = 5
MIB = 1 << 20


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build",
                        help="a build with bench-drivers, not made for one frontend alone (default: build)")
    parser.add_argument("--threads", metavar="N", type=int, nargs="+", default=THREADS, help="numbers of threads")
    parser.add_argument("--reps", metavar="N", type=int, default=REPETITIONS, help=f"repetitions (default {REPETITIONS})")
    parser.add_argument("--output", metavar="FOLDER", type=pathlib.Path, default=ROOT / "build" / "percpu-results",
                        help="where the table and the picture go (default: build/percpu-results)")
    return parser.parse_args()


def candidates(build):
    """(name, allocator, environment): ours twice, and those that are installed."""
    allocators, missing = find_allocators(build / "src" / "libtiermalloc.so")
    if missing:
        print(f"percpu: not installed: {' '.join(missing)}", file=sys.stderr)
    ours = next(one for one in allocators if one.name == OURS)
    found = [(name, Allocator(OURS, ours.library), {"TIERMALLOC_CONF": f"frontend:{value}"})
             for name, value in FRONTENDS.items()]
    return found + [(one.name, one, {}) for one in allocators if one.name != OURS]


def measure(arguments):
    """Medians in MiB by name and number of threads: (cached, resident)."""
    found = {}
    everybody = candidates(arguments.build)
    with tempfile.TemporaryDirectory() as scratch:
        drivers = arguments.build / "bench" / "drivers"
        session = launch.Session(drivers, scratch, 0, False)
        for repetition in range(arguments.reps):
            for threads in arguments.threads:
                turn = repetition % len(everybody)
                for name, allocator, environment in everybody[turn:] + everybody[:turn]:
                    values = session.run(allocator, [drivers / "idle", threads], environment=environment).values
                    found.setdefault((name, threads), []).append(values)
    return [name for name, _, _ in everybody], {
        key: (statistics.median(one["cached_bytes"] for one in runs) / MIB,
              statistics.median(one["resident_kib"] for one in runs) / 1024)
        for key, runs in found.items()}


def table(names, figures, threads):
    lines = ["| threads | " + " | ".join(f"cached {name}" for name in FRONTENDS) + " | "
             + " | ".join(f"resident {name}" for name in names) + " |",
             "|---:|" + "---:|" * (len(FRONTENDS) + len(names))]
    for count in threads:
        cached = [f"{figures[name, count][0]:.1f}" for name in FRONTENDS]
        resident = [f"{figures[name, count][1]:.0f}" for name in names]
        lines.append(f"| {count} | " + " | ".join(cached + resident) + " |")
    return "\n".join(lines) + "\n"


def plot(names, figures, arguments):
    styles = dict(zip(FRONTENDS, (("#E69F00", "P"), ("#D55E00", "D"))))
    figure, (left, right) = plots.grid(2, 2, 4.6, 3.2)
    for axes, column, shown in ((left, 0, list(FRONTENDS)), (right, 1, names)):
        for name in shown:
            colour, mark = styles.get(name) or plots.STYLES.get(name, ("#000000", "*"))
            label = f"tiermalloc, {name}" if name in FRONTENDS else name
            axes.plot(arguments.threads, [figures[name, count][column] for count in arguments.threads], color=colour,
                      marker=mark, markersize=4, label=label, linewidth=2 if name in FRONTENDS else 1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("threads")
        axes.set_ylabel(("MiB in caches", "MiB resident")[column])
    plots.legend(figure, [right], 6)
    described = {"machine": machine.describe(arguments.build / "bench" / "drivers")}
    plots.save(figure, arguments.output, "idle-threads", described, "Threads that have used the allocator and wait")


def main():
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        names, figures = measure(arguments)
    except BenchmarkError as error:
        sys.exit(f"percpu: {error}")
    text = table(names, figures, arguments.threads)
    print(text, end="")
    (arguments.output / "idle-threads.md").write_text(text)
    if plots.available:
        with plots.pyplot.rc_context(plots.SETTINGS):
            plot(names, figures, arguments)
    else:
        print(f"percpu: {plots.HOW_TO_INSTALL}", file=sys.stderr)
    print(f"percpu: results in {arguments.output}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Memory: what is resident while objects live, once they are freed, and over time; threads, large blocks, start-up.

One run of a row is one process of bench/drivers/memory.c or hello.c, which prints numbers by the metrics' keys. The
waste inside and outside of objects comes from tiermalloc's own statistics: other allocators have no such numbers.
"""

import functools
import re

from harness.rows import Metric, Row

MIB = 1024 * 1024

# Code that runs for the first time makes its own pages resident: so much is no sign that a block was touched.
CODE_KIB = 256

NS = Metric("ns", "ns", "time")
PEAK = Metric("peak_rss", "MiB", "memory")

# Where the peak is the moment itself, it is not counted twice.
RSS_LIVE = Metric("rss_live", "MiB", "memory", main=False)

# The parts of the statistics that are neither in use nor given back.
FREE_PARTS = ("cached", "transfer", "central_free", "span_waste", "pages_free")


def rss(key, unit="MiB", goal=None):
    return Metric(key, unit, "memory", goal=goal)


def goals_after_freeing():
    return (NS, PEAK, Metric("rss_live", "MiB", "memory", main=False, goal=lambda glibc: 1.02 * glibc),
            rss("rss_freed", goal=10), rss("rss_trimmed", goal=4))


FRAGMENTATION = (NS, PEAK, Metric("rss_filled", "MiB", "memory", main=False), rss("rss_freed"), rss("rss_refilled"))
WASTE = (Metric("waste_inside", "%", "info", main=False), Metric("waste_outside", "%", "info", main=False))


def read_waste(run):
    """What tiermalloc's statistics at the end say, in percent: of what the program asked for, what its objects take
    beyond that; of what they take, what lies free around them. Nothing under another allocator."""
    parts = {name: int(size) for name, size in re.findall(r'<bytes type="(\w+)" size="(\d+)"', run.output.decode())}
    if not parts:
        return {}
    return {"waste_inside": 100 * (parts["in_use"] / run.values["requested"] - 1),
            "waste_outside": 100 * sum(parts[name] for name in FREE_PARTS) / parts["in_use"]}


def measure(session, allocator, arguments, quick_arguments):
    """One run of `memory`; every number it prints is handed on by its name."""
    chosen = quick_arguments if session.quick else arguments
    run = session.run(allocator, [session.drivers / "memory", *chosen.split()])
    values = run.values | {"peak_rss": run.values["peak_rss_bytes"] / MIB} | read_waste(run)
    return values | {"series": run.series} if run.series else values


def measure_hello(session, allocator):
    run = session.run(allocator, [session.drivers / "hello", "memory"])
    return run.values | {"peak_rss": run.values["peak_rss_bytes"] / MIB, "start": run.values["wall_ns"] / 1e6}


def measure_hello_faults(session, allocator):
    run = session.run(allocator, [session.drivers / "hello"])
    return {"faults": run.values["minor_faults"]}


def row(name, metrics, arguments, quick_arguments=None):
    """A row whose quick variant has other arguments, if smaller ones are needed."""
    function = functools.partial(measure, arguments=arguments, quick_arguments=quick_arguments or arguments)
    return Row("memory", name, metrics, function)


def rows():
    return [
        row("live-24", (NS, PEAK, Metric("rss_live", "MiB", "memory", main=False, goal=6)), "live 24 100000 1"),
        row("live-100", goals_after_freeing(), "live 100 2000000 1", "live 100 300000 1"),
        row("live-100-scattered", goals_after_freeing(), "live 100 2000000 64", "live 100 300000 64"),
        row("peak", (NS, PEAK, RSS_LIVE, rss("rss_freed"), rss("rss_later")), "peak 419", "peak 64"),
        row("repeat-peak", (NS, PEAK, rss("rss_freed")), "repeated-peak 100 5", "repeated-peak 20 5"),
        row("fragmentation/64", FRAGMENTATION + WASTE, "fragmentation 50 64 176", "fragmentation 20 64 176"),
        row("fragmentation/1000", FRAGMENTATION + WASTE, "fragmentation 50 1000 200", "fragmentation 20 1000 200"),
        row("fragmentation-sizes", FRAGMENTATION + WASTE, "fragmentation-sizes 50", "fragmentation-sizes 20"),
        row("long-run", (NS, PEAK, rss("rss_end"), Metric("live_end", "MiB", "info", main=False), *WASTE),
            "lifetimes 5000000 30", "lifetimes 1000000 10"),
        row("threads-in-turn", (NS, PEAK, rss("rss_end", goal=4)), "short-threads 1000 1", "short-threads 200 1"),
        row("threads-by-20", (NS, PEAK, rss("rss_end", goal=4)), "short-threads 1000 20", "short-threads 200 20"),
        row("idle-thread", (NS, PEAK, rss("rss_thread", "KiB", goal=20)), "idle-threads 200"),
        Row("memory", "hello",
            (PEAK, rss("rss_hello", goal=lambda glibc: glibc + 0.5),
             Metric("address_space", "MiB", "memory", main=False, goal=64), Metric("start", "ms", "info", main=False)),
            measure_hello),
        Row("memory", "hello-faults", (Metric("faults", "faults", "memory", main=False, goal=110),),
            measure_hello_faults),
        row("calloc-256M", (Metric("ms", "ms", "time", goal=0.1), PEAK, rss("rss_added", "KiB", goal=CODE_KIB)),
            "calloc 256"),
        row("growth", (Metric("ms", "ms", "time", goal=lambda glibc: 2 * glibc), PEAK), "growth 1 513", "growth 1 65"),
        row("enlargement", (Metric("ms", "ms", "time", goal=1), PEAK), "enlargement 64 1024"),
    ]

"""Tail latency: the times of single calls of malloc and free under a mixed load, and the histogram of them.

Done by bench/drivers/tail.c, whose lines are `p50 NS` and so on, and `histogram NS COUNT`.
"""

import functools

from groups.timed import MIB, threads_of
from harness.rows import Metric, Row

NAMES = ("tail/small", "tail/mixed", "tail/threads@4")

# One call in ten thousand is slower than p99_99, and in a run as long as the other groups' only some dozens were. The
# largest time is mostly an interrupt's; that is why p99_99 stands beside it.
TIMES_AS_LONG = 10

METRICS = (
    Metric("p50", "ns", "time"),
    Metric("p99", "ns", "time", main=False),
    Metric("p99_9", "ns", "time", main=False),
    Metric("p99_99", "ns", "info", main=False),
    Metric("max", "ns", "time", main=False),
    Metric("timer", "ns", "info", main=False),
    Metric("dropped_blocks", "", "info", main=False),
    Metric("peak_rss", "MiB", "memory"),
)


def read_histogram(output):
    lines = (line.split() for line in output.decode().splitlines())
    return [[float(words[1]), int(words[2])] for words in lines if words and words[0] == "histogram"]


def measure(name, session, allocator):
    run = session.run(allocator, [session.drivers / "tail", name, session.milliseconds * TIMES_AS_LONG])
    values = run.values | {"peak_rss": run.values["peak_rss_bytes"] / MIB}
    return {metric.key: values[metric.key] for metric in METRICS} | {"histogram": read_histogram(run.output)}


def rows():
    return [Row("tail", name, METRICS, functools.partial(measure, name), threads=threads_of(name)) for name in NAMES]

"""Threads that have to do with each other: objects and tables go between them, threads end, heaps grow and shrink.

What the families do is said in docs/benchmarks.md, and done by bench/drivers/threads*.c. The number after @ is that of
the threads; the one after / is a size in bytes, or that of producers and consumers.
"""

from groups.timed import timed_rows

NAMES = (
    "larson@2", "larson@4", "larson@16",
    "producer-consumer/1:1@2", "producer-consumer/1:3@4", "producer-consumer/3:1@4",
    "exchange/64@2", "exchange/1024@2", "exchange/16384@2",
    "exchange-both-ways/64@2", "exchange-both-ways/1024@2", "exchange-both-ways/16384@2",
    "false-sharing-active@2", "false-sharing-active@4",
    "false-sharing-passive@2", "false-sharing-passive@4",
    "come-and-go@2", "come-and-go@4",
    "shared-array@2", "shared-array@4",
    "pareto@2", "pareto@4",
    "phases@2",
)

# Each family once.
QUICK = {
    "larson@2", "producer-consumer/1:1@2", "exchange/1024@2", "exchange-both-ways/64@2", "false-sharing-active@2",
    "false-sharing-passive@2", "come-and-go@2", "shared-array@2", "pareto@2", "phases@2",
}


def rows():
    return timed_rows("threads", NAMES, QUICK)

"""Microbenchmarks: one kind of operation over and over; with @N, in N threads that share nothing.

What the families do is said in docs/benchmarks.md, and done by bench/drivers/micro.c. A number is a size in bytes.
"""

from groups.timed import timed_rows

ORDERS = ("in-order", "reversed", "random")

# The families whose cost depends on how threads get along, at one typical size each.
THREADED = ("pair/64", "batch-random/64", "live-random/64", "random/4096")
THREADS = (2, 4, 16)

# A row for each thing that can go wrong, within 10 seconds for all allocators.
QUICK = {
    "pair/16", "pair/256", "pair/4096", "pair/65536", "pair/1048576", "pair/8388608",
    "batch-in-order/64", "batch-reversed/64", "batch-random/64", "batch-random/1024", "batch-random/16384",
    "batch-random-untouched/4096", "live-in-order/64", "live-random/64", "live-random/256",
    "random/512", "random/32768", "random-untouched/262144", "power-law/65536", "calloc/64", "calloc/65536",
    "aligned-64/64", "aligned-4096/4096", "realloc-vector/1048576", "realloc-by-16/65536", "realloc-in-place/4096",
    "sized-delete/64", "pair/64@2", "batch-random/64@4", "random/4096@4",
}


def sized(family, *sizes):
    return [f"{family}/{size}" for size in sizes]


def batches():
    """1000 objects at once."""
    for order in ORDERS:
        yield from sized(f"batch-{order}", 16, 64, 256, 1024, 4096, 16384, 65536)
    for order in ORDERS:
        yield from sized(f"batch-{order}-untouched", 64, 4096, 65536)


def live():
    """100,000 objects at once."""
    for order in ORDERS:
        yield from sized(f"live-{order}", 16, 64, 256, 1024)
    yield from sized("live-alternating", 16, 64, 256)
    for order in ORDERS:
        yield from sized(f"live-{order}-untouched", 64, 1024)


def names():
    yield from sized("pair", 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 8388608)
    yield from batches()
    yield from live()
    yield from sized("random", 512, 4096, 32768, 262144)
    yield from sized("random-untouched", 512, 4096, 32768, 262144)
    yield from sized("power-law", 65536)
    yield from sized("calloc", 64, 1024, 65536, 1048576)
    yield from ("aligned-64/64", "aligned-256/1024", "aligned-4096/4096")
    yield from sized("realloc-vector", 1048576)
    yield from sized("realloc-vector-by-half", 1048576)
    yield from sized("realloc-by-16", 65536)
    yield from sized("realloc-buffer", 16777216)
    yield from sized("realloc-in-place", 4096)
    yield from sized("sized-delete", 24, 64, 1024)
    for name in THREADED:
        yield from (f"{name}@{threads}" for threads in THREADS)


def rows():
    return timed_rows("micro", names(), QUICK)

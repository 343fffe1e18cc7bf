"""Made-up histograms that look like recorded ones, and the paths that the tests of the optimiser share.

Relies on the layout of the source tree only; TIERMALLOC_SOURCE names it where the tests are run by Meson.
"""

import os
import pathlib
import random
import sys

SOURCE = pathlib.Path(os.environ.get("TIERMALLOC_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
CLASSES = SOURCE / "classes"
sys.path.insert(0, str(SOURCE / "codegen"))

import histogram  # noqa: E402  the path has to be set first

MIB = 1 << 20


def recorded_size(size):
    """The size under which a request is recorded."""
    size = max(-(-size // 8) * 8, 8)
    if size <= MIB:
        return size
    step = (1 << (size.bit_length() - 1)) // 16
    return -(-size // step) * step


def make_row(size, alignment, allocations, chance):
    live = chance.randint(0, allocations)
    peak_live = chance.randint(0, allocations)
    most_live = chance.randint(max(live, peak_live), allocations)
    freed = allocations - live
    lifetimes = [freed, 0, 0, 0, 0]
    chance.shuffle(lifetimes)
    return histogram.Row(size, alignment, allocations, live, peak_live, most_live, chance.randint(0, freed),
                         chance.randint(0, allocations), tuple(lifetimes))


def make_histogram(counts, chance, processes=1, threads=1):
    """`counts`: (size, alignment) to the number of allocations."""
    sums = {}
    for (size, alignment), allocations in counts.items():
        key = (recorded_size(size), alignment)
        sums[key] = sums.get(key, 0) + allocations
    rows = tuple(make_row(*key, sums[key], chance) for key in sorted(sums))
    totals = dict.fromkeys(histogram.TOTALS, 0) | {
        "processes": processes, "threads": threads, "milliseconds": chance.randint(1, 10**6),
        "allocated_bytes": sum(row.size * row.allocations for row in rows),
        "peak_bytes": sum(row.size * row.peak_live for row in rows)}
    return histogram.Histogram(totals, rows)


def log_normal(chance):
    """A few humps, as objects, strings and buffers make them."""
    counts = {}
    for _ in range(chance.randint(1, 4)):
        middle, width = chance.uniform(3, 11), chance.uniform(0.1, 1.2)
        for _ in range(3000):
            size = int(min(chance.lognormvariate(middle, width), 1 << 24)) + 1
            counts[size, 1] = counts.get((size, 1), 0) + chance.randint(1, 20)
    return counts


def spikes(chance):
    """A program with few types."""
    return {(chance.choice((chance.randint(1, 512), chance.randint(1, 9000), chance.randint(1, 2 * MIB))), 1):
            chance.randint(1, 10**chance.randint(1, 6)) for _ in range(chance.randint(1, 40))}


def powers(chance):
    """Buffers that double, with and without a header."""
    return {((1 << exponent) + extra, 1): chance.randint(1, 10**5 >> min(exponent, 16))
            for exponent in range(3, 23) for extra in (0, chance.choice((8, 16, 24, 33)))
            if 10**5 >> min(exponent, 16)}


def uniform(chance):
    """Every size alike up to a limit."""
    most = chance.choice((256, 4096, 65536))
    return {(size, 1): chance.randint(1, 50) for size in range(8, most, chance.choice((8, 24, 120)))}


def aligned(chance):
    """Spikes with all kinds of alignments among them."""
    counts = spikes(chance)
    for _ in range(20):
        counts[chance.randint(1, 70000), 16 << chance.randint(0, 13)] = chance.randint(1, 1000)
    return counts


def nothing(chance):
    return {}


KINDS = (log_normal, spikes, powers, uniform, aligned, nothing)


def random_histogram(chance, kind=None):
    processes = chance.choice((1, 1, 1, 3, 20))
    return make_histogram((kind or chance.choice(KINDS))(chance), chance, processes, processes * chance.choice((1, 4, 30)))


def dense_histogram(chance, distinct):
    """As many distinct sizes as asked for, evenly from 8 bytes to 1 MiB, the small ones the more."""
    sizes = sorted(chance.sample(range(8, MIB + 1, 8), distinct))
    return make_histogram({(size, 1): max(1, chance.randint(1, 10**7) // size) for size in sizes}, chance)

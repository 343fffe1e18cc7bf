"""What a size-class profile costs on a recorded histogram: the numbers that the optimum is the least sum of.

    cost = sum over requests of weight * (bytes per object of its class - size) + sum over classes of class price

All are integers: weights in 1/WEIGHT_UNIT objects, bytes per object in 1/BYTE_UNIT bytes, so the cost is in 1/COST_UNIT
bytes. docs/optimiser.md says the same in words, with the reasons. Relies on a base profile that has been checked.
"""

import math
from dataclasses import dataclass

import limits
from limits import KIB

WEIGHT_UNIT = 1 << 24
BYTE_UNIT = 64
COST_UNIT = WEIGHT_UNIT * BYTE_UNIT

# A span that serves sizes up to the first number has at most as many bytes as the second: the goals of derivation.py.
SPAN_LIMITS = ((2 * KIB, 64 * KIB), (32 * KIB, 256 * KIB), (256 * KIB, 512 * KIB),
               (limits.MAX_CLASS_SIZE, limits.MAX_SPAN_BYTES))

# A class holds on to about this much in each cache that uses it: what it takes to keep books, or a part of an object (of
# the power of two that it fits into, so that the price does not move the classes within a doubling).
# Measured with bench/pgo.py: at 512 bytes redis and cc1 came to 2.4 % more resident memory than with the default profile,
# with 4096 to 1.4 and 1.2 %, with 12288 to none, and lost 16 and 36 %, 7 and 29 % less by rounding.
CLASS_BYTES = 8192
CLASS_PART = 32

# What is taken to live at the peak beside what was recorded: at each possible size so many bytes times its distance from
# the one before it, in parts of the size. It is too little to speak against what was recorded, and makes even steps where
# nothing was.
BACKGROUND_BYTES = 512

# A file says how many threads there were, not how many at once: at most so many per process are counted.
MOST_THREADS = 8

OBJECTIVES = ("balanced", "memory", "speed")

# What one object of the size's own peak counts, in parts of an object that lives at the process's peak.
OWN_PEAK_PART = 4

# How much dearer a class is when speed counts: objects of fewer classes are reused sooner, while they are in the cache.
SPEED_CLASS_FACTOR = 4


@dataclass(frozen=True)
class Request:
    """Requests of one kind: the size that a class needs to hold them, the size asked for, and how much they count."""

    needed: int
    size: int
    weight: int


def span_limit(size):
    """Bytes of the longest span that is considered for a class of `size`."""
    return next(span_bytes for most, span_bytes in SPAN_LIMITS if size <= most)


def possible_pages(size, config):
    """Each number of pages that a span of `size` may have, ascending."""
    most = min(span_limit(size) // config.page_size, config.max_span_pages)
    return [pages for pages in range(-(-size // config.page_size), most + 1)
            if limits.tail_is_allowed(size, pages * config.page_size)]


def bytes_per_object(size, config):
    """Span bytes per object, in 1/BYTE_UNIT bytes rounded down, in the best span; None if no span is allowed.

    It never falls as sizes grow. Among sizes with one limit it is a minimum over the same spans, and each of them holds
    fewer of the larger objects. Where the limit rises, the last size below is a power of two that fills its best span
    completely: it costs its size, and what is larger costs more than that.
    """
    pages = possible_pages(size, config)
    if not pages:
        return None
    return min(BYTE_UNIT * count * config.page_size // (count * config.page_size // size) for count in pages)


def class_price(size, holders, objective):
    """What a class costs by being there, in 1/COST_UNIT bytes: partly used spans, and objects that wait in caches.

    One unit per byte of size on top lets the smaller size win where two cost the same, as those with the same span do.
    """
    price = holders * max(CLASS_BYTES, (1 << (size - 1).bit_length()) // CLASS_PART) * COST_UNIT
    return size + (price * SPEED_CLASS_FACTOR if objective == "speed" else price)


def count_holders(totals):
    """In how many places a class keeps memory: once per process, and once per thread as far as they may live at once."""
    processes = max(totals["processes"], 1)
    return max(processes, min(totals["threads"], MOST_THREADS * processes))


def weigh(row, objective, peak_bytes, allocated_bytes):
    """How much one row counts, in 1/WEIGHT_UNIT objects; at least 1 if it was recorded at all."""
    weight = WEIGHT_UNIT * row.peak_live
    if objective == "balanced":
        weight += WEIGHT_UNIT * row.most_live // OWN_PEAK_PART
    if objective == "speed" and allocated_bytes:
        # The allocations, scaled so that all of them together weigh as many bytes as the peak.
        weight += WEIGHT_UNIT * row.allocations * peak_bytes // allocated_bytes
    return max(weight, 1) if row.allocations or row.most_live or row.peak_live else 0


def requests_of(rows, objective, config, largest_size):
    """The requests that classes up to `largest_size` can serve; the rest takes pages under every profile.

    One that asks for an alignment counts as one of its size rounded up to that, which is the least class that can have it.
    """
    peak_bytes = sum(row.size * row.peak_live for row in rows)
    allocated_bytes = sum(row.size * row.allocations for row in rows)
    requests = []
    for row in rows:
        needed = math.ceil(row.size / row.alignment) * row.alignment if row.size <= largest_size else row.size
        if needed <= largest_size and row.alignment <= config.page_size:
            weight = weigh(row, objective, peak_bytes, allocated_bytes)
            if weight:
                requests.append(Request(needed, row.size, weight))
    return requests


def background_requests(sizes):
    """Requests of every possible size; `sizes` ascend from 0."""
    return [Request(size, size, WEIGHT_UNIT * BACKGROUND_BYTES * (size - before) // (size * size))
            for before, size in zip(sizes, sizes[1:])]

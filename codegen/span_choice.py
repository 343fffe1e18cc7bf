"""Pages per span, batch and cache capacity of one suggested class, from what was recorded of its requests.

Where nothing speaks against it the derivation's values stand. Every choice is within the rules of profile_rules.py.
"""

from dataclasses import dataclass

import cost
import derivation

# A class with at least one in this many of all allocations is busy: its spans do not get fewer objects than derived.
BUSY_PART = 256

# If one free in this many is made by another thread, the objects travel in larger batches.
REMOTE_PART = 4
REMOTE_BATCH_MOST = 64
REMOTE_BATCH_BYTES = 64 * 1024

# A thread's cache need not hold more than twice what ever lived at once, and not less than one first stack.
LEAST_CAPACITY = 7


@dataclass(frozen=True)
class Use:
    """What was recorded of the requests that one class serves."""

    allocations: int = 0
    peak_live: int = 0
    most_live: int = 0
    peak_requested: int = 0
    remote_frees: int = 0
    frees: int = 0


def choose_pages(size, use, total_allocations, processes, config):
    """The span with the least waste: the rests behind last objects at the peak, and half a span in each process."""
    derived = derivation.derive_pages(size, config)
    if not use.allocations:
        return derived
    least_objects = 1
    if use.allocations * BUSY_PART >= total_allocations:
        least_objects = derived * config.page_size // size

    def waste(pages):
        span_bytes = pages * config.page_size
        return 2 * use.peak_live * (span_bytes % size) // (span_bytes // size) + processes * span_bytes

    enough = [pages for pages in cost.possible_pages(size, config) if pages * config.page_size // size >= least_objects]
    return min(enough, key=lambda pages: (waste(pages), pages), default=derived)


def choose_capacity(size, use, objective, config):
    """Less than derived for few objects, since slots are charged to the budget whether they are filled or not."""
    derived = derivation.derive_capacity(size, config)
    if objective == "speed" or not use.allocations:
        return derived
    enough = max(LEAST_CAPACITY, (1 << (2 * use.most_live).bit_length()) - 1)
    return min(derived, enough)


def choose_batch(size, use, capacity):
    """More than derived where many objects are freed by another thread; always what the stack can hold."""
    batch = derivation.derive_batch(size)
    if use.remote_frees * REMOTE_PART >= max(use.frees, 1):
        batch = max(batch, min(2 * batch, REMOTE_BATCH_MOST, REMOTE_BATCH_BYTES // size))
    return min(batch, capacity)

"""The sizes that a suggested profile may have, and how far apart they may lie: the hard limits of the optimiser.

Relies on limits.py for what the generator accepts; every chain of candidates within the steps is accepted by it.
"""

import bisect
from dataclasses import dataclass
from fractions import Fraction

import cost
import limits

# Above the sizes that the lookup knows exactly, sizes are multiples of this, so that its second table stays small.
COARSE_STEP = 512

# The step between classes is not counted below this size, where alignment alone makes steps of half the size.
FREE_SIZE = 32

# With so many classes or more, each power of two from LEAST_ALIGNED on is one, for alignments that were not recorded.
CLASSES_FOR_ALIGNED = 32
LEAST_ALIGNED = 16


@dataclass(frozen=True)
class Candidates:
    """Index 0 of each list stands for "no class yet".

    `sizes` ascend. `lowest[j]` is the first index that may come directly before j: a nearer one may, too, one before it
    may not. `rates` are bytes per object in 1/BYTE_UNIT bytes; they never fall.
    """

    sizes: list
    rates: list
    lowest: list


def make_candidates(config, largest_size, max_step, required):
    """All sizes up to `largest_size`, which is the last, that have a span and that a request can take.

    Those in `required`, which ascends, have to be classes.
    """
    sizes = [0]
    rates = [0]
    for size in possible_sizes(config.alignment, largest_size):
        rate = cost.bytes_per_object(size, config)
        if rate is not None:
            sizes.append(size)
            rates.append(rate)
    return Candidates(sizes, rates, lowest_predecessors(sizes, max_step, required))


def possible_sizes(alignment, largest_size):
    """Requests of up to 8 bytes may have a class of 8; all others need one that is aligned."""
    exact_end = min(largest_size, limits.SMALL_SIZE)
    sizes = {limits.SIZE_STEP, largest_size}
    sizes.update(range(alignment, exact_end + 1, alignment))
    sizes.update(range(limits.SMALL_SIZE + COARSE_STEP, largest_size + 1, COARSE_STEP))
    return sorted(sizes)


def required_powers(largest_size, max_classes):
    """The powers of two that have to be classes."""
    if max_classes < CLASSES_FOR_ALIGNED:
        return []
    powers = (1 << exponent for exponent in range(largest_size.bit_length()))
    return [power for power in powers if LEAST_ALIGNED <= power < largest_size]


def lowest_predecessors(sizes, max_step, required):
    """For each index the first one that may precede it: within the step, and with no required size in between.

    The class after `size` is at most max_step times it, or the next possible size if that is larger. Both grow with the
    size, so what may precede a candidate is a range that ends just below it, and its beginning never moves back.
    """
    step = Fraction(max_step)
    lowest = [0] * len(sizes)
    first = 0
    for index in range(1, len(sizes)):
        while first < index - 1 and sizes[index] * step.denominator > step.numerator * max(sizes[first], FREE_SIZE):
            first += 1
        last_required = bisect.bisect_left(required, sizes[index]) - 1
        if last_required >= 0:
            first = max(first, bisect.bisect_left(sizes, required[last_required]))
        lowest[index] = first
    return lowest


def least_class_count(candidates):
    """The least number of classes that keep all limits: from the largest down, always the farthest that may precede."""
    count = 0
    index = len(candidates.sizes) - 1
    while index > 0:
        index = candidates.lowest[index]
        count += 1
    return count

"""What the allocator gives for a request under a profile, and what a recorded histogram loses by that.

The same decisions as class_for in src/fast_path.h and door_size_for in src/door.c, on the tables that the header is made
from. A test holds the two rules for alignment and pages against a simple search.
"""

from dataclasses import dataclass

import derivation
import limits


@dataclass(frozen=True)
class Waste:
    """Bytes over some objects. `small` are the requests that have a class, `large` those that take pages of their own.

    Rounding is what is given less what was requested (rounded up to 8, as the histogram has it); `tails` is each object's
    share of the rest behind the last object of its span.
    """

    small_objects: int
    small_requested: int
    small_given: int
    tails: int
    large_objects: int
    large_requested: int
    large_given: int

    @property
    def small_rounding(self):
        return self.small_given - self.small_requested

    @property
    def large_rounding(self):
        return self.large_given - self.large_requested

    @property
    def requested(self):
        return self.small_requested + self.large_requested

    @property
    def total(self):
        """All bytes lost: by rounding and behind the last objects of spans."""
        return self.small_rounding + self.tails + self.large_rounding


def class_number(tables, size, alignment):
    """The class (from 1) that serves a request, or 0 if it takes pages."""
    if size > tables.largest_size:
        return 0
    if size <= tables.small_size:
        number = tables.small_class[-(-size // limits.SIZE_STEP)]
    else:
        number = tables.medium_class[-(-size >> tables.medium_shift)]
    if alignment <= limits.SIZE_STEP:
        return number
    row = alignment.bit_length() - 5
    return tables.aligned_class[row][number] if row < len(tables.aligned_class) else 0


def given_bytes(tables, size, alignment=1):
    """Bytes of the object or of the pages that a request gets."""
    number = class_number(tables, size, alignment)
    if number:
        return tables.classes[number - 1].size
    return max(derivation.pages_for(size, tables.config), 1) * tables.config.page_size


def predicted_waste(tables, rows, count="peak_live"):
    """The Waste of `rows` under a profile; `count` names the column that says how many objects there are."""
    small = [0, 0, 0]
    large = [0, 0, 0]
    objects_by_class = [0] * tables.class_count
    for row in rows:
        objects = getattr(row, count)
        number = class_number(tables, row.size, row.alignment)
        objects_by_class[number] += objects
        sums = small if number else large
        sums[0] += objects
        sums[1] += objects * row.size
        sums[2] += objects * given_bytes(tables, row.size, row.alignment)
    tails = sum(objects * entry.tail_waste // entry.objects
                for objects, entry in zip(objects_by_class[1:], tables.classes))
    return Waste(*small, tails, *large)


def alignment_loss(tables, rows, count="peak_live"):
    """The part of the rounding that no choice of classes saves: every request above 8 bytes is aligned to the profile's
    alignment."""
    alignment = tables.config.alignment
    return sum(getattr(row, count) * (-row.size % alignment) for row in rows
               if row.size > limits.SIZE_STEP and class_number(tables, row.size, row.alignment))

"""From a checked profile to the numbers of the generated tables.

Derives what the profile leaves open (pages, batch, capacity), and computes the lookups from request size to class.
Relies on profile_rules.py having accepted the profile.
"""

from dataclasses import dataclass

import limits
from limits import KIB, MIB

# A span has at least this many objects as long as it stays within this many bytes; the first line that can be met
# decides. Many objects per span cost few refills, short spans are given back sooner.
SPAN_GOALS = ((32, 64 * KIB), (8, 256 * KIB), (2, 512 * KIB), (1, 1 * MIB))

# One batch moves about this many bytes between the tiers, within these numbers of objects. With 64 KiB and 64 objects a
# producer and a consumer of many sizes held 1.6 MiB more; with at least 2, an exchange of 16 KiB objects took twice as long.
BATCH_BYTES = 32 * 1024
BATCH_LEAST = 4
BATCH_MOST = 32

# A thread's stack of one class may come to hold about this many bytes, and this many objects.
STACK_BYTES = 256 * KIB
STACK_MOST = 2047


@dataclass(frozen=True)
class SizeClass:
    """One class, complete. `lowest` is the smallest request that takes it, None if no request does."""

    size: int
    pages: int
    batch: int
    capacity: int
    span_bytes: int
    lowest: int | None

    @property
    def objects(self):
        return self.span_bytes // self.size

    @property
    def tail_waste(self):
        return limits.tail_waste(self.size, self.span_bytes)

    @property
    def reciprocal(self):
        return reciprocal(self.size)


@dataclass(frozen=True)
class Tables:
    """Everything that the header holds. `classes[0]` is class 1; class 0 means "no class"."""

    config: object
    classes: tuple
    small_size: int
    largest_size: int
    medium_shift: int
    small_class: tuple
    medium_class: tuple
    aligned_class: tuple
    notes: tuple

    @property
    def page_shift(self):
        return self.config.page_size.bit_length() - 1

    @property
    def class_count(self):
        return len(self.classes) + 1


def pages_for(size, config):
    """Pages that `size` bytes need."""
    return -(-size // config.page_size)


def derive_pages(size, config):
    """The shortest span that meets the first goal it can, with its tail in bounds; None if there is none."""
    for least_objects, span_limit in SPAN_GOALS:
        most = min(span_limit // config.page_size, config.max_span_pages)
        for pages in range(pages_for(least_objects * size, config), most + 1):
            if limits.tail_is_allowed(size, pages * config.page_size):
                return pages
    return None


def stack_capacity(objects):
    """The greatest 2^k - 1 that is at most `objects`: with the empty slot below it a stack fills a power of two."""
    return (1 << ((objects + 1).bit_length() - 1)) - 1


def derive_capacity(size, config):
    return stack_capacity(max(1, min(STACK_MOST, config.max_free_list_length, STACK_BYTES // size)))


def derive_batch(size):
    return min(max(BATCH_BYTES // size, BATCH_LEAST), BATCH_MOST)


def reciprocal(size):
    """The factor that replaces a division by `size`; see the comment in the header for why it is exact."""
    factor = -(-(1 << limits.RECIPROCAL_SHIFT) // size)
    error = factor * size - (1 << limits.RECIPROCAL_SHIFT)
    greatest_offset = (1 << limits.OFFSET_BITS) - 1
    assert greatest_offset * error < 1 << limits.RECIPROCAL_SHIFT, size
    assert greatest_offset * factor < 1 << 64, size
    assert greatest_offset < limits.RECIPROCAL_REST & -limits.RECIPROCAL_REST <= factor, size
    return factor


def derive_tables(profile):
    config = profile.config
    sizes = [entry.size for entry in profile.entries]
    classes_by_unit = map_requests(sizes, config.alignment)
    largest_size = (len(classes_by_unit) - 1) * limits.SIZE_STEP
    small_size = min(limits.SMALL_SIZE, largest_size)
    medium_shift = common_shift([small_size] + [size for size in reached_sizes(sizes, classes_by_unit)
                                                if size > small_size])
    notes = []
    lowest = lowest_requests(classes_by_unit)
    classes = tuple(complete_class(entry, config, lowest.get(number), notes)
                    for number, entry in enumerate(profile.entries, 1))
    note_config(config, notes)
    note_derived_pages(profile.entries, notes)
    return Tables(
        config=config,
        classes=classes,
        small_size=small_size,
        largest_size=largest_size,
        medium_shift=medium_shift,
        small_class=tuple(classes_by_unit[:small_size // limits.SIZE_STEP + 1]),
        medium_class=tuple(classes_by_unit[::(1 << medium_shift) // limits.SIZE_STEP]),
        aligned_class=map_alignments(sizes, config.page_size),
        notes=tuple(notes),
    )


def map_requests(sizes, alignment):
    """The class of each request size in units of 8 bytes, up to the largest class that a request can take.

    One unit may take any class; from two units on, objects must be aligned to `alignment`.
    """
    classes_by_unit = [1, 1]
    for number, size in enumerate(sizes, 1):
        if size % alignment == 0:
            units = size // limits.SIZE_STEP + 1 - len(classes_by_unit)
            classes_by_unit.extend([number] * units)
    return classes_by_unit


def reached_sizes(sizes, classes_by_unit):
    return [sizes[number - 1] for number in sorted(set(classes_by_unit))]


def lowest_requests(classes_by_unit):
    """For each class that is taken, the smallest request (of at least one byte) that takes it."""
    lowest = {}
    for unit, number in enumerate(classes_by_unit[1:]):
        lowest.setdefault(number, unit * limits.SIZE_STEP + 1)
    return lowest


def common_shift(sizes):
    """Log2 of the largest power of two that divides all sizes."""
    combined = 0
    for size in sizes:
        combined |= size
    return (combined & -combined).bit_length() - 1


def map_alignments(sizes, page_size):
    """For each power-of-two alignment from 16 to a page, and each class: the first class from it on that has it.

    A span begins on a page, so a size that is a multiple of the alignment puts every object on one.
    """
    rows = []
    alignment = 16
    while alignment <= page_size:
        row = [0] * (len(sizes) + 1)
        following = 0
        for number in range(len(sizes), 0, -1):
            if sizes[number - 1] % alignment == 0:
                following = number
            row[number] = following
        rows.append(tuple(row))
        alignment *= 2
    return tuple(rows)


def complete_class(entry, config, lowest, notes):
    """Fills in what the profile leaves open, and notes where the outcome is not what the profile says."""
    pages = entry.pages if entry.pages is not None else derive_pages(entry.size, config)
    if entry.capacity is not None:
        capacity = stack_capacity(entry.capacity)
        if capacity != entry.capacity:
            notes.append(f"{entry.key}.capacity: {entry.capacity}: rounded down to {capacity} (a power of two less one)")
    else:
        capacity = derive_capacity(entry.size, config)
    batch = entry.batch_size if entry.batch_size is not None else derive_batch(entry.size)
    if batch > capacity:
        if entry.batch_size is not None:
            notes.append(f"{entry.key}.batch_size: {batch}: lowered to {capacity}, what a thread's stack can hold")
        batch = capacity
    if lowest is not None and entry.size > limits.WIDE_STEP * max(lowest - 1, limits.FREE_STEP_SIZE):
        notes.append(f"{entry.size_key}: {entry.size}: more than {limits.WIDE_STEP} times the class that serves smaller "
                     f"requests ({lowest - 1}): the smallest that take it leave most of it unused")
    if lowest is None:
        notes.append(f"{entry.size_key}: {entry.size}: taken by no request, since alignment is {config.alignment}")
    return SizeClass(entry.size, pages, batch, capacity, pages * config.page_size, lowest)


def note_config(config, notes):
    if config.max_span_pages < config.max_pages:
        notes.append(f"config.max_pages: {config.max_pages}: taken as {config.max_span_pages}, "
                     f"a span of a class has at most {limits.MAX_SPAN_BYTES} bytes")


def note_derived_pages(entries, notes):
    count = sum(entry.pages is None for entry in entries)
    if count:
        notes.append(f"pages: derived for {count} of {len(entries)} classes, "
                     "so that at most 12.5 % of a span is left unused")

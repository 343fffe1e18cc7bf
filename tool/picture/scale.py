"""The axis of sizes, shared by all panels of the picture: bins of 8 bytes up to 128, then eight per doubling.

Every bin is equally wide, so that each of the smallest sizes has a bar of its own and large sizes are on a logarithmic scale.
"""

from bisect import bisect_left

STEP = 8
LINEAR_END = 128
BINS_PER_DOUBLING = 8

# The smallest powers of two would stand on each other at the axis.
LEAST_SIZES_WRITTEN = (8, 64)


def bin_ends(greatest):
    """The greatest size of each bin, up to the first end of a doubling that reaches `greatest`."""
    ends = list(range(STEP, LINEAR_END + 1, STEP))
    while ends[-1] < greatest:
        start = ends[-1]
        ends += [round(start * 2 ** (number / BINS_PER_DOUBLING) / STEP) * STEP for number in range(1, BINS_PER_DOUBLING + 1)]
    return ends


def bin_of(ends, size):
    """The bin that a size is counted in."""
    return bisect_left(ends, size)


def place_of(ends, size):
    """Where a size lies on the axis, in bins: the end of bin n is at n + 1."""
    if size > ends[-1]:
        return float(len(ends))
    number = bin_of(ends, size)
    start = ends[number - 1] if number else 0
    return number + (size - start) / (ends[number] - start)


def doublings(ends):
    """The sizes that are written at the axis."""
    return [size for size in ends if size & (size - 1) == 0 and (size in LEAST_SIZES_WRITTEN or size >= LINEAR_END)]


def size_text(size):
    """Short, for the axes: 8, 64K, 1.5M."""
    for unit, bytes_of_unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size >= bytes_of_unit:
            return f"{size / bytes_of_unit:g}{unit}"
    return str(size)

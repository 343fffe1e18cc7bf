"""What a histogram says under a profile: size by size, by ranges of sizes, and in all. Relies on codegen/waste.py.

Waste, where nothing else is said, is what the objects that live at the peak lose by rounding: bytes given less bytes requested.
"""

from dataclasses import dataclass

import waste

# Ranges of sizes end at powers of two between these; the last one has no end.
FIRST_RANGE, LAST_RANGE = 64, 1 << 20


@dataclass(frozen=True)
class Fit:
    """How a profile serves the requests of one row: bytes given for one, whether by a class, and the waste of all."""

    given: int
    has_class: bool
    waste: int


@dataclass(frozen=True)
class Line:
    """A row of the histogram, with the sum of allocations up to it and its fit under each profile."""

    row: object
    cumulative: int
    fits: tuple

    @property
    def peak_bytes(self):
        return self.row.size * self.row.peak_live


def fit_of(row, tables):
    given = waste.given_bytes(tables, row.size, row.alignment)
    has_class = waste.class_number(tables, row.size, row.alignment) != 0
    return Fit(given, has_class, row.peak_live * (given - row.size))


def lines_of(histogram, layouts):
    """One for each row, by size."""
    lines, cumulative = [], 0
    for row in histogram.rows:
        cumulative += row.allocations
        lines.append(Line(row, cumulative, tuple(fit_of(row, layout.tables) for layout in layouts)))
    return lines


def weightiest(lines, count):
    """So many of the lines that have most of the allocations or of the peak, by size; all of them if count is 0."""
    if count == 0:
        return lines
    allocations = max(sum(line.row.allocations for line in lines), 1)
    peak = max(sum(line.peak_bytes for line in lines), 1)

    def weight(line):
        return max(line.row.allocations * peak, line.peak_bytes * allocations)

    chosen = sorted(lines, key=lambda line: (-weight(line), line.row.key))[:count]
    return sorted(chosen, key=lambda line: line.row.key)


@dataclass
class Range:
    """The sums over the sizes above `least` and up to `most`, which is None for the last range."""

    least: int
    most: int | None
    allocations: int = 0
    peak_bytes: int = 0
    waste: int = 0

    @property
    def label(self):
        return f"above {self.least}" if self.most is None else f"{self.least + 1} to {self.most}"


def ranges_of(lines):
    """The sums by ranges of sizes, under the first profile of the lines."""
    ranges = [Range(0, FIRST_RANGE)]
    while ranges[-1].most < LAST_RANGE:
        ranges.append(Range(ranges[-1].most, 2 * ranges[-1].most))
    ranges.append(Range(LAST_RANGE, None))
    for line in lines:
        found = next(one for one in ranges if one.most is None or line.row.size <= one.most)
        found.allocations += line.row.allocations
        found.peak_bytes += line.peak_bytes
        found.waste += line.fits[0].waste
    return ranges


def measured_waste(histogram):
    """What the recording library really lost by rounding at the peak, of the requests that had a class."""
    return histogram.totals["peak_small_given"] - histogram.totals["peak_small_requested"]

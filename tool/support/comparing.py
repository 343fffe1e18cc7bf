"""Two sides side by side: each is a histogram under a profile. Relies on analysis.py for the sums."""

from dataclasses import dataclass

import waste
from support import analysis
from support.figures import change_text, table_lines


@dataclass(frozen=True)
class Side:
    """A histogram and the profile that it is seen under."""

    histogram: object
    layout: object

    def allocations(self):
        return sum(row.allocations for row in self.histogram.rows)

    def predicted(self):
        return waste.predicted_waste(self.layout.tables, self.histogram.rows)

    def ranges(self):
        return analysis.ranges_of(analysis.lines_of(self.histogram, [self.layout]))


def pair(name, before, after):
    return [name, str(before), str(after), change_text(before, after)]


def total_lines(before, after, measured):
    """`measured`: whether the sides were recorded separately, so that what they measured can differ."""
    rows = [pair("classes", len(before.layout.tables.classes), len(after.layout.tables.classes))]
    totals = [side.histogram.totals for side in (before, after)]
    if measured:
        rows.append(pair("allocations", before.allocations(), after.allocations()))
        rows += [pair(name, *(one[key] for one in totals)) for name, key in
                 (("bytes allocated", "allocated_bytes"), ("bytes at the peak", "peak_bytes"))]
    predicted = [side.predicted() for side in (before, after)]
    rows += [pair(name, *map(value, predicted)) for name, value in
             (("waste by rounding up to a class, predicted", lambda one: one.small_rounding),
              ("waste by rounding up to pages, predicted", lambda one: one.large_rounding),
              ("waste at the ends of spans, predicted", lambda one: one.tails))]
    if measured:
        rows.append(pair("waste by rounding up to a class, measured",
                         *(analysis.measured_waste(side.histogram) for side in (before, after))))
    return table_lines(["at the peak", "before", "after", "change"], rows, left=(0,))


def range_lines(before, after, measured):
    """By ranges of sizes; empty ones at the ends are left out."""
    pairs = list(zip(before.ranges(), after.ranges()))
    used = [index for index, both in enumerate(pairs) if any(one.allocations or one.peak_bytes for one in both)]
    columns = [("allocations", lambda one: one.allocations), ("peak bytes", lambda one: one.peak_bytes),
               ("waste", lambda one: one.waste)]
    headings, rows = ["size"], []
    for name, _ in columns:
        shared = not measured and name != "waste"
        headings += [name] if shared else [f"{name} before", "after", "change"]
    for one, other in pairs[used[0]:used[-1] + 1] if used else []:
        row = [one.label]
        for name, value in columns:
            shared = not measured and name != "waste"
            row += [str(value(one))] if shared else pair("", value(one), value(other))[1:]
        rows.append(row)
    return table_lines(headings, rows)

"""The small table at the end of the loop: what was measured before and after."""

import statistics

from support import analysis
from support.figures import bytes_text, change_text, percent_text, plural, table_lines


def varied(runs, name):
    """How far the runs on one library lie apart, in percent of their median; the wider of the two sides."""
    spreads = []
    for side in runs:
        values = [getattr(run, name) for run in side]
        middle = statistics.median(values)
        spreads.append(100 * (max(values) - min(values)) / middle if middle else 0)
    return f"{max(spreads):.1f} %"


def measured_row(label, runs, name, shown):
    before, after = (statistics.median(getattr(run, name) for run in side) for side in runs)
    return [label, shown(before), shown(after), change_text(before, after), varied(runs, name)]


def gain_lines(recorded, suggestion, runs):
    """`recorded` and `runs` are pairs: before, after."""
    waste = [analysis.measured_waste(histogram) for histogram in recorded]
    requested = [histogram.totals["peak_small_requested"] for histogram in recorded]
    predicted = (suggestion.before, suggestion.after)
    rows = [
        ["waste by rounding, bytes at the peak", *map(str, waste), change_text(*waste), ""],
        ["  of what was requested", *map(percent_text, waste, requested), "", ""],
        ["  predicted from the first recording", *(str(one.small_rounding) for one in predicted),
         change_text(*(one.small_rounding for one in predicted)), ""],
        measured_row("peak RSS", runs, "peak_rss", lambda value: bytes_text(int(value))),
        measured_row("processor time, s", runs, "processor", "{:.3f}".format),
        measured_row("time on the clock, s", runs, "clock", "{:.2f}".format),
    ]
    count = len(runs[0])
    return table_lines(["", "before", "after", "change", "runs vary by"], rows, left=(0,)) + [
        "", f"RSS and times are medians of {plural(count, 'run')} on each library without recording; RSS is that of",
        "the largest process, times are of all together."]

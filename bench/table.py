"""Medians, ratios and plain text tables for the benchmark drivers. Relies on nothing but numbers."""

import statistics

NOISE = 0.05  # ratios this little above their goal are noise

MARK_MEANING = f"! above its goal; ~ above it by at most {NOISE:.0%}, which is noise"


def mark(value, goal, noise=NOISE):
    """How a value stands to its goal: nothing to say, above it within noise, above it."""
    if goal is None or value <= goal:
        return ""
    return "~" if value <= goal * (1 + noise) else "!"


def spread(values):
    """Half the distance between the quartiles, relative to the median: the noise of a series."""
    middle = statistics.median(values)
    if len(values) < 3 or middle == 0:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def compare(samples, ours, peers):
    """Compares one row's interleaved runs: samples[name] is a list with one value for each repetition.

    Returns the fastest peer by medians, the ratio of our median to its, the median of the ratios within each repetition
    (which a drift of the machine's speed does not touch), and the spread of these.
    """
    medians = {name: statistics.median(values) for name, values in samples.items()}
    fastest = min(peers, key=lambda name: medians[name])
    paired = [mine / theirs for mine, theirs in zip(samples[ours], samples[fastest])]
    return {
        "fastest": fastest,
        "ratio": medians[ours] / medians[fastest],
        "paired": statistics.median(paired),
        "spread": spread(paired),
    }


def format_number(value):
    """Three to four digits whatever the magnitude."""
    if value >= 1000:
        return f"{value:.0f}"
    if value >= 100:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def print_table(head, lines):
    """Columns as wide as they must be; the first is set to the left, the others to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    for line in [head, *lines]:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())

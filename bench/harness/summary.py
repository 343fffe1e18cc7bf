"""The arithmetic of the results: medians, paired ratios to the best peer, noise, and the goals.

Relies on nothing but the results' own form (harness/results.py).
"""

import dataclasses
import math
import statistics

from harness.allocators import BASELINE

# Two runs of the same program differ by that much on a quiet machine, whatever their quartiles say.
LEAST_NOISE = 0.02

# A group with a median spread above this has seen too much of other programs to say anything.
TOO_NOISY = 0.10

# Other programs that take more of the processors than this disturb whatever is measured beside them.
BUSY_SHARE = 0.2

# Peak memory: so much is the difference between two runs of one program, from the layout of its addresses and from the
# kernel's counters, which lag by some dozens of pages.
MEMORY_NOISE = 0.01
MEMORY_NOISE_KIB = 64

# Against glibc, which begins with less than any allocator that has a cache for each thread.
BASELINE_FACTOR = 1.1
BASELINE_EXTRA_KIB = 1024

# The most that the geometric mean of the time ratios may be, over all rows and over those of one group.
TIME_GOALS = {None: 0.85, "micro": 0.75}

KIB_PER_UNIT = {"MiB": 1024.0, "KiB": 1.0, "B": 1 / 1024}

DASH = "-"


@dataclasses.dataclass
class Verdict:
    """One metric of one row: what every allocator has, and how ours stands to the best peer."""

    group: str
    row: str
    metric: dict
    medians: dict[str, float]
    best: str | None = None
    ratio: float | None = None  # the median of the ratios within each repetition, which drift does not touch
    spread: float = 0.0  # half the distance of their quartiles, relative to their median
    behind: str | None = None  # why ours misses its goal

    @property
    def label(self):
        return self.row if self.metric["alone"] else f"{self.row}: {self.metric['key']}"

    @property
    def full_label(self):
        return f"{self.group} {self.row}: {self.metric['key']}"

    @property
    def noise(self):
        return max(self.spread, LEAST_NOISE)


def spread(values):
    """Half the distance between the quartiles, relative to the median."""
    middle = statistics.median(values)
    if len(values) < 2 or middle == 0:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / abs(middle)


def ratio_of(mine, theirs):
    """A ratio that has a value even if the divisor is 0."""
    if theirs:
        return mine / theirs
    return 1.0 if not mine else math.inf


def values_of(row, name, key):
    """A metric's value in each repetition, None where there is none."""
    return [sample.get(key) if sample else None for sample in row["samples"].get(name, [])]


def median_of(row, name, key):
    values = [value for value in values_of(row, name, key) if value is not None]
    return statistics.median(values) if values else None


def medians_of(row, key):
    medians = {name: median_of(row, name, key) for name in row["samples"]}
    return {name: median for name, median in medians.items() if median is not None}


def paired_ratios(row, key, ours, peer):
    pairs = zip(values_of(row, ours, key), values_of(row, peer, key))
    return [ratio_of(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]


def judge(row, metric, ours, peers):
    """The verdict on one metric of a row."""
    verdict = Verdict(row["group"], row["name"], metric, medians_of(row, metric["key"]))
    if metric["kind"] == "memory":
        peers = [name for name in peers if name != BASELINE] or peers
    present = [name for name in peers if name in verdict.medians]
    if metric["kind"] == "info" or ours not in verdict.medians:
        return verdict
    if present:
        verdict.best = min(present, key=verdict.medians.get)
        ratios = paired_ratios(row, metric["key"], ours, verdict.best)
        ratios = ratios or [ratio_of(verdict.medians[ours], verdict.medians[verdict.best])]
        verdict.ratio, verdict.spread = statistics.median(ratios), spread(ratios)
    verdict.behind = reason_behind(verdict, ours)
    return verdict


def reason_behind(verdict, ours):
    """Why our value misses its goal beyond the noise, or None."""
    metric, mine = verdict.metric, verdict.medians[ours]
    if metric["goal"] is not None:
        noise = verdict.noise if metric["kind"] == "time" else 0.0
        return f"goal {format_number(metric['goal'])} {metric['unit']}" if mine > metric["goal"] * (1 + noise) else None
    if verdict.best is None:
        return None
    if metric["kind"] == "time":
        return f"{verdict.ratio:.2f} of {verdict.best}" if verdict.ratio > 1 + verdict.noise else None
    return reason_larger(verdict, ours)


def reason_larger(verdict, ours):
    """The same for memory. What is no number of bytes (page faults, say) has no allowance in KiB."""
    unit = KIB_PER_UNIT.get(verdict.metric["unit"])
    mine, best = verdict.medians[ours], verdict.medians[verdict.best]
    if mine > best * (1 + MEMORY_NOISE) and mine - best > (MEMORY_NOISE_KIB / unit if unit else 0):
        return f"{ratio_of(mine, best):.2f} of {verdict.best}"
    baseline = verdict.medians.get(BASELINE)
    if baseline is not None and mine > baseline * BASELINE_FACTOR + (BASELINE_EXTRA_KIB / unit if unit else 0):
        return f"{ratio_of(mine, baseline):.2f} of {BASELINE}"
    return None


def judge_all(results, ours=None, peers=None):
    """The verdicts on all metrics of all rows."""
    ours, peers = ours or results["ours"], peers or results["peers"]
    return [judge(row, metric, ours, peers) for row in results["rows"] for metric in row["metrics"]]


def geometric_mean(ratios):
    """None without ratios; a ratio of 0 or infinity, which no mean survives, is left out."""
    usable = [ratio for ratio in ratios if ratio and math.isfinite(ratio)]
    return statistics.geometric_mean(usable) if usable else None


def main_ratios(verdicts, kind, group=None):
    return [verdict.ratio for verdict in verdicts if verdict.metric["kind"] == kind and verdict.metric["main"]
            and verdict.ratio is not None and group in (None, verdict.group)]


def mean_beside(results, verdicts, kind, peer):
    """The geometric mean of our ratios to one single peer, by medians."""
    ours = results["ours"]
    return geometric_mean([ratio_of(verdict.medians[ours], verdict.medians[peer]) for verdict in verdicts
                           if verdict.metric["kind"] == kind and verdict.metric["main"]
                           and ours in verdict.medians and peer in verdict.medians])


def missed_goals(verdicts):
    """What misses its goal, in words: rows, and the geometric means."""
    missed = [f"{verdict.full_label}: {verdict.behind}" for verdict in verdicts if verdict.behind]
    for group, goal in TIME_GOALS.items():
        mean = geometric_mean(main_ratios(verdicts, "time", group))
        if mean is not None and mean > goal:
            missed.append(f"geometric mean of the time ratios over {group or 'all rows'}: {mean:.3f}, goal {goal}")
    return missed


def noise_warnings(results, verdicts):
    """What was seen that makes the numbers doubtful."""
    warnings, machine = [], results["machine"]
    if machine["busy_before"] > machine["cores"] * BUSY_SHARE:
        warnings.append(f"other programs kept {machine['busy_before']} of {machine['cores']} processors busy before "
                        "the run: too noisy to say anything")
    for group in dict.fromkeys(verdict.group for verdict in verdicts):
        spreads = [verdict.spread for verdict in verdicts if verdict.group == group and verdict.best
                   and verdict.metric["kind"] == "time" and verdict.metric["main"]]
        if spreads and statistics.median(spreads) > TOO_NOISY:
            warnings.append(f"{group}: median spread {statistics.median(spreads):.0%}: too noisy to say anything")
    return warnings


def format_number(value):
    """Three to four digits whatever the magnitude."""
    if value is None:
        return DASH
    if value >= 1000:
        return f"{value:.0f}"
    if value >= 100:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"

"""What changed between two results files: slower or larger beyond the noise of both, or the other way round.

Relies on harness/summary.py. The machine may have been faster or slower the second time, which the peers tell: time is
judged relative to the peers' own change.
"""

import dataclasses
import statistics

from harness import summary, table


@dataclasses.dataclass
class Change:
    label: str
    unit: str
    kind: str
    main: bool
    before: float
    after: float
    peers: float | None  # the middle one of the peers' own changes; None without peers in both files
    noise: float

    @property
    def ratio(self):
        return summary.ratio_of(self.after, self.before)

    @property
    def judged(self):
        return self.ratio / self.peers if self.kind == "time" and self.peers else self.ratio

    @property
    def verdict(self):
        """1 for worse, -1 for better, 0 for no difference beyond the noise."""
        if self.kind == "memory" and abs(self.after - self.before) <= allowance(self.unit):
            return 0
        if self.judged > 1 + self.noise:
            return 1
        return -1 if self.judged < 1 / (1 + self.noise) else 0


def allowance(unit):
    """The least difference of memory that means anything, in the metric's unit."""
    return summary.MEMORY_NOISE_KIB / summary.KIB_PER_UNIT[unit] if unit in summary.KIB_PER_UNIT else 0


def noise_of(row, name, key):
    values = [value for value in summary.values_of(row, name, key) if value is not None]
    return summary.spread(values)


def peers_change(before, after, key, peers):
    """The middle of the peers' changes and of their noise."""
    ratios, noises = [], []
    for name in peers:
        old, new = summary.median_of(before, name, key), summary.median_of(after, name, key)
        if old and new:
            ratios.append(new / old)
            noises.append(noise_of(before, name, key) + noise_of(after, name, key))
    return (statistics.median(ratios), statistics.median(noises)) if ratios else (None, 0.0)


def change_of(before, after, metric, name, peers):
    """How one metric of one row changed under one allocator, or None if it is not in both."""
    key = metric["key"]
    old, new = summary.median_of(before, name, key), summary.median_of(after, name, key)
    if old is None or new is None:
        return None
    drift, drift_noise = peers_change(before, after, key, peers)
    noise = noise_of(before, name, key) + noise_of(after, name, key)
    least = summary.MEMORY_NOISE
    if metric["kind"] == "time":
        noise, least = noise + drift_noise, summary.LEAST_NOISE
    label = f"{before['group']} {before['name']}" + ("" if metric["alone"] else f": {key}")
    return Change(label, metric["unit"], metric["kind"], metric["main"], old, new, drift, max(noise, least))


def changes(before, after, name):
    """All changes of one allocator between two results."""
    peers = [peer for peer in before["peers"] if peer in after["peers"] and peer != name]
    later = {(row["group"], row["name"]): row for row in after["rows"]}
    found = []
    for row in before["rows"]:
        other = later.get((row["group"], row["name"]))
        for metric in row["metrics"] if other else []:
            if metric["kind"] != "info":
                found.append(change_of(row, other, metric, name, peers))
    return [change for change in found if change is not None]


def lines_of(found):
    head = ["row", "unit", "before", "after", "change", "peers' change", "relative", "noise"]
    return table.text_lines(head, [line_of(one) for one in found])


def line_of(change):
    line = [change.label, change.unit, summary.format_number(change.before), summary.format_number(change.after)]
    ratios = [change.ratio, change.peers, change.ratio / change.peers if change.peers else None]
    return line + [f"{ratio:.2f}" if ratio else summary.DASH for ratio in ratios] + [f"{change.noise:.0%}"]


def report(before, after, name):
    """The comparison as text, and whether anything became worse."""
    found = changes(before, after, name)
    lines = [f"{name}: {len(found)} values are in both"]
    for wanted, title in ((1, "slower or larger"), (-1, "faster or smaller")):
        chosen = sorted((one for one in found if one.verdict == wanted), key=lambda one: -wanted * one.judged)
        lines.append(f"{len(chosen)} {title} beyond the noise")
        lines += lines_of(chosen) if chosen else []
    for kind in ("time", "memory"):
        main = [one for one in found if one.kind == kind and one.main]
        mean = summary.geometric_mean([one.ratio for one in main])
        relative = summary.geometric_mean([one.ratio / one.peers for one in main if one.peers])
        if mean:
            lines.append(f"geometric mean of the changes of {kind}: {mean:.3f}"
                         + (f"; relative to the peers: {relative:.3f}" if relative else ""))
    return "\n".join(lines), any(one.verdict == 1 for one in found)

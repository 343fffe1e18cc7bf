"""The results as tables, for the terminal and as Markdown. Relies on harness/summary.py for every number."""

from harness import machine, summary

KINDS = {"time": "time", "memory": "memory", "info": "besides, not judged"}

LEGEND = ("ratio: the median over the repetitions of ours to the best peer's; "
          "spread: half the distance of their quartiles; ! behind its goal beyond the noise")


def text_lines(head, lines):
    """Columns as wide as they must be; the first is set to the left, the others to the right."""
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    aligned = [[line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
               for line in [head, *lines]]
    return ["  ".join(cells).rstrip() for cells in aligned]


def markdown_lines(head, lines):
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *lines]]


def names_of(results, verdicts):
    """The allocators that have a value in one of the lines."""
    return [name for name in results["allocators"] if any(name in verdict.medians for verdict in verdicts)]


def table(results, verdicts, judged):
    """Head and lines of a table with a line for each verdict."""
    names = names_of(results, verdicts)
    head = ["row", "unit", *names] + (["best peer", "ratio", "spread", ""] if judged else [])
    lines = []
    for verdict in verdicts:
        line = [verdict.label, verdict.metric["unit"]]
        line += [summary.format_number(verdict.medians.get(name)) for name in names]
        if judged:
            line += beside_peer(verdict) + [f"! {verdict.behind}" if verdict.behind else ""]
        lines.append(line)
    return head, lines


def beside_peer(verdict):
    if verdict.best is None:
        return [summary.DASH] * 3
    return [verdict.best, f"{verdict.ratio:.2f}", f"{verdict.spread:.0%}"]


def group_tables(results, verdicts):
    """(title, head, lines) of each group's table of each kind."""
    for group in dict.fromkeys(verdict.group for verdict in verdicts):
        for kind, title in KINDS.items():
            chosen = [verdict for verdict in verdicts
                      if verdict.group == group and verdict.metric["kind"] == kind and verdict.medians]
            if chosen:
                yield f"{group}: {title}", *table(results, chosen, judged=kind != "info")


def mean_lines(results, verdicts):
    """Geometric means: of the ratios to the best peer of each row, and to each single peer."""
    lines = []
    for kind in ("time", "memory"):
        means = {group: summary.geometric_mean(summary.main_ratios(verdicts, kind, group))
                 for group in [None, *dict.fromkeys(verdict.group for verdict in verdicts)]}
        if means[None] is None:
            continue
        shown = [f"{group or 'all rows'} {mean:.3f}" + goal_note(kind, group) for group, mean in means.items() if mean]
        lines.append(f"geometric mean of the {kind} ratios to each row's best peer: {', '.join(shown)}")
        beside = [(peer, summary.mean_beside(results, verdicts, kind, peer)) for peer in results["peers"]]
        shown = [f"{peer} {mean:.3f}" for peer, mean in beside if mean]
        lines.append(f"geometric mean of the {kind} ratios to one peer: {', '.join(shown)}")
    return lines + linked_lines(results)


def linked_lines(results):
    """The same for the allocators that are linked into the drivers."""
    names = [name for name, one in results["allocators"].items() if one["linked"]]
    if len(names) < 2:
        return []
    verdicts = summary.judge_all(results, names[0], names[1:])
    mean = summary.geometric_mean(summary.main_ratios(verdicts, "time"))
    title = f"geometric mean of the time ratios of {names[0]} to the best of {', '.join(names[1:])}"
    return [f"{title}: {mean:.3f}"] if mean else []


def goal_note(kind, group):
    return f" (goal {summary.TIME_GOALS[group]})" if kind == "time" and group in summary.TIME_GOALS else ""


def closing_lines(results, verdicts):
    """What stands beneath the tables."""
    judged = [verdict for verdict in verdicts if verdict.best or verdict.metric["goal"] is not None]
    judged = [verdict for verdict in judged if results["ours"] in verdict.medians and verdict.metric["kind"] != "info"]
    behind = [verdict for verdict in judged if verdict.behind]
    lines = [LEGEND, *mean_lines(results, verdicts)]
    lines.append(f"{len(behind)} of {len(judged)} values of {results['ours']} are behind beyond the noise")
    lines += [f"  behind: {verdict.full_label}: {verdict.behind}" for verdict in behind]
    for word in ("skipped", "failed"):
        lines += sorted({f"  {word}: {row['group']} {row['name']}, {names}: {reason}"
                         for row in results["rows"] for reason, names in by_reason(row[word]).items()})
    lines += [f"warning: {warning}" for warning in summary.noise_warnings(results, verdicts)]
    return lines


def by_reason(reasons):
    """{reason: the names it holds for}"""
    return {reason: ", ".join(name for name, own in reasons.items() if own == reason) for reason in reasons.values()}


def head_lines(results):
    run = results["run"]
    repetitions = ", ".join(f"{group} {count}" for group, count in run["repetitions"].items())
    quick = ", quick" if run["quick"] else ""
    dirty = ", changed" if results["repository"]["dirty"] else ""
    lines = [machine.one_line(results["machine"]),
             f"medians; repetitions: {repetitions}; runs of {run['milliseconds']} ms{quick}",
             f"commit {(results['repository']['commit'] or 'unknown')[:12]}{dirty}"]
    if not run["finished"]:
        lines.append("the run was interrupted: the last repetition is incomplete")
    return lines


def terminal(results, verdicts):
    lines = head_lines(results)
    for title, head, rows in group_tables(results, verdicts):
        lines += ["", title, *text_lines(head, rows)]
    return "\n".join([*lines, "", *closing_lines(results, verdicts)])


def markdown(results, verdicts):
    lines = ["# Benchmark results", "", *(f"* {line}" for line in head_lines(results))]
    for name, one in results["allocators"].items():
        lines.append(f"* {name}: `{one['library']}`, {one['package'] or 'no package'}, sha256 {one['sha256']}")
    for title, head, rows in group_tables(results, verdicts):
        lines += ["", f"## {title}", "", *markdown_lines(head, rows)]
    lines += ["", "## Summary", "", *(f"* {line.strip()}" for line in closing_lines(results, verdicts)), ""]
    return "\n".join(lines)

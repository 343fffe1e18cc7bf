"""The values of simulated runs as tables, for the terminal and as Markdown."""

import pathlib

from harness import table

MIB = 1 << 20

LEGEND = """\
resident/used: on the average over the trace's time, at its end, and at worst (while an eighth of the peak or more is used).
occupied/used: hugepages in which anything is used, as bytes: what placement costs, whatever is given back.
waste to best: that ratio less 1 of the first heap, to the least of the others.
intact: the part of the used bytes that lies in hugepages of which nothing has been given back.
system: what calls and faults would cost. own: the page heap's own time for one operation, without them."""


def mib(count):
    return f"{count / MIB:.1f}"


def ratio(part, whole):
    return f"{part / whole:.3f}" if whole else "-"


def percent(part, whole):
    return f"{part / whole:.1%}" if whole else "-"


def memory_line(result):
    average, end = result["average"], result["end"]
    return [mib(result["peak_used"]), mib(result["peak_resident"]), mib(end["used"]), mib(end["resident"]),
            ratio(average["resident"], average["used"]), ratio(end["resident"], end["used"]), f"{result['worst_ratio']:.3f}",
            mib(result["worst_excess"]), percent(average["intact"], average["used"]), percent(end["intact"], end["used"])]


MEMORY_HEAD = ["trace", "peak used MiB", "peak resident", "end used", "end resident", "resident/used mean", "end", "worst",
               "worst excess MiB", "intact mean", "end"]


def occupied_ratio(state):
    return state["occupied"] / state["used"] if state["used"] else None


def placement_line(of_heaps):
    """The same trace on each heap; at the end what the first one wastes, compared with the least of the others."""
    line = []
    for result in of_heaps:
        line += [ratio(result[when]["occupied"], result[when]["used"]) for when in ("average", "end")]
        line.append(f"{result['worst_occupied_ratio']:.3f}")
    for when in ("average", "end") if len(of_heaps) > 1 else ():
        ratios = [occupied_ratio(result[when]) for result in of_heaps]
        least = min((one - 1 for one in ratios[1:] if one is not None), default=0)
        line.append(f"{(ratios[0] - 1) / least:.2f}" if least > 0 else "-")
    return line


def system_line(result):
    return [str(result["events"]), mib(result["faulted"]), mib(result["populated"]), mib(result["given_back"]),
            mib(result["faulted_again"]), *(str(result[f"calls_{call}"]) for call in ("map", "release", "populate", "move")),
            f"{result['system_ns'] / 1e6:.1f}", str(result["mappings_at_most"])]


SYSTEM_HEAD = ["trace", "events", "faulted MiB", "populated", "given back", "faulted again", "map calls", "release", "populate",
               "move", "system ms", "mappings"]


def own_line(result):
    line = []
    for operation in ("allocate", "allocate_long", "free"):
        own = result["own_ns"][operation]
        line += [f"{own[value]:.0f}" if own["count"] else "-" for value in ("mean", "p50", "p99", "p999", "max")]
    return line


OWN_HEAD = ["trace"] + [f"{operation} {value}" if value == "mean" else value for operation in ("allocate", "long", "free")
                        for value in ("mean", "p50", "p99", "99.9", "max")]


def short_name(trace):
    """Of a file, its name."""
    return pathlib.Path(trace).name.removesuffix(".gz").removesuffix(".xz").removesuffix(".trace")


def tables(results, heap):
    """(title, head, lines) of each table: the first heap in full, all of them in what their placement is worth."""
    traces = list(dict.fromkeys(trace for trace, _ in results))
    heaps = list(dict.fromkeys(name for _, name in results))
    for title, head, line in (("memory", MEMORY_HEAD, memory_line), ("system", SYSTEM_HEAD, system_line),
                              ("own time, ns", OWN_HEAD, own_line)):
        yield f"{heap}: {title}", head, [[short_name(trace), *line(results[trace, heap])] for trace in traces]
    head = ["trace"] + [f"{name} {value}" if value == "mean" else value for name in heaps
                        for value in ("mean", "end", "worst")]
    head += ["waste to best mean", "end"] if len(heaps) > 1 else []
    yield "occupied/used", head, [[short_name(trace), *placement_line([results[trace, name] for name in heaps])]
                                  for trace in traces]


def text(results, heap, markdown):
    lines = []
    for title, head, rows in tables(results, heap):
        if markdown:
            lines += [f"## {title}", "", *table.markdown_lines(head, rows), ""]
        else:
            lines += [title, *table.text_lines(head, rows), ""]
    return "\n".join([*lines, LEGEND])

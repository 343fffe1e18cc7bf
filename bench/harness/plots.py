"""The results as pictures, SVG and PNG.

Relies on matplotlib; `available` tells whether this Python has it. Debian's python3-matplotlib belongs to Debian's own
Python, which need not be the one that runs this.
"""

import math
import pathlib

from harness import machine, summary

try:
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot
    available = True
except ImportError:
    available = False

DEBIAN_PYTHON = "/usr/bin/python3"

HOW_TO_INSTALL = "no plots: matplotlib is missing; apt-get install python3-matplotlib"

# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart; the marks differ as well.
STYLES = {"tiermalloc": ("#D55E00", "D"), "glibc": ("#555555", "s"), "jemalloc": ("#0072B2", "o"),
          "gperftools": ("#009E73", "^"), "mimalloc": ("#CC79A7", "v")}
OTHER_STYLES = (("#56B4E9", "P"), ("#E69F00", "X"), ("#000000", "*"), ("#B8A800", "h"))

# Ratios beyond these are drawn at the edge: one very slow peer must not press all the others into a corner.
LEAST_SHOWN, MOST_SHOWN = 0.125, 8.0

ROWS_PER_COLUMN = 42  # as many as stand on a screen

LEAST_WIDTH = 7.0  # inches: room for the title and the legend

SETTINGS = {"svg.hashsalt": "tiermalloc", "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False,
            "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.6,
            "axes.axisbelow": True, "axes.edgecolor": "#888888", "xtick.color": "#444444", "ytick.color": "#222222"}


def style_of(results, name):
    """(colour, mark) of an allocator: the same in every picture. One that is linked in looks like its library."""
    plain = name.removesuffix("-static")
    others = [other for other in results["allocators"] if other.removesuffix("-static") not in STYLES]
    return STYLES.get(plain) or OTHER_STYLES[others.index(name) % len(OTHER_STYLES)]


def is_linked(results, name):
    return results["allocators"][name]["linked"]


def save(figure, folder, name, results, title):
    # Sizes in inches, whatever the picture's height.
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.10 / height, title, ha="left", va="top", fontsize=13, fontweight="bold")
    figure.text(0.01, 0.07 / height, machine.one_line(results["machine"]), fontsize=7, color="#777777", va="bottom")
    figure.tight_layout(rect=(0, 0.25 / height, 1, 1 - 0.65 / height))
    for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        figure.savefig(pathlib.Path(folder) / f"{name}.{ending}", metadata=metadata, dpi=110)
    pyplot.close(figure)


def legend(figure, axes, columns):
    """One legend for the whole picture, beneath its title."""
    found = {}
    for one in axes:
        found |= dict(zip(*reversed(one.get_legend_handles_labels())))
    figure.legend(found.values(), found.keys(), loc="upper left", ncol=columns, frameon=False,
                  bbox_to_anchor=(0.005, 1 - 0.32 / figure.get_figheight()), handletextpad=0.3, columnspacing=1.4)


def grid(count, columns, width, height):
    """A figure with that many axes, and the list of them."""
    lines = math.ceil(count / columns)
    size = max(width * columns, LEAST_WIDTH), height * lines + 0.9
    figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False)
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return figure, flat[:count]


def reference_of(verdict):
    """What ratios are drawn against: the best peer's median, in the picture's own selection of peers."""
    return verdict.medians.get(verdict.best) if verdict.best else None


def draw_ratios(axes, results, verdicts, names):
    """One column of a ratio picture: a line for each verdict, a mark for each allocator."""
    for place in range(0, len(verdicts), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f5f5f5", zorder=0, linewidth=0)
    axes.axvline(1.0, color="#222222", linewidth=1.0, zorder=1)
    for name in names:
        colour, mark = style_of(results, name)
        points = [(summary.ratio_of(verdict.medians[name], reference_of(verdict)), place)
                  for place, verdict in enumerate(verdicts) if name in verdict.medians]
        shown = [(min(max(ratio, LEAST_SHOWN), MOST_SHOWN), place) for ratio, place in points]
        ours = name == results["ours"]
        axes.scatter([x for x, _ in shown], [y for _, y in shown], s=46 if ours else 24, marker=mark, label=name,
                     facecolors="none" if is_linked(results, name) else colour, edgecolors=colour, linewidths=0.9,
                     zorder=4 if ours else 3, alpha=1.0 if ours else 0.85, clip_on=False)
    axes.set_xscale("log", base=2)
    axes.set_xlim(LEAST_SHOWN, MOST_SHOWN)
    ticks = [0.125, 0.25, 0.5, 1, 2, 4, 8]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(range(len(verdicts)), [verdict.label for verdict in verdicts])
    axes.set_ylim(len(verdicts) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("ratio to the best peer (less is better; a mark at the edge is at least as far)")


def plot_ratios(results, verdicts, folder, group, kind):
    chosen = [verdict for verdict in verdicts
              if (verdict.group, verdict.metric["kind"]) == (group, kind) and reference_of(verdict)]
    if not chosen:
        return
    names = [name for name in results["allocators"] if any(name in verdict.medians for verdict in chosen)]
    columns = math.ceil(len(chosen) / ROWS_PER_COLUMN)
    per_column = math.ceil(len(chosen) / columns)
    figure, axes = pyplot.subplots(1, columns, figsize=(7.6 * columns, 0.2 * per_column + 1.6), squeeze=False)
    for index, one in enumerate(axes.flat):
        draw_ratios(one, results, chosen[index * per_column:(index + 1) * per_column], names)
    legend(figure, axes.flat, len(names))
    title = {"time": "time", "memory": "memory, without glibc as a peer"}[kind]
    save(figure, folder, f"{group}-{kind}", results, f"{group}: {title}")


def thread_families(results):
    """Rows that differ in their number of threads alone: {title: [row, ...]}."""
    families = {}
    for row in results["rows"]:
        if row["group"] in ("micro", "threads"):
            families.setdefault(f"{row['group']}: {row['name'].split('@')[0]}", []).append(row)
    return {title: rows for title, rows in families.items() if len({row["threads"] for row in rows}) > 1}


def throughput(results, row, name):
    """Millions of operations in a second, of all threads. A row's time is that of one operation on one processor: the
    real time multiplied by the processors that the threads can have."""
    key = next((metric["key"] for metric in row["metrics"] if metric["unit"] == "ns" and metric["main"]), None)
    time = summary.median_of(row, name, key) if key else None
    return 1000 * min(row["threads"], results["machine"]["cores"]) / time if time else None


def plot_throughput(results, folder):
    families = thread_families(results)
    if not families:
        return
    figure, axes = grid(len(families), min(4, len(families)), 3.4, 2.6)
    for one, (title, rows) in zip(axes, families.items()):
        rows = sorted(rows, key=lambda row: row["threads"])
        for name in results["allocators"]:
            points = [(row["threads"], throughput(results, row, name)) for row in rows]
            draw_line(one, results, name, [point for point in points if point[1]], marks=True)
        one.set_title(title, loc="left")
        one.set_xscale("log", base=2)
        counts = sorted({row["threads"] for row in rows})
        one.set_xticks(counts, [str(count) for count in counts])
        one.set_ylim(bottom=0)
        one.set_xlabel("threads")
        one.set_ylabel("million operations/s")
    legend(figure, axes, 8)
    save(figure, folder, "threads-throughput", results, "Throughput over threads (more is better)")


def draw_line(axes, results, name, points, marks=False):
    if not points:
        return
    colour, mark = style_of(results, name)
    ours = name == results["ours"]
    axes.plot([point[0] for point in points], [point[1] for point in points], color=colour, label=name,
              linewidth=2.0 if ours else 1.2, zorder=4 if ours else 3, marker=mark if marks else None, markersize=5,
              linestyle="--" if is_linked(results, name) else "-")


def plot_series(results, folder):
    rows = [row for row in results["rows"] if row["series"]]
    if not rows:
        return
    figure, axes = grid(len(rows), min(3, len(rows)), 4.6, 3.0)
    for one, row in zip(axes, rows):
        for name in results["allocators"]:
            draw_line(one, results, name, row["series"].get(name, []))
        one.set_title(f"{row['group']}: {row['name']}", loc="left")
        one.set_ylim(bottom=0)
        one.locator_params(axis="x", nbins=5)
        one.set_xlabel("seconds")
        one.set_ylabel("MiB resident")
    legend(figure, axes, 8)
    save(figure, folder, "rss-over-time", results, "Resident memory over time (the last run of each)")


def slower_than(histogram):
    """The part of all operations that took longer than each time of a histogram."""
    histogram = sorted(histogram)
    left = total = sum(count for _, count in histogram)
    points = []
    for time, count in histogram:
        left -= count
        if left > 0:
            points.append((max(time, 1), left / total))
    return points


def plot_tail(results, folder):
    rows = [row for row in results["rows"] if row["histogram"]]
    if not rows:
        return
    figure, axes = grid(len(rows), min(3, len(rows)), 5.0, 3.8)
    for one, row in zip(axes, rows):
        for name in results["allocators"]:
            draw_line(one, results, name, slower_than(row["histogram"].get(name, [])))
        one.set_title(row["name"], loc="left")
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_xlabel("ns for one operation")
        one.set_ylabel("part of the operations that take longer")
    legend(figure, axes, 8)
    save(figure, folder, "tail", results, "Latency of single operations (the last run of each)")


def plot_all(results, verdicts, folder):
    """Draws everything that the results have values for."""
    with matplotlib.rc_context(SETTINGS):
        for group in dict.fromkeys(verdict.group for verdict in verdicts):
            for kind in ("time", "memory"):
                plot_ratios(results, verdicts, folder, group, kind)
        plot_throughput(results, folder)
        plot_series(results, folder)
        plot_tail(results, folder)

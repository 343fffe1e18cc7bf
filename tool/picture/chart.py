"""The picture of a histogram: bytes at the peak, waste, and allocations by size, and where the classes of each profile end.

One axis of sizes (scale.py) serves all panels. Relies on the analysed lines of support/analysis.py and draws with svg.py.
"""

from dataclasses import dataclass

from picture import scale, svg
from support.figures import bytes_text, percent_text, plural, recorded_text

WIDTH = 1120
LEFT, RIGHT = 92, 24
HEAD_HEIGHT = 62
PANEL_HEIGHT, SMALL_PANEL_HEIGHT = 170, 100
PANEL_TITLE, PANEL_GAP = 26, 14
STRIP_HEIGHT = 20
FOOT_HEIGHT = 44
LEGEND_START, LEGEND_GAP = 240, 36
CHARACTER_WIDTH = 6.3

# A program with its arguments may be long; so many characters of the title's font fit.
LONGEST_TITLE = 80

# Okabe and Ito's colours, as in the benchmarks' pictures; before and after differ in lightness as well.
PEAK, ALLOCATIONS = "#56B4E9", "#999999"
PROFILES = ("#D55E00", "#0072B2")
INK, FAINT, GRID = "#222222", "#666666", "#e4e4e4"

STYLE = "font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:12px"

# The axis goes at least to here, so that pictures of small programs can be compared.
LEAST_AXIS_END = 4096

TICKS = 4


@dataclass
class Bin:
    """The sums over the sizes of one bar."""

    allocations: int = 0
    peak_bytes: int = 0
    wastes: tuple = ()


class Axis:
    """Bins and coordinates of the axis of sizes."""

    def __init__(self, greatest):
        self.ends = scale.bin_ends(max(greatest, LEAST_AXIS_END))
        self.bin_width = (WIDTH - LEFT - RIGHT) / len(self.ends)

    def start(self, number):
        return LEFT + number * self.bin_width

    def place(self, size):
        return LEFT + scale.place_of(self.ends, size) * self.bin_width

    def collect(self, lines, profile_count):
        bins = [Bin(wastes=(0,) * profile_count) for _ in self.ends]
        for line in lines:
            one = bins[scale.bin_of(self.ends, line.row.size)]
            one.allocations += line.row.allocations
            one.peak_bytes += line.peak_bytes
            one.wastes = tuple(total + fit.waste for total, fit in zip(one.wastes, line.fits))
        return bins

    def bin_title(self, number):
        start = self.ends[number - 1] if number else 0
        return f"{start + 1} to {self.ends[number]} bytes"


def chart_file(name, histogram, layouts, lines):
    """The picture as a file of its own."""
    return svg.HEAD + chart(name, histogram, layouts, lines) + "\n"


def chart(name, histogram, layouts, lines):
    """The element <svg>."""
    axis = Axis(max((line.row.size for line in lines), default=0))
    bins = axis.collect(lines, len(layouts))
    parts = heading(name, histogram)
    top = HEAD_HEIGHT
    for draw in (peak_panel, waste_panel, class_strips, allocation_panel):
        drawn, top = draw(axis, bins, layouts, lines, top)
        parts += drawn
    parts += size_labels(axis, top) + hover_areas(axis, bins, layouts, top)
    height = top + FOOT_HEIGHT
    background = svg.rectangle(0, 0, WIDTH, height, fill="#ffffff")
    return svg.element("svg", background, "\n", "\n".join(parts), "\n", xmlns="http://www.w3.org/2000/svg", width=WIDTH,
                       height=height, viewBox=f"0 0 {WIDTH} {height}", style=STYLE, role="img",
                       aria_label=f"Allocations of {name} by size")


def heading(name, histogram):
    title = name if len(name) <= LONGEST_TITLE else name[:LONGEST_TITLE - 3] + "..."
    return [svg.label(LEFT, 26, title, font_size=18, font_weight="bold", fill=INK),
            svg.label(LEFT, 46, recorded_text(histogram), fill=FAINT)]


def nice_step(greatest):
    """A step of 1, 2 or 5 times a power of ten that gives at most TICKS steps up to `greatest`."""
    step = 1
    while step * TICKS < greatest:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def nice_bytes_step(greatest):
    """A power of two."""
    step = 1
    while step * TICKS < greatest:
        step *= 2
    return step


def panel(axis, top, height, title, greatest, step, text):
    """The frame of a panel: title, lines across, their labels. Returns the parts, the base line, and the scale of values."""
    base = top + PANEL_TITLE + height
    most = max(greatest, 1)
    parts = [svg.label(LEFT, top + 15, title, font_weight="bold", fill=INK)]
    for value in range(0, most + 1, step):
        y = base - height * value / most
        parts.append(svg.line(LEFT, y, WIDTH - RIGHT, y, stroke=GRID if value else INK, stroke_width=1))
        parts.append(svg.label(LEFT - 8, y + 4, text(value), text_anchor="end", fill=FAINT))
    for size in scale.doublings(axis.ends):
        x = axis.place(size)
        parts.insert(1, svg.line(x, top + PANEL_TITLE, x, base, stroke=GRID, stroke_width=1))
    return parts, base, height / most


def bars(axis, base, values, factor, fill, share=(0.0, 1.0)):
    """A bar for each bin with a value; `share` is the part of the bin's width that it takes."""
    gap = 0.1 * axis.bin_width
    width = axis.bin_width - gap
    drawn = []
    for number, value in enumerate(values):
        if value:
            height = max(value * factor, 1)
            drawn.append(svg.rectangle(axis.start(number) + gap / 2 + share[0] * width, base - height,
                                       (share[1] - share[0]) * width, height, fill=fill))
    return drawn


def peak_panel(axis, bins, layouts, lines, top):
    values = [one.peak_bytes for one in bins]
    greatest = max(values)
    title = f"Bytes requested, alive at the peak ({bytes_text(sum(values))})"
    parts, base, factor = panel(axis, top, PANEL_HEIGHT, title, greatest, nice_bytes_step(greatest), scale.size_text)
    return parts + bars(axis, base, values, factor, PEAK), base + PANEL_GAP


def waste_panel(axis, bins, layouts, lines, top):
    greatest = max(max(one.wastes) for one in bins)
    parts, base, factor = panel(axis, top, PANEL_HEIGHT, "Lost by rounding up, at the peak", greatest,
                                nice_bytes_step(greatest), scale.size_text)
    requested = sum(one.peak_bytes for one in bins)
    x = LEFT + LEGEND_START
    for index, layout in enumerate(layouts):
        values = [one.wastes[index] for one in bins]
        parts += bars(axis, base, values, factor, PROFILES[index], (index / len(layouts), (index + 1) / len(layouts)))
        text = f"{short_name(layout)}: {bytes_text(sum(values))}, {percent_text(sum(values), requested)} of what was requested"
        parts += [svg.rectangle(x, top + 5, 10, 10, fill=PROFILES[index]), svg.label(x + 15, top + 15, text, fill=INK)]
        x += LEGEND_GAP + CHARACTER_WIDTH * len(text)
    return parts, base + PANEL_GAP


def short_name(layout):
    """A profile's name without its folders."""
    return layout.name.rsplit("/", 1)[-1]


def class_strips(axis, bins, layouts, lines, top):
    """For each profile a strip with a mark where a class ends."""
    parts = [svg.label(LEFT, top + 15, "Where classes end", font_weight="bold", fill=INK)]
    x = LEFT + LEGEND_START
    title = top + 15
    top += PANEL_TITLE
    for index, layout in enumerate(layouts):
        colour = PROFILES[index]
        text = f"{short_name(layout)}: {plural(len(layout.tables.classes), 'class')}"
        parts.append(svg.label(x, title, text, fill=colour))
        x += LEGEND_GAP + CHARACTER_WIDTH * len(text)
        parts.append(svg.rectangle(LEFT, top, WIDTH - LEFT - RIGHT, STRIP_HEIGHT - 4, fill="#f5f5f5"))
        for entry in layout.tables.classes:
            if entry.size <= axis.ends[-1]:
                place = axis.place(entry.size)
                parts.append(svg.element("line", svg.element("title", svg.words(f"class {entry.size}, {short_name(layout)}")),
                                         x1=place, y1=float(top), x2=place, y2=float(top + STRIP_HEIGHT - 4), stroke=colour,
                                         stroke_width=1.4, class_="class-end", data_size=entry.size))
        top += STRIP_HEIGHT
    return parts, top + PANEL_GAP


def allocation_panel(axis, bins, layouts, lines, top):
    values = [one.allocations for one in bins]
    greatest = max(values)
    title = f"Allocations ({sum(values)})"
    parts, base, factor = panel(axis, top, SMALL_PANEL_HEIGHT, title, greatest, nice_step(greatest), count_text)
    return parts + bars(axis, base, values, factor, ALLOCATIONS), base


def count_text(value):
    for unit, thousands in (("G", 10 ** 9), ("M", 10 ** 6), ("k", 1000)):
        if value >= thousands:
            return f"{value / thousands:g} {unit}"
    return str(value)


def size_labels(axis, top):
    parts = [svg.label(axis.place(size), top + 16, scale.size_text(size), text_anchor="middle", fill=FAINT)
             for size in scale.doublings(axis.ends)]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return parts + [svg.label(middle, top + 36, "size of a request, bytes", text_anchor="middle", fill=FAINT)]


def hover_areas(axis, bins, layouts, bottom):
    """An invisible area over each bin that was used: what a viewer shows under the pointer."""
    parts = []
    for number, one in enumerate(bins):
        if not (one.allocations or one.peak_bytes):
            continue
        said = [axis.bin_title(number), plural(one.allocations, "allocation"), f"{bytes_text(one.peak_bytes)} at the peak"]
        said += [f"{bytes_text(value)} lost with {short_name(layout)}" for value, layout in zip(one.wastes, layouts)]
        parts.append(svg.element("rect", svg.element("title", svg.words("; ".join(said))), x=axis.start(number),
                                 y=float(HEAD_HEIGHT), width=axis.bin_width, height=float(bottom - HEAD_HEIGHT),
                                 fill="#000000", fill_opacity="0"))
    return parts

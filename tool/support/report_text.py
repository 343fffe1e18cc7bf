"""The tables of `report`, as cells (for text and for HTML alike), and the whole report as text."""

import waste
from support import analysis
from support.figures import bytes_text, plural, share_text, table_lines

PLAIN_ALIGNMENT = 1


def report_lines(name, histogram, layouts, lines, top):
    """All that `report` prints."""
    headings, rows = size_table(lines, layouts, top)
    text = [f"{name}", ""]
    text += table_lines(headings, rows)
    left_out = len(lines) - len(rows)
    if left_out:
        text.append(f"and {plural(left_out, 'other size')}; --top 0 shows all")
    text += ["", *table_lines(*total_table(histogram), left=(0,))]
    text += ["", *table_lines(*waste_table(histogram, layouts, lines), left=(0,))]
    for number, layout in enumerate(layouts):
        text += ["", f"profile {mark(number, layouts)}{layout.name}, {plural(len(layout.tables.classes), 'class')}"]
    return text


def mark(number, layouts):
    """What tells the columns of several profiles apart."""
    return "" if len(layouts) == 1 else f"{'AB'[number]}: "


def size_table(lines, layouts, top):
    """rtmalloc's columns, then ours; shares are of all sizes, also where not all are shown."""
    allocations = sum(line.row.allocations for line in lines)
    peak = sum(line.peak_bytes for line in lines)
    shown = analysis.weightiest(lines, top)
    aligned = any(line.row.alignment != PLAIN_ALIGNMENT for line in shown)
    headings = ["Size"] + ["Alignment"] * aligned + ["Count", "%", "Cumulative", "Live", "At peak", "Peak bytes", "%"]
    for number in range(len(layouts)):
        suffix = "" if len(layouts) == 1 else f" {'AB'[number]}"
        headings += [f"Class{suffix}", f"Waste{suffix}"]
    rows = []
    for line in shown:
        row = line.row
        cells = [str(row.size)]
        if aligned:
            cells.append("" if row.alignment == PLAIN_ALIGNMENT else str(row.alignment))
        cells += [str(row.allocations), share_text(row.allocations, allocations), share_text(line.cumulative, allocations),
                  str(row.live), str(row.peak_live), str(line.peak_bytes), share_text(line.peak_bytes, peak)]
        for fit in line.fits:
            cells += [str(fit.given) if fit.has_class else "pages", str(fit.waste)]
        rows.append(cells)
    return headings, rows


def total_table(histogram):
    totals, rows = histogram.totals, histogram.rows
    lines = (
        ("processes", totals["processes"], ""), ("threads", totals["threads"], ""),
        ("milliseconds recorded", totals["milliseconds"], ""),
        ("allocations", sum(row.allocations for row in rows), ""),
        ("of these by realloc", sum(row.reallocs for row in rows), ""),
        ("frees by another thread", sum(row.remote_frees for row in rows), ""),
        ("bytes allocated", totals["allocated_bytes"], bytes_text(totals["allocated_bytes"])),
        ("bytes at the peak", totals["peak_bytes"], bytes_text(totals["peak_bytes"])),
        ("bytes live when it was written", sum(row.size * row.live for row in rows),
         bytes_text(sum(row.size * row.live for row in rows))))
    return ["", "Total", ""], [[name, str(value), text] for name, value, text in lines]


def waste_table(histogram, layouts, lines):
    """Predicted under each profile, and what was measured while it was recorded."""
    headings = ["Waste at the peak"]
    for number in range(len(layouts)):
        headings += [f"{mark(number, layouts)}bytes".replace(": ", " "), "% of requested"]
    predicted = [waste.predicted_waste(layout.tables, histogram.rows) for layout in layouts]
    kinds = (("predicted: rounding up to a class", lambda one: one.small_rounding, lambda one: one.small_requested),
             ("predicted: rounding up to pages", lambda one: one.large_rounding, lambda one: one.large_requested),
             ("predicted: ends of spans", lambda one: one.tails, lambda one: one.small_requested),
             ("predicted: all", lambda one: one.total, lambda one: one.requested))
    rows = []
    for name, part, whole in kinds:
        row = [name]
        for one in predicted:
            row += [str(part(one)), share_text(part(one), whole(one))]
        rows.append(row)
    forced = [waste.alignment_loss(layout.tables, histogram.rows) for layout in layouts]
    rows.insert(1, ["  of it forced by alignment", *(text for lost, one in zip(forced, predicted)
                                                     for text in (str(lost), share_text(lost, one.small_requested)))])
    measured = analysis.measured_waste(histogram)
    rows.append(["measured: rounding up to a class", str(measured),
                 share_text(measured, histogram.totals["peak_small_requested"])] + [""] * (len(headings) - 3))
    room = histogram.totals["peak_small_room"]
    rows.append(["measured: room left by realloc", str(room),
                 share_text(room, histogram.totals["peak_small_requested"])] + [""] * (len(headings) - 3))
    return headings, rows


def class_table(lines, number, layout):
    """For each class of a profile what takes it; what takes pages is in the last row."""
    sums = {entry.size: [0, 0, 0] for entry in layout.tables.classes}
    pages = [0, 0, 0]
    for line in lines:
        fit = line.fits[number]
        own = sums[fit.given] if fit.has_class else pages
        own[:] = map(int.__add__, own, (line.row.allocations, line.peak_bytes, fit.waste))
    rows = [[str(entry.size), str(entry.pages), str(entry.objects), str(entry.capacity), *map(str, sums[entry.size]),
             share_text(sums[entry.size][2], sums[entry.size][1])] for entry in layout.tables.classes]
    rows.append(["pages", "", "", "", *map(str, pages), share_text(pages[2], pages[1])])
    return ["Class", "Pages", "Objects", "Capacity", "Count", "Peak bytes", "Waste", "%"], rows

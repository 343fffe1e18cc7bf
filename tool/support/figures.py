"""Numbers as people read them: bytes, shares, and tables of them."""

KIB = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

NOTHING = "-"


def bytes_text(count):
    """With three digits or more: 512 bytes, 1.50 KiB, 23.4 MiB, 1023 GiB; exact below one KiB."""
    value, unit = count, 0
    while abs(value) >= KIB and unit + 1 < len(UNITS):
        value, unit = value / KIB, unit + 1
    if unit == 0:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f} {UNITS[unit]}"


def share_text(part, whole):
    """Percent, without the sign; nothing has no share."""
    return f"{100 * part / whole:.2f}" if whole else NOTHING


def percent_text(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else NOTHING


def change_text(before, after):
    """How much more or less, in percent of before."""
    if not before:
        return NOTHING
    text = f"{100 * (after - before) / before:+.1f} %"
    return "0.0 %" if text[1:] == "0.0 %" else text


def plural(count, word):
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}es" if word.endswith("s") else f"{count} {word}s"


def recorded_text(histogram):
    """What was recorded, in one line."""
    totals = histogram.totals
    allocations = sum(row.allocations for row in histogram.rows)
    return (f"{plural(totals['processes'], 'process')}, {plural(totals['threads'], 'thread')}, "
            f"{plural(allocations, 'allocation')} of {plural(len(histogram.rows), 'size')}, "
            f"{bytes_text(totals['peak_bytes'])} at the peak, {totals['milliseconds'] / 1000:.1f} s")


def table_lines(headings, rows, left=()):
    """Columns of equal width, with numbers to the right and the columns of the given indices to the left."""
    cells = [headings, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return ["  ".join(cell.ljust(width) if column in left else cell.rjust(width)
                      for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in cells]

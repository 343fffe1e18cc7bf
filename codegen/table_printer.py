"""The table of a profile that a person reads: printed by --check, and kept as a comment in the generated header."""

import limits

HEADINGS = ("class", "size", "pages", "objects", "batch", "capacity", "tail waste %", "worst internal waste %",
            "alignment")


def table_lines(tables):
    """One line of headings and one per class."""
    rows = [HEADINGS] + [class_row(tables, number, entry) for number, entry in enumerate(tables.classes, 1)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]


def class_row(tables, number, entry):
    waste = worst_internal_waste(entry)
    return (str(number), str(entry.size), str(entry.pages), str(entry.objects), str(entry.batch), str(entry.capacity),
            f"{tail_waste(entry):.2f}", "unused" if waste is None else f"{waste:.2f}",
            str(alignment_of(entry.size, tables.config.page_size)))


def tail_waste(entry):
    """Percent of a span behind its last object."""
    return 100 * entry.tail_waste / entry.span_bytes


def worst_internal_waste(entry):
    """Percent of an object that the smallest request taking it leaves unused; None if no request takes it."""
    if entry.lowest is None:
        return None
    return 100 * (entry.size - entry.lowest) / entry.size


def alignment_of(size, page_size):
    """What every object of a class is aligned to."""
    return min(size & -size, page_size)


def summary_lines(tables):
    """The figures that the bounds speak about, over all classes."""
    lines = [f"classes: {len(tables.classes)}, page size {tables.config.page_size}, "
             f"requests up to {tables.largest_size} bytes, alignment {tables.config.alignment}",
             f"worst tail waste: {max(map(tail_waste, tables.classes)):.2f} %"]
    small = limits.FREE_STEP_SIZE
    for text, least, most in ((f"above {small} to {limits.SMALL_SIZE} bytes", small, limits.SMALL_SIZE),
                              (f"above {limits.SMALL_SIZE} bytes", limits.SMALL_SIZE, limits.MAX_CLASS_SIZE)):
        wastes = [worst_internal_waste(entry) for entry in tables.classes
                  if entry.lowest is not None and least < entry.size <= most]
        if wastes:
            lines.append(f"worst internal waste {text}: {max(wastes):.2f} %")
    return lines


def check_lines(tables):
    """All that --check prints."""
    return table_lines(tables) + [""] + summary_lines(tables) + [f"note: {note}" for note in tables.notes]

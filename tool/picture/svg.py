"""Writes SVG: elements as text, with what they are given made safe. Relies on nothing."""

from xml.sax.saxutils import escape, quoteattr

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def safe(text):
    """Text that XML can hold: file names may have any character."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def number(value):
    """A coordinate, to a tenth, the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")


def element(name, *children, **attributes):
    """An element; an underscore in an attribute's name stands for a dash, one at its end for nothing."""
    written = ""
    for key, value in attributes.items():
        text = number(value) if isinstance(value, float) else safe(value)
        written += f" {key.rstrip('_').replace('_', '-')}={quoteattr(text)}"
    if not children:
        return f"<{name}{written}/>"
    return f"<{name}{written}>{''.join(children)}</{name}>"


def words(text):
    return escape(safe(text))


def label(x, y, text, **attributes):
    return element("text", words(text), x=float(x), y=float(y), **attributes)


def rectangle(x, y, width, height, **attributes):
    return element("rect", x=float(x), y=float(y), width=float(width), height=float(height), **attributes)


def line(x1, y1, x2, y2, **attributes):
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **attributes)

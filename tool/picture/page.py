"""A page of HTML with the picture and the tables of a report: one file, nothing else is loaded. It is well-formed XML, too."""

from picture import chart, svg
from support import analysis, report_text
from support.figures import recorded_text

# The classes' table has as many rows as the profile; sizes are limited to those that weigh most.
SIZES_SHOWN = 60

STYLE = """
body { font: 14px/1.5 Helvetica, Arial, "DejaVu Sans", sans-serif; color: #222; background: #fff; max-width: 1160px;
  margin: 2em auto; padding: 0 1em; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5em 0 2em; }
th, td { text-align: right; padding: 0.1em 0.8em; border-bottom: 1px solid #eee; }
th { border-bottom: 1px solid #888; font-weight: 600; }
td.text, th.text { text-align: left; }
h2 { font-size: 1.2em; margin-top: 2em; }
"""


def page_text(name, histogram, layouts, lines, top=SIZES_SHOWN):
    element = svg.element
    shown = len(analysis.weightiest(lines, top))
    body = [element("h1", svg.words(f"{name}: allocations by size")), element("p", svg.words(recorded_text(histogram))),
            element("p", svg.words(profile_names(layouts))),
            chart.chart(name, histogram, layouts, lines),
            element("h2", "Waste at the peak"), table(*report_text.waste_table(histogram, layouts, lines), text_columns=(0,)),
            element("h2", "What was recorded"), table(*report_text.total_table(histogram), text_columns=(0, 2)),
            element("h2", svg.words("Sizes" if shown == len(lines) else f"The {shown} sizes of {len(lines)} that weigh most")),
            table(*report_text.size_table(lines, layouts, top))]
    for number, layout in enumerate(layouts):
        body += [element("h2", svg.words(f"Classes of {report_text.mark(number, layouts)}{layout.name}")),
                 table(*report_text.class_table(lines, number, layout))]
    head = element("head", element("meta", charset="utf-8"), element("title", svg.words(name)), element("style", STYLE))
    return "<!DOCTYPE html>\n" + element("html", head, "\n", element("body", "\n".join(body)), lang="en") + "\n"


def profile_names(layouts):
    return "Profile " + "; ".join(f"{report_text.mark(number, layouts)}{layout.name}" for number, layout in enumerate(layouts))


def table(headings, rows, text_columns=()):
    def cells(kind, values):
        return "".join(svg.element(kind, svg.words(value), **({"class_": "text"} if column in text_columns else {}))
                       for column, value in enumerate(values))
    lines = [svg.element("tr", cells("th", headings))] + [svg.element("tr", cells("td", row)) for row in rows]
    return svg.element("table", "\n".join(lines))


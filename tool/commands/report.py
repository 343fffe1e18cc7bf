"""`tiermalloc report`: the table of sizes, what is wasted under a profile, and pictures of it."""

import histogram
from picture import chart, page
from support import analysis, files, parsers, places, profiles, report_text

DEFAULT_TOP = 40


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "report", execute,
        summary="show a histogram: sizes, shares, waste",
        description="Print the sizes of a histogram with their counts, shares and bytes, and what a profile's classes waste\n"
                    "on them; with --against, also what another profile's would. Waste is counted at the moment of the peak.",
        examples=("app.histogram", "app.histogram --profile app.toml --top 0",
                  "app.histogram --against app.toml --svg app.svg --html app.html"))
    parser.add_argument("file", metavar="FILE", help="a histogram")
    parser.add_argument("--profile", metavar="PROFILE", default=str(places.DEFAULT_PROFILE),
                        help="the profile whose classes serve the requests; the default profile if it is left out")
    parser.add_argument("--against", metavar="PROFILE", help="a second profile, to compare with the first")
    parser.add_argument("--top", metavar="N", type=parsers.whole_number(0), default=DEFAULT_TOP,
                        help=f"print the N sizes that have most of the allocations or of the peak; 0 prints all "
                             f"(default {DEFAULT_TOP})")
    parser.add_argument("--svg", metavar="FILE", help="draw a picture there")
    parser.add_argument("--html", metavar="FILE", help="write a page with the picture and the tables there")


def execute(options):
    recorded = histogram.read_histogram(options.file)
    layouts = [profiles.load(path) for path in (options.profile, options.against) if path is not None]
    lines = analysis.lines_of(recorded, layouts)
    if options.svg:
        files.write_file(options.svg, chart.chart_file(options.file, recorded, layouts, lines))
    if options.html:
        files.write_file(options.html, page.page_text(options.file, recorded, layouts, lines, options.top))
    # Last, since a reader may go away before the end: `report ... | head`.
    print("\n".join(report_text.report_lines(options.file, recorded, layouts, lines, options.top)))
    return 0

"""`tiermalloc merge`: adds histograms up."""

import histogram
from support import files, parsers


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "merge", execute,
        summary="add histograms up",
        description="Add histograms up: of several runs, processes or machines. Merging in any grouping and order gives\n"
                    "the same bytes. If one of the files is refused, nothing is written.",
        examples=("monday.histogram tuesday.histogram -o week.histogram", "hosts/*.histogram -o -"))
    parser.add_argument("files", metavar="FILE", nargs="+", help="a histogram")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="where to write the sum; - is standard output")


def execute(options):
    merged = histogram.merge(map(histogram.read_histogram, options.files))
    files.write_output(options.output, histogram.histogram_text(merged))
    return 0

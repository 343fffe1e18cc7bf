"""`tiermalloc classes`: the optimiser on the command line."""

import sys

import histogram
import profile_printer
from support import files, optimising, parsers


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "classes", execute,
        summary="make a size-class profile that fits a histogram",
        description="Find the size classes that cost least on what was recorded, and write them as a profile for the build.\n"
                    "docs/optimiser.md says what the cost is.",
        examples=("app.histogram -o app.toml", "app.histogram -o app.toml --objective memory --max-classes 64",
                  "app.histogram -o app.toml --base classes/rtmalloc.toml --max-step 1.5"))
    parser.add_argument("file", metavar="FILE", help="a histogram")
    parser.add_argument("-o", "--output", metavar="PROFILE", required=True,
                        help="the profile to write; - is standard output, and the gain then goes to standard error")
    optimising.add_options(parser)


def execute(options):
    suggestion = optimising.suggest(options, histogram.read_histogram(options.file))
    files.write_output(options.output, profile_printer.profile_text(suggestion))
    stream = sys.stderr if options.output == files.STANDARD_OUTPUT else sys.stdout
    print("\n".join(optimising.gain_lines(options, suggestion)), file=stream)
    return 0

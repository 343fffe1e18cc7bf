"""The command line as a whole: which commands there are, what every one of them does about errors, exit statuses.

Each module in `commands` adds its own part with add_parser(), whose `execute` gets the options and returns the exit status.
"""

import argparse
import os
import signal
import sys

from commands import build, classes, compare, merge, pgo, record, report, run, trace
from histogram import HistogramError
from optimiser import SettingsError
from profile_reader import ProfileError
from support.refusal import EXIT_REFUSED, Refused

COMMANDS = (run, record, merge, report, classes, compare, build, pgo, trace)

DESCRIPTION = "Run programs on tiermalloc, record what they allocate, and make size classes that fit them."

EPILOG = """\
examples:
  tiermalloc run ./program arguments            run a program on tiermalloc
  tiermalloc record -o app.histogram ./program  record what it allocates
  tiermalloc report app.histogram               show it
  tiermalloc classes app.histogram -o app.toml  make size classes that fit
  tiermalloc build app.toml                     build the library with them
  tiermalloc pgo ./program                      all of it at once, measured before and after

`tiermalloc COMMAND --help` says more. Exit status: 0 done, 1 refused or failed, 2 wrong usage; `run`, `record` and `trace`
end with the program's own (127: it is not there, 126: it can't be run, 128 + N: `record` and `trace` saw it end by signal N).
"""

# What a shell reports for a command that Ctrl-C has ended.
EXIT_INTERRUPTED = 128 + signal.SIGINT


def make_parser():
    parser = argparse.ArgumentParser(prog="tiermalloc", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def print_problems(lines):
    for line in lines:
        print(f"tiermalloc: {line}", file=sys.stderr)


def main(arguments):
    # Python ignores these; a reader that goes away should end us quietly, and programs that we become inherit them.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # Paths need not be valid in the terminal's encoding.
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    try:
        return options.execute(options)
    except (Refused, HistogramError, ProfileError) as error:
        print_problems(error.problems)
    except SettingsError as error:
        print_problems([str(error)])
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        print_problems([f"{where}{error.strerror}"])
    except KeyboardInterrupt:
        print_problems(["interrupted"])
        return EXIT_INTERRUPTED
    return EXIT_REFUSED

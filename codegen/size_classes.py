#!/usr/bin/env python3
"""Turns a size-class profile (TOML) into the C header that tiermalloc is compiled with, or checks one.

This is the command; reading is in profile_reader.py, the rules are in profile_rules.py, the numbers come from
derivation.py, and header_printer.py and table_printer.py write them down. Needs Python 3.11 and nothing else.
"""

import argparse
import os
import signal
import stat
import sys
import tempfile

import derivation
import header_printer
import profile_rules
import table_printer
from profile_reader import ProfileError, read_profile

EXIT_REFUSED = 1


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="size_classes.py",
        description="Generate tiermalloc's size-class tables from a profile, or check the profile and print its table.",
        epilog="Exit status: 0 done, 1 the profile is refused or the header cannot be written, 2 wrong usage. "
               "The profile's format is described in docs/profiles.md.")
    parser.add_argument("profile", metavar="PROFILE", help="the profile, a TOML file")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--output", metavar="HEADER", help="write the C header there")
    action.add_argument("--check", action="store_true", help="validate the profile and print its table")
    return parser.parse_args(arguments)


def is_stream(path):
    """Whether there is a device, pipe or the like, which is written to and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def usual_mode():
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_atomically(path, text):
    """Puts the whole text in place at once, so that nobody ever reads half a header. A link stays one."""
    if is_stream(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    path = os.path.realpath(path)
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory or ".")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else usual_mode())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments):
    options = parse_arguments(arguments)
    try:
        profile = read_profile(options.profile)
        profile_rules.check_profile(profile)
    except ProfileError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return EXIT_REFUSED
    tables = derivation.derive_tables(profile)
    if options.check:
        print("\n".join(table_printer.check_lines(tables)))
        return 0
    try:
        write_atomically(options.output, header_printer.header_text(profile, tables))
    except OSError as error:
        print(f"{options.output}: cannot be written: {error.strerror}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    # A reader that goes away ends us quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))

"""Writing what a command makes: whole or not at all."""

import os
import sys

from size_classes import write_atomically
from support.refusal import Refused

STANDARD_OUTPUT = "-"


def write_file(path, text):
    try:
        write_atomically(str(path), text)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error


def write_output(path, text):
    """To a file, or to standard output."""
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_file(path, text)


def make_folder(path):
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Refused(f"{path}: cannot be made: {error.strerror}") from error

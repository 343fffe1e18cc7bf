"""`tiermalloc trace`: runs a program while its page heap writes down what it does, for the simulator."""

import gzip
import lzma
import os
import shutil
import sys

from size_classes import is_stream
from support import parsers, places, preload, recordings
from support.refusal import EXIT_REFUSED, Refused

PACKED = {".gz": gzip.open, ".xz": lzma.open}


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "trace", execute,
        summary="run a program and trace its page heap, for the simulator",
        description="Run a program with the library preloaded, and write a trace of its page heap: each run of pages taken and\n"
                    "given back, with the time. Of several processes it is the one with the longest trace. The exit status is\n"
                    "the program's.",
        examples=("-o app.trace ./program arguments", "-o cc1plus.trace.xz --process cc1plus g++ -c file.cc"))
    parser.add_argument("-o", "--output", metavar="FILE", required=True,
                        help="the trace to write; packed if the name ends with .gz or .xz")
    parsers.add_process(parser)
    parsers.add_library(parser)
    parsers.add_program(parser)


def write_trace(source, path):
    """Whole or not at all: beside the source first, which lies in the same file system."""
    target = path if is_stream(path) else f"{source}.packed"
    opened = PACKED.get(os.path.splitext(path)[1], open)
    try:
        with open(source, "rb") as plain, opened(target, "wb") as file:
            shutil.copyfileobj(plain, file)
        if target != path:
            os.replace(target, os.path.realpath(path))
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror}") from error


def execute(options):
    program = parsers.program_of(options)
    entries = preload.check_entries("--conf", options.conf)
    library = places.find_library(options.library)
    with recordings.Tracer(options.output) as tracer:
        status = preload.run(program, {**os.environ, **tracer.settings(library, entries)})
        if status in (preload.EXIT_NOT_FOUND, preload.EXIT_CANNOT_RUN) and not os.listdir(tracer.folder):
            return status
        try:
            longest, count = tracer.longest(options.process)
            size = longest.stat().st_size
            write_trace(longest, options.output)
        except Refused as error:
            print("\n".join(f"tiermalloc: {line}" for line in error.problems), file=sys.stderr)
            return status or EXIT_REFUSED
    print(f"tiermalloc: {options.output}: {longest.name.removesuffix('.trace')}, the longest of {count}, {size} bytes unpacked",
          file=sys.stderr)
    return status

"""`tiermalloc run`: becomes the program, with the library preloaded."""

import os

from support import parsers, places, preload

STATISTICS = "stats_print:true"


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "run", execute,
        summary="run a program on tiermalloc",
        description="Run a program with the library preloaded, and end with the program's status. What is preloaded already\n"
                    "stays; programs that the program starts inherit the preload.",
        examples=("./program arguments", "--stats python3 -c 'print(1)'", "--conf retain:1M redis-server"))
    parsers.add_library(parser)
    parser.add_argument("--stats", action="store_true", help="print the library's statistics at the end of each process")
    parsers.add_program(parser)


def execute(options):
    program = parsers.program_of(options)
    entries = preload.check_entries("--conf", options.conf)
    if options.stats:
        entries.insert(0, STATISTICS)
    settings = preload.settings(places.find_library(options.library), entries)
    return preload.become(program, {**os.environ, **settings})

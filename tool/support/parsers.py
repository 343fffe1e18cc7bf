"""What the commands' parts of the command line have in common. Relies on argparse alone."""

import argparse


def add_command(subparsers, name, execute, *, summary, description, examples):
    """The parser of one command; `execute` is called with it and the options."""
    text = "examples:\n" + "\n".join(f"  tiermalloc {name} {example}" for example in examples)
    parser = subparsers.add_parser(name, help=summary, description=description, epilog=text, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(execute=execute, parser=parser)
    return parser


def add_program(parser):
    """The last argument: all from the first word that is no option belongs to the program, also what begins with a dash."""
    options = parser.format_usage().removeprefix("usage: ").rstrip()
    parser.add_argument("program", metavar="PROGRAM ...", nargs=argparse.REMAINDER,
                        help="the program and its arguments; put -- before it if its name begins with a dash")
    # argparse itself would write only dots for it.
    parser.usage = f"{options} PROGRAM [ARGUMENT ...]"


def program_of(options):
    """The program's words; wrong usage if there are none."""
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program or not program[0]:
        options.parser.error("PROGRAM is missing")
    return program


def add_library(parser):
    parser.add_argument("--library", metavar="PATH",
                        help="the library to preload, instead of the one that belongs to this tool")
    add_configuration(parser)


def add_configuration(parser):
    parser.add_argument("--conf", metavar="KEY:VALUE", action="append", default=[],
                        help="options of the library, added to TIERMALLOC_CONF; several with commas between them")


def add_process(parser):
    parser.add_argument("--process", metavar="NAME",
                        help="record only processes of the program of this name (its file's name, without folders)")


def whole_number(least):
    """A converter for whole numbers from `least` on."""
    def convert(text):
        if not (text.isascii() and text.isdigit() and len(text) <= 18) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: must be a whole number from {least} on")
        return int(text)
    return convert

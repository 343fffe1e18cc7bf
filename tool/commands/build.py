"""`tiermalloc build`: the library with a profile of one's own."""

import pathlib

from support import building, parsers, places


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "build", execute,
        summary="build the library with a profile",
        description="Build the library with a profile's size classes, and print where it is. The same by hand:\n"
                    "  meson setup DIR SOURCE --buildtype=release -Dclasses=/path/to/app.toml\n"
                    "  meson compile -C DIR",
        examples=("app.toml", "app.toml -o build-app --source ~/tiermalloc"))
    parser.add_argument("profile", metavar="PROFILE", help="a size-class profile (TOML)")
    parser.add_argument("-o", "--output", metavar="DIR",
                        help="the build folder; an existing one is configured anew (default: build-NAME in the source tree)")
    parser.add_argument("--source", metavar="DIR", help="the source tree of tiermalloc; by default the one that the tool is in")


def execute(options):
    source = places.find_source(options.source)
    folder = options.output or source / f"build-{pathlib.Path(options.profile).stem}"
    print(building.build_library(options.profile, folder, source))
    return 0

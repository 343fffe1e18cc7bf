"""Where the library, the profiles and the source tree are: the same for the tool in the source tree and for an installed one.

Relies on the folders `tool`, `codegen` and `classes` lying beside each other in both cases. Only an installed copy has the file
`library-path`, which Meson writes: the library's path, relative to the folder that the file is in.
"""

import os
import pathlib

from support.refusal import Refused

ROOT = pathlib.Path(__file__).resolve().parents[2]

DEFAULT_PROFILE = ROOT / "classes" / "default.toml"

LIBRARY_PATH_FILE = ROOT / "library-path"

# In a build folder of Meson's.
LIBRARY_IN_BUILD = pathlib.Path("src") / "libtiermalloc.so"

# Characters that separate entries of LD_PRELOAD, so that no entry can have them.
PRELOAD_SEPARATORS = " :"


def is_installed():
    return LIBRARY_PATH_FILE.exists()


def default_library():
    """The library that belongs to this tool."""
    if is_installed():
        path = pathlib.Path(os.path.normpath(ROOT / LIBRARY_PATH_FILE.read_text(encoding="utf-8").strip()))
        advice = "install tiermalloc again, or name a library with --library"
    else:
        path = ROOT / "build" / LIBRARY_IN_BUILD
        advice = "`make build` builds it, or name a library with --library"
    if not path.exists():
        raise Refused(f"{path}: the library is not there; {advice}")
    return path


def find_library(option):
    """The library to preload: the one of the option --library, or the one that belongs to this tool."""
    path = pathlib.Path(option).absolute() if option else default_library()
    if not path.is_file():
        raise Refused(f"--library: {option}: there is no such file")
    if any(separator in str(path) for separator in PRELOAD_SEPARATORS):
        raise Refused(f"{path}: the dynamic linker takes no preload from a path with a space or a colon in it")
    return path


def find_source(option):
    """The source tree that `build` configures."""
    source = pathlib.Path(option).absolute() if option else ROOT
    if (source / "meson.build").is_file() and (source / "codegen" / "size_classes.py").is_file():
        return source
    if option:
        raise Refused(f"--source: {option}: is not a source tree of tiermalloc")
    raise Refused("the library is built from its source tree, which is not installed: name it with --source")

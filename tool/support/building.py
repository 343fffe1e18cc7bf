"""Builds the library with a profile: the two lines of Meson that the documentation gives, run for the user."""

import os
import pathlib
import shutil
import subprocess

from support import places, profiles
from support.refusal import Refused

# A preload, ours or another, is for programs and not for the compiler.
NOT_FOR_BUILDING = ("LD_PRELOAD",)

TARGETS = ("tiermalloc:shared_library", "libtiermalloc.a")


def build_library(profile, folder, source):
    """Configures `folder`, which may be a build folder already, and builds the libraries; returns the shared one's path."""
    profile, folder = pathlib.Path(profile).absolute(), pathlib.Path(folder).absolute()
    profiles.load(profile)
    if (folder / "build.ninja").exists():
        run_meson("configure", str(folder), f"-Dclasses={profile}", folder=source)
    elif folder.exists() and os.listdir(folder) and not (folder / "meson-private").exists():
        raise Refused(f"{folder}: is neither empty nor a build folder of Meson's")
    else:
        # What is left where Meson was interrupted, or failed.
        shutil.rmtree(folder / "meson-private", ignore_errors=True)
        run_meson("setup", str(folder), str(source), "--buildtype=release", f"-Dclasses={profile}", folder=source)
    run_meson("compile", "-C", str(folder), *TARGETS, folder=source)
    return folder / places.LIBRARY_IN_BUILD


def run_meson(*arguments, folder):
    """Says nothing unless it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_BUILDING}
    try:
        result = subprocess.run(["meson", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
    except FileNotFoundError as error:
        raise Refused("meson: not found; the library is built with Meson and Ninja") from error
    if result.returncode != 0:
        said = result.stdout.rstrip().splitlines()[-25:]
        raise Refused(f"meson {' '.join(arguments)}: failed with status {result.returncode}:", *said)

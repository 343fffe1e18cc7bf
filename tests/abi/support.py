"""What the drivers of the interface's tests share: how a built program is run.

In a cross build that takes an emulator, whose command Meson puts into MESON_EXE_WRAPPER. The emulator has to hand its
environment on, and must not use LD_PRELOAD itself.
"""

import os
import shlex

EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))


def command(program, *arguments):
    """What runs a program that was built."""
    return [*EMULATOR, str(program), *map(str, arguments)]


def own_errors(errors):
    """What the program itself has written on standard error: qemu adds a line when it is killed."""
    lines = errors.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("qemu: uncaught target signal"))

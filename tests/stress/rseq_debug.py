"""Runs a command while the kernel checks all use of restartable sequences, where it can, and ends with the command's status.

    rseq_debug.py [--required] COMMAND [ARGUMENT...]

The switch is /sys/kernel/debug/rseq/debug, of Linux 6.19 and later, for the whole machine; it is put back afterwards. Where it is
not to be had the reason is printed, and the command runs all the same; with --required it does not: the status is 77.
"""

import subprocess
import sys
from pathlib import Path

SWITCH = Path("/sys/kernel/debug/rseq/debug")
LEFT_OUT = 77


def main(arguments):
    required = arguments[:1] == ["--required"]
    command = arguments[1:] if required else arguments
    try:
        before = SWITCH.read_text()
        SWITCH.write_text("1")
    except OSError as error:
        print(f"without the kernel's checks: {SWITCH}: {error.strerror}", flush=True)
        return LEFT_OUT if required else subprocess.run(command).returncode
    try:
        return subprocess.run(command).returncode
    finally:
        SWITCH.write_text(before)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.exit(status if status >= 0 else 128 - status)

"""What the drivers of the trap programs share: running one with the allocator in force.

Relies on environment variables: TIERMALLOC_SHARED, the library to preload; TRAPS_PROGRAMS,
the folder with the built programs; in a cross build MESON_EXE_WRAPPER, the command of an
emulator that runs them. TRAPS_OPTIONS may have options for the library in all programs: then
the same tests are run with another frontend.
"""

import os
import shlex
import signal
import subprocess
import unittest

LIBRARY = os.environ["TIERMALLOC_SHARED"]
PROGRAMS = os.environ["TRAPS_PROGRAMS"]
EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))

# Why some can't be run under qemu's user mode.
OF_THIS_MACHINE = "it starts programs of this machine, whose dynamic linker refuses the preload"
RESIDENT = "the emulator's memory is resident, too, and grows with each thread"
LIMITS = "the emulator sets no limits on memory"
FORK = "qemu 7.2 forks without its own lock on descriptors, so the child hangs, with any malloc"
PROCESS = "descriptors, threads and signals are the emulator's, too"


def not_emulated(reason):
    """Skips a test, or all tests of a class, where an emulator runs the programs."""
    return unittest.skipIf(EMULATOR, f"under an emulator: {reason}")


# A program that has not ended by then hangs. Generous, for a busy machine: nothing is
# measured by it, and each program needs a few seconds at most.
HANG_LIMIT = 240

# The status of a program that shows nothing here; it prints why.
LEFT_OUT = 77


def program(name):
    """The path of a built program or library."""
    return os.path.join(PROGRAMS, name)


# Not handed on. Meson sets the second, and modules would be found that should not be; it
# sets the third, and the C library then overwrites what is freed, which takes its time.
NOT_HANDED_ON = ("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_PERTURB_", "TIERMALLOC_CONF")


def environment(preload=LIBRARY, options=None, more=None):
    """This process's environment, with the preload, and with no options but these, TRAPS_OPTIONS and more variables."""
    variables = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}
    if preload:
        variables["LD_PRELOAD"] = preload
    options = ",".join(filter(None, (os.environ.get("TRAPS_OPTIONS"), options)))
    if options:
        variables["TIERMALLOC_CONF"] = options
    variables.update(more or {})
    return variables


def thread_states(pid):
    """One line on each thread of a process: its state and where in the kernel it waits."""
    lines = []
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as file:
                state = file.read().rpartition(")")[2].split()[0]
            with open(f"/proc/{pid}/task/{task}/wchan", encoding="utf-8") as file:
                waits = file.read().strip()
            lines.append(f"  thread {task}: state {state}, in {waits or 'unknown'}")
    except OSError:
        pass
    return "\n".join(lines)


def ending(status):
    """How a process ended, in words."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def text_of(result):
    """What a process printed."""
    return (result.stdout + result.stderr).decode(errors="replace")


class TrapTest(unittest.TestCase):
    """A test that runs programs; a hang is killed and is a failure."""

    def run_command(self, command, variables, limit=HANG_LIMIT):
        """The ended process, its output as bytes. The command's whole group is killed on a hang."""
        with subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                states = thread_states(process.pid)
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                self.fail(f"{' '.join(command)}: hung, killed after {limit} seconds\n{states}")
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def run_trap(self, name, *arguments, preload=LIBRARY, options=None, more=None, wrap=()):
        """Runs a built program; fails unless it ends with 0 and has no complaint. With 77 it is left out."""
        command = [*wrap, *EMULATOR, program(name), *map(str, arguments)]
        result = self.run_command(command, environment(preload, options, more))
        if result.returncode == LEFT_OUT:
            self.skipTest(text_of(result).strip())
        if result.returncode != 0 or result.stderr:
            self.fail(f"{' '.join(command)}: {ending(result.returncode)}\n{text_of(result)}")
        return result

    def run_trap_both_ways(self, name, *arguments):
        """Runs a program with the library preloaded, and its twin that is linked with it."""
        with self.subTest("preloaded"):
            self.run_trap(name, *arguments)
        with self.subTest("linked"):
            self.run_trap(f"linked_{name}", *arguments, preload=None)

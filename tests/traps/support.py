"""What the drivers of the trap programs share: running one with the allocator in force.

Relies on two environment variables: TIERMALLOC_SHARED, the library to preload, and
TRAPS_PROGRAMS, the folder with the built programs.
"""

import os
import signal
import subprocess
import unittest

LIBRARY = os.environ["TIERMALLOC_SHARED"]
PROGRAMS = os.environ["TRAPS_PROGRAMS"]

# A program that has not ended by then hangs. Generous, for a busy machine: nothing is
# measured by it, and each program needs a few seconds at most.
HANG_LIMIT = 240


def program(name):
    """The path of a built program or library."""
    return os.path.join(PROGRAMS, name)


# Not handed on. Meson sets the second, and modules would be found that should not be; it
# sets the third, and the C library then overwrites what is freed, which takes its time.
NOT_HANDED_ON = ("LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_PERTURB_", "TIERMALLOC_CONF")


def environment(preload=LIBRARY, options=None):
    """This process's environment, with the preload and with no other options."""
    variables = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}
    if preload:
        variables["LD_PRELOAD"] = preload
    if options:
        variables["TIERMALLOC_CONF"] = options
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

    def run_trap(self, name, *arguments, preload=LIBRARY, options=None, wrap=()):
        """Runs a built program; fails unless it ends with 0 and has no complaint."""
        command = [*wrap, program(name), *map(str, arguments)]
        result = self.run_command(command, environment(preload, options))
        if result.returncode != 0 or result.stderr:
            self.fail(f"{' '.join(command)}: {ending(result.returncode)}\n{text_of(result)}")
        return result

    def run_trap_both_ways(self, name, *arguments):
        """Runs a program with the library preloaded, and its twin that is linked with it."""
        with self.subTest("preloaded"):
            self.run_trap(name, *arguments)
        with self.subTest("linked"):
            self.run_trap(f"linked_{name}", *arguments, preload=None)

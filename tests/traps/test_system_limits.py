"""The system's own limits that concern more than one process: strict overcommit, and memory control groups.

Both can be set by root alone; without that the tests say why they are left out. The overcommit mode is that of the whole
machine, so it is changed for the fraction of a second that the programs take, and no other test runs beside this one.
"""

import contextlib
import os
import signal
import tempfile
import unittest
from pathlib import Path

from support import LIMITS, LIBRARY, TrapTest, ending, environment, not_emulated, program, text_of

MODE = Path("/proc/sys/vm/overcommit_memory")
RATIO = Path("/proc/sys/vm/overcommit_ratio")

# What the programs may have beyond what the machine has promised already.
ROOM_KIB = 4 << 20


@contextlib.contextmanager
def setting(file, value):
    """One of the system's. SkipTest if it is not to be had."""
    before = file.read_text(encoding="ascii").strip()
    try:
        if before != value:
            file.write_text(value, encoding="ascii")
    except OSError as error:
        raise unittest.SkipTest(f"{file} is {before} here, and cannot be set: {error.strerror}") from error
    try:
        yield
    finally:
        if before != value:
            file.write_text(before, encoding="ascii")


def ratio_with_room():
    """How much of the memory may be promised, in percent, so that programs can still be started."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return (sizes["Committed_AS"] + ROOM_KIB) * 100 // sizes["MemTotal"] + 1


@contextlib.contextmanager
def strict_overcommit():
    """Forbids overcommit. SkipTest if that is not to be had."""
    with setting(RATIO, str(ratio_with_room())), setting(MODE, "2"):
        yield


def group_of_version_1():
    """This process's memory group, and the name of its limit, or None."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        folder = Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        if "memory" in controllers.split(",") and (folder / "memory.limit_in_bytes").exists():
            return folder, "memory.limit_in_bytes"
    return None


def group_of_version_2():
    """The nearest group, from this process's one upward, that can have groups with a limit in it."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        if not line.startswith("0::"):
            continue
        root = Path("/sys/fs/cgroup")
        folder = root / line[3:].lstrip("/")
        for candidate in (folder, *folder.parents):
            try:
                if "memory" in (candidate / "cgroup.subtree_control").read_text(encoding="ascii").split():
                    return candidate, "memory.max"
            except OSError:
                pass
            if candidate == root:
                break
    return None


@contextlib.contextmanager
def memory_group(limit):
    """A control group of its own with so many bytes, as its folder. SkipTest if that is not to be had."""
    found = group_of_version_1() or group_of_version_2()
    if found is None:
        raise unittest.SkipTest("no control group here can have one with a limit on memory in it")
    parent, file = found
    try:
        folder = Path(tempfile.mkdtemp(prefix="tiermalloc-", dir=parent))
    except OSError as error:
        raise unittest.SkipTest(f"no control group can be made in {parent}: {error.strerror}") from error
    try:
        try:
            (folder / file).write_text(str(limit), encoding="ascii")
        except OSError as error:
            raise unittest.SkipTest(f"{folder / file} cannot be set: {error.strerror}") from error
        yield folder
    finally:
        folder.rmdir()


@not_emulated(LIMITS)
class StrictOvercommit(TrapTest):
    def test_more_than_there_is(self):
        with strict_overcommit():
            self.run_trap("out_of_memory", "strict")

    def test_with_limits_of_our_own(self):
        with strict_overcommit():
            self.run_trap("memory_limits_new", options="hard_limit:100M")

    def test_normal_work(self):
        with strict_overcommit():
            self.run_trap("quiet")


@not_emulated(LIMITS)
class MemoryGroup(TrapTest):
    def run_in_group(self, folder, *arguments, options=None):
        """Runs out_of_memory in the group."""
        # The shell enters the group, and becomes the program.
        script = 'echo $$ >"$0" && exec env "$@"'
        variables = [f"LD_PRELOAD={LIBRARY}"]
        inherited = environment(preload=None, options=options)
        return self.run_command(["/bin/sh", "-c", script, str(folder / "cgroup.procs"), *variables,
                                 program("out_of_memory"), *arguments], inherited)

    def test_hard_limit_below_the_groups(self):
        with memory_group(400 << 20) as folder:
            result = self.run_in_group(folder, "outside", options="hard_limit:300M")
        self.assertEqual((result.returncode, text_of(result)), (0, ""), ending(result.returncode))

    def test_verdict_of_the_kernel(self):
        """Without a limit of our own malloc cannot know: the kernel ends the process. It never hangs."""
        with memory_group(100 << 20) as folder:
            result = self.run_in_group(folder, "outside")
        self.assertEqual(result.returncode, -signal.SIGKILL, f"{ending(result.returncode)}\n{text_of(result)}")


if __name__ == "__main__":
    unittest.main()

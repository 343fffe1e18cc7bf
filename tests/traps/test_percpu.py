"""The caches per CPU: where they cannot be had, vfork and fork, threads that end, all ways into a process, recording.

Each program is run with the caches per CPU asked for, and what it prints of the frontend that served is looked at.
"""

import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import EMULATOR, LIBRARY, TrapTest, environment, not_emulated, program

SOURCE = Path(os.environ["TIERMALLOC_SOURCE"]) / "tests" / "traps"
STATIC = os.environ["TIERMALLOC_STATIC"]
# To be preloaded before the library: no concurrency ids.
NO_MM_CID = os.environ["TRAPS_NO_MM_CID"]
CC = shlex.split(os.environ["CC"])

OPTIONS = "frontend:cpu"
# The C library registers its area, or it does not: then the allocator registers one for each thread.
REGISTRATIONS = {"area of the C library": None, "own area": {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}}
OWN = REGISTRATIONS["own area"]


def frontend_here(more=None):
    """What serves a program when nothing is refused."""
    command = [*EMULATOR, program("frontends"), "alone"]
    variables = environment(LIBRARY, OPTIONS, more)
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()


class PerCpuTest(TrapTest):
    def check(self, expected, *arguments, name="frontends", **options):
        """The program runs well, served by this frontend."""
        options.setdefault("options", OPTIONS)
        result = self.run_trap(name, *arguments, **options)
        self.assertEqual(result.stdout.decode().strip(), expected)

    def require_cpus(self, more=None):
        """What the programs print when the CPUs' caches serve; skips the test where they cannot."""
        kind = frontend_here(more)
        if not kind.startswith("CPUs"):
            self.skipTest(f"no caches per CPU here: served by {kind}")
        return kind

    def for_each_registration(self, function):
        for name, more in REGISTRATIONS.items():
            with self.subTest(name):
                function(self.require_cpus(more), more)


class Served(PerCpuTest):
    def test_by_cpus(self):
        self.for_each_registration(lambda kind, more: self.check(kind, "plain", 3, more=more))

    def test_by_threads_if_asked(self):
        self.check("threads", "plain", options="frontend:thread")

    @unittest.skipUnless(EMULATOR, "not under an emulator")
    def test_by_threads_under_an_emulator(self):
        """qemu's user mode has no rseq."""
        self.check("threads", "plain", 3)

    def test_batches(self):
        """Whole stacks of each size are filled and emptied."""
        kind = self.require_cpus()
        self.check(kind, "batches")
        self.check(kind, "batches", options=f"{OPTIONS},cpu_cache_size:64K")
        self.check("threads", "batches", options="frontend:thread")

    def test_concurrency_ids_where_the_kernel_has_them(self):
        """Linux has them since 6.3."""
        release = tuple(map(int, platform.release().split("-")[0].split(".")[:2]))
        self.assertEqual(self.require_cpus(), "CPUs (mm_cid)" if release >= (6, 3) else "CPUs")

    def test_numbers_of_the_cpus_otherwise(self):
        """On kernels before that."""
        self.require_cpus()
        before = f"{NO_MM_CID} {LIBRARY}"
        for name, more in REGISTRATIONS.items():
            with self.subTest(name):
                self.check("CPUs", "plain", preload=before, more=more)
                self.check("CPUs", "affinity", preload=before, more=more)
                self.check("CPUs", "plain", preload=before, more=more, wrap=self.one_cpu())

    def one_cpu(self):
        """What restricts a program to the highest CPU that there is."""
        if not shutil.which("taskset"):
            self.skipTest("taskset is not there")
        return ["taskset", "-c", str(max(os.sched_getaffinity(0)))]

    def test_one_cpu(self):
        one = self.one_cpu()
        self.for_each_registration(lambda kind, more: self.check(kind, "plain", wrap=one, more=more))

    def test_changing_cpus(self):
        self.for_each_registration(lambda kind, more: self.check(kind, "affinity", more=more))

    def test_possible_cpus_not_to_be_read(self):
        """How many CPUs there are has to be found out otherwise."""
        kind = self.require_cpus()
        hide = "mount -t tmpfs none /sys/devices/system/cpu && exec \"$0\" \"$@\""
        wrap = ["unshare", "-m", "sh", "-c", hide]
        try:
            probe = subprocess.run([*wrap, "true"], capture_output=True, text=True)
        except FileNotFoundError:
            self.skipTest("unshare is not there")
        if probe.returncode != 0:
            self.skipTest(f"no mount namespace: {probe.stderr.strip()}")
        self.check(kind, "plain", wrap=wrap)


@not_emulated("what refuses system calls and valgrind are programs of this machine")
class Refused(PerCpuTest):
    def check_refused(self, expected, *calls, more=None):
        self.check(expected, "plain", wrap=[program("refuse"), *calls, "--"], more=more)

    def test_rseq(self):
        """As soon as the process starts, to the C library as well."""
        for error in ("ENOSYS", "EPERM"):
            for name, more in REGISTRATIONS.items():
                with self.subTest(error=error, registration=name):
                    self.check_refused("threads", "rseq", error, more=more)

    def test_membarrier(self):
        for error in ("ENOSYS", "EPERM"):
            for name, more in REGISTRATIONS.items():
                with self.subTest(error=error, registration=name):
                    self.check_refused("threads", "membarrier", error, more=more)

    def test_both(self):
        self.check_refused("threads", "rseq", "EPERM", "membarrier", "EPERM")

    def test_membarrier_later(self):
        """The caches in use stay, and cannot be drained from outside any more."""
        self.for_each_registration(lambda kind, more: self.check(kind, "membarrier", more=more))

    def test_rseq_later(self):
        """Threads that come later have caches of their own. (The C library gives up if it is refused that late.)"""
        self.check(self.require_cpus(OWN), "rseq", more=OWN)

    def test_valgrind(self):
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        if subprocess.run(["valgrind", "-q", "--tool=none", "true"], capture_output=True).returncode != 0:
            self.skipTest("valgrind does not work here")
        self.check("threads", "alone", wrap=["valgrind", "-q", "--tool=none"])


class Vfork(PerCpuTest):
    def run_each(self, *arguments):
        self.for_each_registration(
            lambda kind, more: self.run_trap("vfork_child", *arguments, options=OPTIONS, more=more))

    def test_while_threads_allocate(self):
        self.run_each("loop", 100)

    def test_child_does_not_touch_the_caches(self):
        self.run_each("alone")

    def test_in_a_destructor(self):
        self.run_each("destructor")

    def test_child_forks(self):
        self.run_each("fork")

    def test_spawn(self):
        self.for_each_registration(lambda kind, more: self.run_trap("spawn", 60, options=OPTIONS, more=more))


class Fork(PerCpuTest):
    def run_each(self, *arguments):
        self.for_each_registration(
            lambda kind, more: self.run_trap("fork_trim", *arguments, options=OPTIONS, more=more))

    def test_while_caches_are_taken_away(self):
        self.run_each("loop", 150)

    def test_without_handlers(self):
        self.run_each("raw")

    def test_in_a_signal_handler_that_interrupts_it(self):
        self.run_each("handler", 300)


class Threads(PerCpuTest):
    def run_each(self, name, *arguments):
        self.for_each_registration(lambda kind, more: self.run_trap(name, *arguments, options=OPTIONS, more=more))

    def test_destructors(self):
        self.run_each("thread_exit", 2000)

    def test_destructors_of_thread_local_objects(self):
        self.run_each("thread_local_exit", 300)

    def test_twelve_thousand(self):
        """As many as it takes for an own area that is lost, of 64 bytes, to show."""
        self.run_each("short_threads", 12000)


class LoadedLate(PerCpuTest):
    def test_by_dlopen(self):
        def load(_, more):
            for scope in ("local", "global"):
                self.run_trap("load_allocator", LIBRARY, scope, preload=None, options=OPTIONS, more=more)

        self.for_each_registration(load)


class Linked(PerCpuTest):
    """Programs that the static library is linked into."""

    def build(self, name, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        probe = Path(folder.name) / "probe.c"
        probe.write_text("int main(void) { return 0; }\n")
        target = Path(folder.name) / name
        if subprocess.run([*CC, *flags, str(probe), "-o", str(target)], capture_output=True).returncode != 0:
            self.skipTest(f"cannot link with {' '.join(flags)}")
        flags = ["-std=gnu11", "-O2", "-fno-builtin", *flags]
        command = [*CC, *flags, str(SOURCE / f"{name}.c"), STATIC, "-pthread", "-o", str(target)]
        result = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return str(target)

    def check_linked(self, *flags):
        frontends = self.build("frontends", *flags)
        vfork_child = self.build("vfork_child", *flags)
        parts = [(frontends, "plain"), *((vfork_child, *part) for part in (["alone"], ["destructor"], ["loop", "50"]))]

        def check(kind, more):
            variables = environment(None, OPTIONS, more)
            # Names the library that malloc should come from; here it comes from the program itself.
            del variables["TIERMALLOC_SHARED"]
            for command in parts:
                result = self.run_command(list(command), variables)
                self.assertEqual((result.returncode, result.stderr), (0, b""), command)
                if command[0] == frontends:
                    self.assertEqual(result.stdout.decode().strip(), kind)

        self.for_each_registration(check)

    def test_static_library(self):
        self.check_linked("-pie", "-fPIE")

    def test_static_program(self):
        self.check_linked("-static")

    def test_static_position_independent_program(self):
        self.check_linked("-static-pie", "-fPIE")


class Recording(PerCpuTest):
    def record(self, options, more=None):
        """The lines of a recording of a program that always does the same, but for its duration."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "histogram")
            self.run_trap("frontends", "alone", options=f"{options},record:{path}", more=more)
            with open(path, encoding="ascii") as file:
                return [line for line in file.read().splitlines() if not line.startswith("milliseconds ")]

    def test_counts_are_those_of_the_other_frontend(self):
        expected = self.record("frontend:thread")
        self.assertGreater(len(expected), 100)
        self.for_each_registration(lambda kind, more: self.assertEqual(self.record(OPTIONS, more), expected))


if __name__ == "__main__":
    unittest.main()

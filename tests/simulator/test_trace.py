"""Traces of real programs: the option trace_pages, forks, and the command `tiermalloc trace`."""

import gzip
import lzma
import os
import subprocess
import sys
import unittest

import support
from support import SimulatorTest, decode, used_pages

TOOL = support.SOURCE / "tool" / "tiermalloc"

# Objects come and go, a block grows, and 64 MiB are never given back: what Python still has, it frees at its end.
WORK = """
import ctypes
pieces = [bytearray(size % 9000) for size in range(20000)]
del pieces[::2]
block = bytearray()
for _ in range(300):
    block += bytes(100000)
ctypes.CDLL(None).malloc(ctypes.c_size_t(64 << 20))
"""


class TraceTest(SimulatorTest):
    def run_python(self, text, options, folder=None):
        environment = {**os.environ, "LD_PRELOAD": support.LIBRARY, "PYTHONMALLOC": "malloc", "TIERMALLOC_CONF": options}
        return subprocess.run([sys.executable, "-S", "-c", text], cwd=folder or self.folder, env=environment,
                              capture_output=True, text=True, check=False, timeout=support.HANG_LIMIT)

    def trace(self, text, name="out", **options):
        """The events of a program that has to succeed without a word."""
        result = self.run_python(text, f"trace_pages:{name}", **options)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        return self.read(name)

    def read(self, name):
        return decode((self.folder / name).read_bytes())


class Recording(TraceTest):
    def test_what_is_taken_and_given_back(self):
        page, _, events = self.trace(WORK)
        used = used_pages(events)
        self.assertGreater(len(used) * page, 64 << 20)
        names = {event.name for event in events}
        self.assertLessEqual({"limit", "allocate", "free"}, names)

    def test_it_can_be_simulated(self):
        page, _, events = self.trace(WORK)
        found = self.simulate(self.folder / "out")
        self.assertEqual(found["end"]["used"], len(used_pages(events)) * page)

    def test_the_limit_comes_first(self):
        page, _, events = self.trace("pass")
        self.assertEqual((events[0].name, events[0].numbers), ("limit", ((256 << 10) // page,)))

    def test_time_passes(self):
        _, _, events = self.trace("import time\ntime.sleep(0.3)\n" + WORK)
        self.assertGreaterEqual(sum(event.numbers[0] for event in events if event.name == "time"), 290)

    def test_trimming_and_the_limit(self):
        page, _, events = self.trace("import ctypes\nlibrary = ctypes.CDLL(None)\nlibrary.mallopt(-1, 1 << 20)\n"
                                     "library.malloc_trim(ctypes.c_size_t(123 << 13))\n")
        limits = [event.numbers[0] for event in events if event.name == "limit"]
        self.assertEqual(limits[-1], (1 << 20) // page)
        self.assertIn(((123 << 13) // page,), [event.numbers for event in events if event.name == "release"])

    def test_a_child_has_a_trace_of_its_own(self):
        """It begins with what it has inherited."""
        page, _, _ = self.trace(WORK + "import os, sys\nif os.fork() == 0:\n    ctypes.CDLL(None).malloc(ctypes.c_size_t(32 << 20))\n    sys.exit()\n"
                                "os.wait()\n")
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(len(names), 2)
        parent, child = (len(used_pages(self.read(name)[2])) * page for name in names)
        self.assertGreater(parent, 64 << 20)
        self.assertGreater(child, (64 + 32) << 20)

    def test_threads(self):
        page, _, events = self.trace("import threading\ndef work():\n    for size in range(3000):\n        bytearray(size * 100)\n"
                                     "threads = [threading.Thread(target=work) for _ in range(4)]\n"
                                     "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n")
        used_pages(events)
        self.assertGreater(len(events), 100)

    def test_the_program_may_go_elsewhere(self):
        """The path is relative to where the program was started, however often the file is written to."""
        _, _, events = self.trace("import os\nos.chdir('/')\nos.closerange(3, 1000)\n" + WORK * 5)
        used_pages(events)
        self.assertGreater((self.folder / "out").stat().st_size, 1000)

    def test_a_long_trace(self):
        """The file is written several times before the process ends."""
        _, _, events = self.trace("import ctypes\nlibrary = ctypes.CDLL(None)\nlibrary.malloc.restype = ctypes.c_void_p\n"
                                  "for _ in range(30000):\n"
                                  "    library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t(3 << 20))))\n")
        used_pages(events)
        self.assertGreater((self.folder / "out").stat().st_size, 128 << 10)

    def test_program_and_process_in_the_path(self):
        self.assertEqual(self.run_python("pass", "trace_pages:%e.%p.%%").returncode, 0)
        self.assertEqual([path.name.endswith(".%") for path in self.folder.iterdir()], [True])

    def test_a_path_that_cannot_be_written(self):
        result = self.run_python("print('done')", "trace_pages:absent/out")
        self.assertEqual((result.returncode, result.stdout), (0, "done\n"))
        self.assertIn("/absent/out has ended: No such file or directory\n", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_an_older_file_is_replaced(self):
        (self.folder / "out").write_bytes(b"x" * 1000000)
        used_pages(self.trace("pass")[2])


class Tool(TraceTest):
    def run_tool(self, *arguments):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([sys.executable, TOOL, "trace", "--library", support.LIBRARY, *map(str, arguments)],
                              cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
                              timeout=support.HANG_LIMIT)

    def test_one_process(self):
        result = self.run_tool("-o", "out", sys.executable, "-S", "-c", "print('hello')")
        self.assertEqual((result.returncode, result.stdout), (0, "hello\n"))
        self.assertRegex(result.stderr, r"^tiermalloc: out: \d+\.python[0-9.]*, the longest of 1, \d+ bytes unpacked\n$")
        used_pages(self.read("out")[2])
        self.assertEqual([path.name for path in self.folder.iterdir()], ["out"])

    def test_packed(self):
        for name, unpack in (("out.gz", gzip.decompress), ("out.xz", lzma.decompress)):
            self.assertEqual(self.run_tool("-o", name, "true").returncode, 0)
            used_pages(decode(unpack((self.folder / name).read_bytes()))[2])

    def test_the_longest_of_several(self):
        script = f"{sys.executable} -S -c 'x = [bytearray(9000) for _ in range(9000)]'; /bin/true; exit 3"
        result = self.run_tool("-o", "out", "bash", "-c", script)
        self.assertEqual(result.returncode, 3)
        self.assertIn(".python", result.stderr)
        result = self.run_tool("-o", "out", "--process", "true", "bash", "-c", script)
        self.assertIn(".true, the longest of 1", result.stderr)

    def test_refusals(self):
        for arguments, status, says in ((("-o", "out", "./absent"), 127, "./absent: cannot be run"),
                                        (("-o", "absent/out", "true"), 1, "absent/out: cannot be written"),
                                        (("-o", "out", "--process", "other", "true"), 1, "no process of that name")):
            with self.subTest(says=says):
                result = self.run_tool(*arguments)
                self.assertEqual(result.returncode, status)
                self.assertIn(says, result.stderr)
                self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()

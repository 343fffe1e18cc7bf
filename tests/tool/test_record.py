"""record: one histogram of all processes, or a clear no; with a stand-in for the library, and with the library itself."""

import os
import signal
import subprocess
import sys
import unittest

import support
from support import histogram, make_histogram, make_row

RECORDED = make_histogram(make_row(8, 100, 10), make_row(24, 5, 5, alignment=64))


class Stand(support.ToolTest):
    """With a library that writes what the test tells it to, at the end of each process that ends by exit(): sh does not."""

    def setUp(self):
        super().setUp()
        self.library = self.compile_library("fake_recorder.c", "fake.so")
        self.write("content", RECORDED)
        self.environment = {"FAKE_CONTENT": str(self.folder / "content")}

    def record(self, *arguments, output="out", environment=None, **options):
        return self.run_tool("record", "--library", self.library, "-o", output, *arguments,
                             environment=self.environment | (environment or {}), **options)

    def names(self):
        return sorted(os.listdir(self.folder))

    def check_nothing_written(self, result, status, says):
        self.assertEqual(result.returncode, status)
        self.assertIn(says, result.stderr)
        self.assertEqual(self.names(), ["content", "fake.so"])


class Recording(Stand):
    def test_one_process(self):
        result = self.record("true")
        self.assertEqual((result.returncode, result.stdout), (0, ""))
        self.assertEqual(result.stderr, "tiermalloc: out: 1 process, 1 thread, 105 allocations of 2 sizes, "
                                        "200 bytes at the peak, 1.5 s\n")
        self.assertEqual(self.read_histogram("out"), RECORDED)
        self.assertEqual(self.names(), ["content", "fake.so", "out"])

    def test_processes_are_added_up(self):
        self.assertEqual(self.record("sh", "-c", "/bin/true; /bin/true; cat content; :").returncode, 0)
        self.assertEqual(self.read_histogram("out"), histogram.merge([RECORDED] * 3))

    def test_one_program_of_several(self):
        result = self.record("--process", "cat", "sh", "-c", "cat content; /bin/true; cat content; :")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.read_histogram("out").totals["processes"], 2)

    def test_a_program_that_is_not_among_them(self):
        result = self.record("--process", "perl", "sh", "-c", "/bin/true; cat /dev/null; :")
        self.check_nothing_written(result, 1, "--process: perl: no process of that name was recorded; there are cat, true")

    def test_the_status_is_the_programs(self):
        self.assertEqual(self.record("sh", "-c", "/bin/true; exit 7").returncode, 7)
        self.assertEqual(self.read_histogram("out"), RECORDED)

    def test_a_signal_ends_it(self):
        result = self.record("sh", "-c", "/bin/true; kill -9 $$")
        self.assertEqual(result.returncode, 128 + 9)
        self.assertEqual(self.read_histogram("out"), RECORDED)

    def test_nothing_recorded(self):
        result = self.record("true", environment={"FAKE_SILENT": "1"})
        self.check_nothing_written(result, 1, "nothing was recorded: no process wrote a histogram")

    def test_nothing_recorded_of_a_program_that_failed(self):
        result = self.record("sh", "-c", "exit 9", environment={"FAKE_SILENT": "1"})
        self.check_nothing_written(result, 9, "nothing was recorded")

    def test_an_older_file_stays_if_nothing_was_recorded(self):
        self.write("out", "before")
        self.record("true", environment={"FAKE_SILENT": "1"})
        self.assertEqual((self.folder / "out").read_text(encoding="utf-8"), "before")

    def test_a_damaged_file_is_kept_for_who_looks_for_the_cause(self):
        self.write("content", histogram.histogram_text(RECORDED)[:-8])
        result = self.record("true")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"/\.out\.\w+/\d+\.true\.histogram: line \d+: .*truncated")
        self.assertNotIn("out", self.names())
        self.assertTrue([name for name in self.names() if name.startswith(".out.")])

    def test_a_program_that_is_not_there(self):
        self.check_nothing_written(self.record("./absent"), 127, "./absent: cannot be run: No such file or directory")

    def test_a_folder_that_is_not_there(self):
        self.check_nothing_written(self.record("touch", "ran", output="absent/out"), 1, "absent/out: cannot be written")

    def test_a_path_with_a_percent_sign(self):
        (self.folder / "%p%%e").mkdir()
        self.assertEqual(self.record("true", output="%p%%e/out").returncode, 0)
        self.assertEqual(self.read_histogram("%p%%e/out"), RECORDED)

    def test_a_path_with_a_comma(self):
        (self.folder / "a,b").mkdir()
        result = self.record("touch", "ran", output="a,b/out")
        self.assertEqual(result.returncode, 1)
        self.assertIn("a path that has a comma in it", result.stderr)
        self.assertNotIn("ran", self.names())

    def test_options_reach_the_library_and_ours_are_last(self):
        result = self.record("--conf", "retain:1M", "--period", "5", "sh", "-c", 'echo "$TIERMALLOC_CONF"',
                             environment={"TIERMALLOC_CONF": "record:/elsewhere"})
        self.assertRegex(result.stdout, r"^record:/elsewhere,retain:1M,record_period:5,record:/.*/%p\.%e\.histogram\n$")

    def test_ctrl_c_is_for_the_program(self):
        """It reaches both; the program has a handler, and what it recorded is kept."""
        # The shell itself writes no histogram, and a sleep that the signal ends does not either.
        script = "trap 'echo caught; exit 3' INT; /bin/true; echo ready; while :; do sleep 0.05; done"
        with self.start("record", "--library", self.library, "-o", "out", "sh", "-c", script, environment=self.environment,
                        start_new_session=True) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual(os.getpgid(process.pid), process.pid)
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=support.COMMAND_LIMIT)
        self.assertEqual((process.returncode, output), (3, "caught\n"), errors)
        self.assertGreaterEqual(self.read_histogram("out").totals["processes"], 1)

    def test_a_request_to_end_is_passed_on(self):
        script = "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"
        with self.start("record", "--library", self.library, "-o", "out", "sh", "-c", script,
                        environment=self.environment) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=support.COMMAND_LIMIT)
        self.assertEqual(process.returncode, 4)

    def test_a_request_to_end_may_come_while_the_program_is_started(self):
        result = subprocess.run([sys.executable, "-B", "-c", EARLY_REQUEST], cwd=self.folder, text=True, capture_output=True,
                                env={**os.environ, "PYTHONPATH": str(support.TOOL.parent)}, timeout=60, check=False)
        self.assertEqual((result.returncode, result.stdout), (0, "143\n"), result.stderr)


# The module that starts programs is told to end before it knows the program.
EARLY_REQUEST = """
import os, signal, subprocess
from support import preload
start = subprocess.Popen
def start_and_ask(*arguments, **others):
    process = start(*arguments, **others)
    os.kill(os.getpid(), signal.SIGTERM)
    return process
subprocess.Popen = start_and_ask
print(preload.run(["sleep", "300"], dict(os.environ)))
"""


# Asks for a size that nothing else does, so often, and keeps some of them.
ALLOCATING = """
import ctypes
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes, library.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
blocks = [library.malloc(54321) for _ in range(50)]
for block in blocks[:30]:
    library.free(block)
"""


class WithTheLibrary(support.ToolTest):
    """The library under test records what the program does."""

    def record(self, *arguments):
        return self.run_tool("record", "--library", support.library(), "-o", "out", *arguments)

    def row(self, size):
        return next((row for row in self.read_histogram("out").rows if row.key == (size, 1)), None)

    def check_row(self, processes=1):
        row = self.row(54328)
        self.assertEqual((row.allocations, row.live, row.peak_live), (50 * processes, 20 * processes, 50 * processes))

    def test_exact_counts(self):
        self.write("program.py", ALLOCATING + "library.malloc(3 << 20)\n")
        result = self.record("/usr/bin/python3", "program.py")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.row(54328).allocations, 50)
        self.assertEqual(self.row(54328).live, 20)
        self.assertGreaterEqual(self.row(3 << 20).allocations, 1)

    def test_processes_are_added_up(self):
        self.write("program.py", ALLOCATING)
        command = "/usr/bin/python3 program.py; /usr/bin/python3 program.py; exit 5"
        result = self.record("--process", "python3", "sh", "-c", command)
        self.assertEqual(result.returncode, 5, result.stderr)
        self.check_row(processes=2)

    def test_forked_children_write_their_own(self):
        self.write("program.py", "import os, sys\nif os.fork() == 0:\n" + ALLOCATING.replace("\n", "\n    ")
                   + "\n    sys.exit(0)\nsys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n")
        result = self.record("/usr/bin/python3", "program.py")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.read_histogram("out").totals["processes"], 2)
        self.check_row()

    def test_what_is_measured_is_what_is_predicted(self):
        """For the profile of the library: waste by rounding at the peak, within 5 % (exact with one thread)."""
        self.write("program.py", ALLOCATING + "texts = [str(number) * 20 for number in range(50000)]\n")
        self.assertEqual(self.record("/usr/bin/python3", "program.py").returncode, 0)
        text = self.succeed("report", "out")
        predicted, measured = (int(line.split()[-2]) for line in text.splitlines() if "rounding up to a class" in line)
        self.assertGreater(measured, 0)
        self.assertAlmostEqual(predicted / measured, 1, delta=0.05)

    def test_a_killed_program_leaves_what_it_had(self):
        self.write("program.py", ALLOCATING + """
import os, signal, time
end = time.monotonic() + 30
while time.monotonic() < end and not any(name.endswith(".histogram") for name in os.listdir(os.environ["FILES"])):
    library.free(library.malloc(100000))
os.kill(os.getpid(), signal.SIGKILL)
""")
        script = 'path=${TIERMALLOC_CONF##*record:}; FILES=${path%/*} exec /usr/bin/python3 program.py'
        result = self.record("--period", "1", "sh", "-c", script)
        self.assertEqual(result.returncode, 128 + signal.SIGKILL, result.stderr)
        self.check_row()


if __name__ == "__main__":
    unittest.main()

"""pgo: the whole loop on a small program; and what it measures with. No time is judged."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib
import unittest
import xml.etree.ElementTree as ElementTree

import support
from support import histogram

# Most of its bytes at the peak are of one size, which no class of the default profile has: 5200, which takes 5632.
PROGRAM = """
import sys
blocks = [bytes(5200 - 33) for _ in range(4000)]
print(len(sys.stdin.read()))
"""


class Loop(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("program.py", PROGRAM)

    def pgo(self, *arguments, **options):
        return self.run_tool("pgo", "--source", support.SOURCE, "--runs", "2", "-o", "result", *arguments, **options)

    def test_the_gain(self):
        given = self.write("input", "12345")
        with given.open(encoding="utf-8") as stdin:
            result = self.pgo("/usr/bin/python3", "program.py", stdin=stdin)
        self.assertEqual(result.returncode, 0, result.stderr)
        before, after = map(int, re.search(r"(?m)^waste by rounding, bytes at the peak +(\d+) +(\d+) ", result.stdout).groups())
        # Each block is a bytes object of 5200 bytes, more or less a few.
        self.assertGreater(before, 4000 * 400)
        self.assertLess(2 * after, before)
        self.check_prediction(result.stdout, before, after)
        for label in ("peak RSS", "processor time, s", "time on the clock, s"):
            self.assertRegex(result.stdout, rf"(?m)^{label} +\d")
        self.check_folder(result.stdout)
        self.check_one_of_several(before)

    def check_one_of_several(self, before):
        """In the same folder, whose builds are there."""
        name = pathlib.Path("/usr/bin/python3").resolve().name
        result = self.pgo("--process", name, "sh", "-c", f"/bin/true; /usr/bin/{name} program.py < input; :")
        self.assertEqual(result.returncode, 0, result.stderr)
        for side in ("before", "after"):
            self.assertEqual(histogram.read_histogram(self.folder / "result" / f"{side}.histogram").totals["processes"], 1)
        again = int(re.search(r"(?m)^waste by rounding, bytes at the peak +(\d+) ", result.stdout)[1])
        self.assertAlmostEqual(again / before, 1, delta=0.01)

    def check_prediction(self, text, before, after):
        predicted = map(int, re.search(r"(?m)^  predicted from the first recording +(\d+) +(\d+) ", text).groups())
        for value, measured in zip(predicted, (before, after)):
            self.assertAlmostEqual(value / measured, 1, delta=0.05)

    def check_folder(self, text):
        folder = self.folder / "result"
        self.assertEqual(sorted(path.name for path in folder.iterdir()),
                         ["after.histogram", "before.histogram", "build-after", "build-before", "profile.toml", "program.log",
                          "report.html", "result.txt"])
        self.assertEqual((folder / "result.txt").read_text(encoding="utf-8"), text)
        self.assertEqual((folder / "program.log").read_text(encoding="utf-8"), "5\n", "the input is there in each run")
        ElementTree.parse(folder / "report.html")
        tomllib.loads((folder / "profile.toml").read_text(encoding="utf-8"))
        for name in ("before.histogram", "after.histogram"):
            histogram.read_histogram(folder / name)

    def test_a_program_that_fails(self):
        result = self.pgo("sh", "-c", "echo what is wrong; exit 3")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("sh: ended with status 3 on ", result.stderr)
        self.assertIn("tiermalloc: what is wrong\n", result.stderr)

    def test_a_program_that_is_not_there(self):
        self.check_refused("pgo", "--source", support.SOURCE, "-o", "result", "./absent",
                           says="./absent: cannot be run: there is no such program")


# In a process of its own, as in the tool: argument 1 is the tool's folder, 2 the library, then the program.
MEASURING = """
import json, os, sys
sys.path[:0] = [sys.argv[1]]
from support import measuring
ballast = bytearray(os.urandom(1 << 20) * 64)
run = measuring.Workload(sys.argv[3:], "log").measure(sys.argv[2], [])
print(json.dumps([run.processor, run.clock, run.peak_rss]))
"""

MIB = 1 << 20


class Measuring(support.ToolTest):
    def measure(self, *program):
        result = subprocess.run([sys.executable, "-B", "-c", MEASURING, support.SOURCE / "tool", support.library(), *program],
                                cwd=self.folder, env=support.ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, check=True)
        return json.loads(result.stdout)

    def test_the_memory_is_the_programs(self):
        """Not that of the tool, which has 64 MiB here."""
        self.assertLess(self.measure("true")[2], 16 * MIB)
        peak = self.measure("/usr/bin/python3", "-c", "bytearray(40 << 20)")[2]
        self.assertTrue(40 * MIB < peak < 80 * MIB, peak)

    def test_times_are_the_programs(self):
        processor, clock, _ = self.measure("sh", "-c", "sleep 0.5")
        self.assertGreaterEqual(clock, 0.49)
        self.assertLess(processor, clock)
        code = "import time\nwhile time.process_time() < 0.5: pass"
        self.assertGreaterEqual(self.measure("/usr/bin/python3", "-c", code)[0], 0.49)

    def test_a_program_is_no_builtin_of_the_shell(self):
        self.measure("echo", "a b", "$HOME", "'")
        self.assertEqual((self.folder / "log").read_text(encoding="utf-8"), "a b $HOME '\n")
        self.measure("sh", "-c", "cat /proc/$$/maps")
        self.assertIn("libtiermalloc.so", (self.folder / "log").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()

"""What the tests of the command `tiermalloc` share: running it as a user would, and histograms made by hand.

Relies on the layout of the source tree; TIERMALLOC_SOURCE names it where the tests are run by Meson, and TIERMALLOC_SHARED the
library under test.
"""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ.get("TIERMALLOC_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
TOOL = SOURCE / "tool" / "tiermalloc"
GENERATOR = SOURCE / "codegen" / "size_classes.py"
DEFAULT_PROFILE = SOURCE / "classes" / "default.toml"

sys.path.insert(0, str(SOURCE / "codegen"))

import histogram  # noqa: E402  the path has to be set first

# A hang is found by this limit; nothing here takes as long, also on a loaded machine.
COMMAND_LIMIT = 300

# No __pycache__ in the source tree, nothing of the caller's that changes what the tool does.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "TIERMALLOC_CONF")}
ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = "1"

# Five classes, and what lies above takes pages; the spans of 48 leave 32 bytes behind their 170 objects.
SMALL_PROFILE = "classes = [16, 32, 48, 64, 4096]\n"


def library():
    return os.environ["TIERMALLOC_SHARED"]


def make_row(size, allocations, peak_live, alignment=1, live=0):
    return histogram.Row(size, alignment, allocations, live, peak_live, peak_live, 0, 0, (allocations - live, 0, 0, 0, 0))


def make_histogram(*rows, **totals):
    """Rows in ascending order; totals that are not given are what the rows say, or small."""
    values = dict.fromkeys(histogram.TOTALS, 0) | {
        "processes": 1, "threads": 1, "milliseconds": 1500,
        "allocated_bytes": sum(row.size * row.allocations for row in rows),
        "peak_bytes": sum(row.size * row.peak_live for row in rows)}
    return histogram.Histogram(values | totals, rows)


class ToolTest(unittest.TestCase):
    """Runs the tool in an empty folder of its own."""

    tool = TOOL

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="tiermalloc-tool-")))

    def start(self, *arguments, environment=None, **options):
        return subprocess.Popen([sys.executable, str(self.tool), *map(str, arguments)], cwd=self.folder, text=True,
                                env={**ENVIRONMENT, **(environment or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **options)

    def run_tool(self, *arguments, **options):
        """The finished process. Whatever goes wrong, a user never sees a traceback."""
        with self.start(*arguments, stdin=options.pop("stdin", subprocess.DEVNULL), **options) as process:
            output, errors = process.communicate(timeout=COMMAND_LIMIT)
        self.assertNotIn("Traceback", errors)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def succeed(self, *arguments, **options):
        """The standard output of a command that has to succeed."""
        result = self.run_tool(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def check_refused(self, *arguments, says, status=1, **options):
        """A command that has to be refused, with these words on standard error and nothing written anywhere."""
        before = self.files()
        result = self.run_tool(*arguments, **options)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        self.assertIn(says, result.stderr)
        self.assertEqual(self.files(), before)

    def files(self):
        """All files of the folder with their content."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def write(self, name, content):
        """`content` is a histogram or text."""
        path = self.folder / name
        if isinstance(content, histogram.Histogram):
            content = histogram.histogram_text(content)
        path.write_text(content, encoding="utf-8")
        return path

    def read_histogram(self, name):
        return histogram.read_histogram(self.folder / name)

    def compile_library(self, source, name):
        """A shared object made of one of our C files."""
        path = self.folder / name
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run([*compiler, "-shared", "-fPIC", "-O1", "-o", path, SOURCE / "tests" / "tool" / source], check=True)
        return path

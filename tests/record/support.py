"""What the tests of recording share: running a program that is recorded, and a strict reader of the file.

Relies on two environment variables: TIERMALLOC_SHARED, the library to preload, and RECORD_PROGRAM, the built program.
"""

import collections
import os
import re
import signal
import subprocess
import tempfile
import unittest

LIBRARY = os.environ["TIERMALLOC_SHARED"]
PROGRAM = os.environ["RECORD_PROGRAM"]

# A program that has not ended by then hangs. Generous, for a busy machine.
HANG_LIMIT = 240

TOTALS = (
    "processes", "threads", "milliseconds", "allocated_bytes", "peak_bytes", "peak_small_requested", "peak_small_given",
    "peak_small_room", "live_small_requested", "live_small_given", "live_small_room",
)  # fmt: skip
COLUMNS = (
    "size", "alignment", "allocations", "live", "peak_live", "most_live", "remote_frees", "reallocs",
    "freed_64K", "freed_1M", "freed_16M", "freed_256M", "freed_later",
)  # fmt: skip

NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
Row = collections.namedtuple("Row", COLUMNS)
Histogram = collections.namedtuple("Histogram", ("totals", "rows"))


def number(word):
    """A number of the file; anything else is a ValueError."""
    if not NUMBER.fullmatch(word) or int(word) >= 1 << 63:
        raise ValueError(f"not a number of the format: {word!r}")
    return int(word)


def parse(text):
    """The histogram of a whole file's text; a ValueError says what is wrong with it."""
    if not text.endswith("\n") or not text.isascii():
        raise ValueError("does not end with a newline, or is not ASCII")
    lines = text[:-1].split("\n")
    if lines[0] != "tiermalloc histogram 1":
        raise ValueError(f"begins with {lines[0]!r}")
    totals = {}
    for name, line in zip(TOTALS, lines[1:]):
        words = line.split(" ")
        if len(words) != 2 or words[0] != name:
            raise ValueError(f"{line!r} instead of {name!r}")
        totals[name] = number(words[1])
    if lines[len(TOTALS) + 1] != "columns " + " ".join(COLUMNS):
        raise ValueError(f"columns: {lines[len(TOTALS) + 1]!r}")
    rows = {}
    before = (0, 0)
    for line in lines[len(TOTALS) + 2 : -1]:
        row = Row(*map(number, line.split(" ")))
        key = (row.size, row.alignment)
        if key <= before or (row.alignment != 1 and (row.alignment < 16 or row.alignment & (row.alignment - 1))):
            raise ValueError(f"{line!r} after {before}")
        before = key
        rows[key] = row
    if lines[-1] != f"end {len(rows)}":
        raise ValueError(f"{len(rows)} rows, and {lines[-1]!r}")
    return Histogram(totals, rows)


def frees(row):
    """All frees of a row, whatever their lifetime."""
    return row.freed_64K + row.freed_1M + row.freed_16M + row.freed_256M + row.freed_later


def ending(status):
    """How a process ended, in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


class RecordTest(unittest.TestCase):
    """A test that records into files of a folder of its own."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="tiermalloc-record-")
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def files(self):
        """Names of all files there, also of temporary ones."""
        return sorted(os.listdir(self.folder))

    def environment(self, options):
        variables = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        variables.update(LD_PRELOAD=LIBRARY, MALLOC_PERTURB_="0")
        variables.pop("TIERMALLOC_CONF", None)
        if options is not None:
            variables["TIERMALLOC_CONF"] = options
        return variables

    def run_command(self, command, options, status=0, errors=b"", variables=None, stdin=b""):
        """Runs a command to its end, which must be this status with this on standard error; its standard output."""
        with subprocess.Popen(
            command,
            env={**self.environment(options), **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            start_new_session=True,
        ) as process:
            try:
                output, complaint = process.communicate(stdin, timeout=HANG_LIMIT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                self.fail(f"{command}: hung, killed after {HANG_LIMIT} seconds")
        if process.returncode != status or (errors is not None and complaint != errors):
            self.fail(f"{command}: {ending(process.returncode)}\n{complaint.decode(errors='replace')}")
        self.last_pid = process.pid
        self.complaint = complaint.decode(errors="replace")
        return output

    def record(self, *arguments, options="record:{folder}/file", **expected):
        """Runs the program with these options, in which {folder} may stand; its standard output."""
        return self.run_command([PROGRAM, *map(str, arguments)], options.format(folder=self.folder), **expected)

    def read(self, name="file"):
        """A file, which must be well-formed and make sense."""
        with open(self.path(name), encoding="ascii", newline="") as file:
            histogram = parse(file.read())
        for row in histogram.rows.values():
            self.assertEqual(row.allocations, row.live + frees(row), row)
            self.assertGreaterEqual(row.most_live, max(row.live, row.peak_live), row)
            self.assertGreater(row.allocations, 0, row)
        return histogram

    def row(self, size, name="file"):
        """The row of a size that was asked for, without alignment."""
        return self.read(name).rows[((size + 7) // 8 * 8, 1)]

"""Reads, merges and writes the histograms of allocations that the library records; the only place that knows the format.

A file is read whole or refused: the first damage ends the reading, because nothing behind it can be trusted. Merging adds,
so any grouping and order of any number of histograms gives the same bytes. Relies on nothing but the file.
"""

import re
from dataclasses import dataclass

FIRST_LINE = "tiermalloc histogram 1"
FIRST_WORDS = "tiermalloc histogram "

TOTALS = ("processes", "threads", "milliseconds", "allocated_bytes", "peak_bytes", "peak_small_requested",
          "peak_small_given", "peak_small_room", "live_small_requested", "live_small_given", "live_small_room")

# Objects freed, by the bytes that the process allocated between their allocation and their end.
LIFETIMES = ("freed_64K", "freed_1M", "freed_16M", "freed_256M", "freed_later")

COLUMNS = ("size", "alignment", "allocations", "live", "peak_live", "most_live", "remote_frees", "reallocs") + LIFETIMES
COLUMNS_LINE = "columns " + " ".join(COLUMNS)

# Sizes are exact to this many bytes up to EXACT_SIZE; above it a doubling has this many steps.
SIZE_STEP = 8
EXACT_SIZE = 1 << 20
STEPS_PER_DOUBLING = 16

LEAST_ALIGNMENT = 16

NUMBER_LIMIT = 1 << 63
NUMBER = re.compile("0|[1-9][0-9]{0,18}")
NUMBER_RULE = "must be a decimal number, 0 to 2^63 - 1, without sign and leading zeros"
ROW = re.compile("(?:0|[1-9][0-9]{0,18})" + " (?:0|[1-9][0-9]{0,18})" * (len(COLUMNS) - 1))

LONGEST_SHOWN = 60


class HistogramError(Exception):
    """A histogram that is refused; `problems` are the lines to print."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Row:
    """What was recorded of the requests of one size and one alignment."""

    size: int
    alignment: int
    allocations: int
    live: int
    peak_live: int
    most_live: int
    remote_frees: int
    reallocs: int
    lifetimes: tuple

    @property
    def key(self):
        return (self.size, self.alignment)

    @property
    def numbers(self):
        """The columns in the file's order."""
        return (self.size, self.alignment, self.allocations, self.live, self.peak_live, self.most_live,
                self.remote_frees, self.reallocs) + self.lifetimes


@dataclass(frozen=True)
class Histogram:
    """`totals`: name to number, with every name of TOTALS; `rows` ascend by (size, alignment)."""

    totals: dict
    rows: tuple


def read_histogram(path):
    """The histogram in the file at `path`; raises HistogramError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise HistogramError([f"{path}: cannot be read: {error.strerror}"]) from error
    return Reader(path, content).histogram()


class Reader:
    """Walks over the lines of one file."""

    def __init__(self, path, content):
        self.path = path
        # Bytes that are not ASCII become characters that no rule allows, so that their line is refused.
        self.lines = content.decode("ascii", "replace").split("\n")
        self.number = 0

    def refuse(self, value, allowed):
        shown = value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "..."
        shown = shown.encode("unicode_escape").decode("ascii")
        raise HistogramError([f"{self.path}: line {self.number}: {shown}: {allowed}"])

    def next_line(self, wanted):
        """The next line without its end; refuses the file if it ends before."""
        line = self.lines[self.number]
        self.number += 1
        if self.number == len(self.lines):
            # What follows the last end of line is no line, so a file that ends here is cut off.
            self.refuse(line or "end of file", f"the file is truncated; {wanted}")
        return line

    def histogram(self):
        self.read_first_line()
        totals = {name: self.read_total(name) for name in TOTALS}
        if self.next_line(f"must be the line \"{COLUMNS_LINE}\"") != COLUMNS_LINE:
            self.refuse(self.lines[self.number - 1], f"must be the line \"{COLUMNS_LINE}\"")
        rows = self.read_rows()
        if self.number != len(self.lines) - 1 or self.lines[self.number]:
            self.number += 1
            self.refuse(self.lines[self.number - 1], "nothing may follow the line that begins with \"end\"")
        return Histogram(totals, tuple(rows))

    def read_first_line(self):
        if self.lines == [""]:
            self.number = 1
            self.refuse("end of file", f"the file is empty; must begin with the line \"{FIRST_LINE}\"")
        # A foreign file need not have an end of line at all.
        line = self.lines[0]
        self.number = 1
        if line == FIRST_LINE and len(self.lines) > 1:
            return
        if line.startswith(FIRST_WORDS) and len(self.lines) > 1:
            self.refuse(line, "not a version that is known; must be version 1")
        if FIRST_LINE.startswith(line):
            self.refuse(line, f"the file is truncated; must begin with the line \"{FIRST_LINE}\"")
        self.refuse(line, f"not a histogram of tiermalloc; must begin with the line \"{FIRST_LINE}\"")

    def read_total(self, name):
        wanted = f"must be \"{name} NUMBER\""
        line = self.next_line(wanted)
        word, _, value = line.partition(" ")
        if word != name:
            self.refuse(line, wanted)
        return self.parse_number(value)

    def parse_number(self, text):
        if not NUMBER.fullmatch(text) or int(text) >= NUMBER_LIMIT:
            self.refuse(text, NUMBER_RULE)
        return int(text)

    def read_rows(self):
        rows = []
        before = (0, 0)
        while True:
            line = self.next_line(f"must be a row of {len(COLUMNS)} numbers or \"end NUMBER\"")
            if line.startswith("end "):
                if self.parse_number(line[len("end "):]) != len(rows):
                    self.refuse(line, f"must be the number of rows, and there are {len(rows)}")
                return rows
            row = self.parse_row(line)
            if row.key <= before:
                self.refuse(f"{row.size} {row.alignment}", "rows must ascend by size and alignment, and differ; "
                            f"the row before is {before[0]} {before[1]}")
            before = row.key
            rows.append(row)

    def parse_row(self, line):
        if not ROW.fullmatch(line):
            words = line.split(" ")
            if len(words) != len(COLUMNS):
                self.refuse(line, f"must be a row of {len(COLUMNS)} numbers or \"end NUMBER\"")
            for word in words:
                self.parse_number(word)
        numbers = list(map(int, line.split(" ")))
        if max(numbers) >= NUMBER_LIMIT:
            self.refuse(str(max(numbers)), NUMBER_RULE)
        if not is_recorded_size(numbers[0]):
            self.refuse(str(numbers[0]), f"size must be a multiple of {SIZE_STEP} from {SIZE_STEP} to {EXACT_SIZE}, "
                        f"above it one of {STEPS_PER_DOUBLING} steps per doubling")
        if not is_recorded_alignment(numbers[1]):
            self.refuse(str(numbers[1]), f"alignment must be 1 or a power of two from {LEAST_ALIGNMENT} on")
        return Row(*numbers[:8], tuple(numbers[8:]))


def is_recorded_size(size):
    """Whether a row may have this size."""
    if size <= EXACT_SIZE:
        return size >= SIZE_STEP and size % SIZE_STEP == 0
    return size % ((1 << (size.bit_length() - 1)) // STEPS_PER_DOUBLING) == 0


def is_recorded_alignment(alignment):
    return alignment == 1 or (alignment >= LEAST_ALIGNMENT and alignment & (alignment - 1) == 0)


def merge(histograms):
    """The sum of any number of histograms; raises HistogramError if a number leaves the format's range."""
    totals = dict.fromkeys(TOTALS, 0)
    sums = {}
    for histogram in histograms:
        for name in TOTALS:
            totals[name] += histogram.totals[name]
        for row in histogram.rows:
            numbers = row.numbers[2:]
            known = sums.get(row.key)
            sums[row.key] = numbers if known is None else tuple(map(int.__add__, known, numbers))
    rows = tuple(Row(*key, *sums[key][:6], sums[key][6:]) for key in sorted(sums))
    check_sums(totals, rows)
    return Histogram(totals, rows)


def check_sums(totals, rows):
    for name, value in totals.items():
        if value >= NUMBER_LIMIT:
            raise HistogramError([f"merged histogram: {name}: {value}: must stay below 2^63"])
    for row in rows:
        for name, value in zip(COLUMNS, row.numbers):
            if value >= NUMBER_LIMIT:
                raise HistogramError([f"merged histogram: row {row.size} {row.alignment}: {name}: {value}: "
                                      "must stay below 2^63"])


def histogram_text(histogram):
    """The file's exact content; reading it gives an equal histogram."""
    lines = [FIRST_LINE]
    lines += [f"{name} {histogram.totals[name]}" for name in TOTALS]
    lines.append(COLUMNS_LINE)
    lines += [" ".join(map(str, row.numbers)) for row in histogram.rows]
    lines.append(f"end {len(histogram.rows)}")
    return "\n".join(lines) + "\n"

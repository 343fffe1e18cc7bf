"""The loop that measures: interleaved repetitions under all allocators with the order rotated, and its progress line.

Relies on the rows' own `measure`; keeps everything that it measures, also of a run that is interrupted.
"""

import sys
import time

from harness.allocators import BenchmarkError, Skipped

# Repetitions of a full run: more where a run is short and noisy; all groups together take less than half an hour.
REPETITIONS = {"micro": 11, "threads": 9, "memory": 5, "programs": 7, "tail": 7}
QUICK_REPETITIONS = 2

# Seconds of one run, with which the remaining time is reckoned until a repetition has been measured.
EXPECTED_SECONDS = {"micro": 0.08, "threads": 0.2, "memory": 0.5, "programs": 0.7, "tail": 1.0}

# A row is not repeated under an allocator that has already taken this long for it: one very slow peer must not take the
# time of all the others.
SECONDS_PER_ROW = 20

# The length of a run: long enough for a few hundred rounds of most rows, and a quick run's for some dozens.
MILLISECONDS = 40
QUICK_MILLISECONDS = 10

EXTRAS = ("series", "histogram")  # what a run may return besides numbers


class Progress:
    """Where the run is and how long it still takes, on standard error: one line on a terminal, which is written over,
    else a line for each repetition."""

    def __init__(self, repetitions, runs, stream=sys.stderr):
        self.repetitions = repetitions  # {group: how many}
        self.expected = {group: EXPECTED_SECONDS[group] * runs[group] for group in repetitions}  # of one, in seconds
        self.done = dict.fromkeys(repetitions, 0.0)
        self.stream, self.terminal = stream, stream.isatty()
        self.start = time.monotonic()

    def seconds_left(self):
        return sum(self.expected[group] * (count - self.done[group]) for group, count in self.repetitions.items())

    def line(self, group, repetition, row, allocator):
        left, spent = self.seconds_left(), time.monotonic() - self.start
        remaining = f"{left / 60:.0f} min" if left >= 60 else f"{left:.0f} s"
        return (f"[{100 * spent / max(spent + left, 1):3.0f} %] repetition {repetition + 1} of "
                f"{self.repetitions[group]}, {group} {row}, {allocator}, {remaining} left")

    def show(self, group, repetition, part, row, allocator):
        self.done[group] = repetition + part
        if self.terminal:
            self.stream.write("\r\033[K" + self.line(group, repetition, row, allocator)[:118])
            self.stream.flush()
        elif part == 0:
            print(self.line(group, repetition, row, allocator), file=self.stream)

    def finish_repetition(self, group, repetition, seconds):
        self.done[group] = repetition + 1
        self.expected[group] = seconds

    def say(self, text):
        """A line that stays."""
        print(("\r\033[K" if self.terminal else "") + text, file=self.stream)


class Measured:
    """All values of one row: for every allocator one entry for each repetition, None where it was not run."""

    def __init__(self, row):
        self.row = row
        self.samples, self.seconds, self.extras, self.skipped, self.failed = {}, {}, {}, {}, {}

    def wants(self, name):
        return name not in self.skipped and name not in self.failed and self.seconds.get(name, 0) < SECONDS_PER_ROW

    def add(self, name, values):
        numbers = {metric.key: float(values[metric.key]) for metric in self.row.metrics if metric.key in values}
        self.samples.setdefault(name, []).append(numbers)
        for key in EXTRAS:
            if values.get(key):
                self.extras.setdefault(key, {})[name] = values[key]

    def run(self, session, allocator, progress):
        """One run under one allocator."""
        if not self.wants(allocator.name):
            self.samples.setdefault(allocator.name, []).append(None)
            return
        start = time.monotonic()
        try:
            self.add(allocator.name, self.row.measure(session, allocator))
        except Skipped as reason:
            self.skipped[allocator.name] = str(reason)
            self.samples.setdefault(allocator.name, []).append(None)
        except BenchmarkError as error:
            self.failed[allocator.name] = str(error)
            self.samples.setdefault(allocator.name, []).append(None)
            progress.say(f"{self.row.group} {self.row.name}: {error}")
        self.seconds[allocator.name] = self.seconds.get(allocator.name, 0) + time.monotonic() - start


def rotate(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def measure_group(session, measured, allocators, progress, repetitions, save):
    """All repetitions of one group's rows. `save` is called after each."""
    group = measured[0].row.group
    for repetition in range(repetitions):
        start = time.monotonic()
        for index, one in enumerate(measured):
            for turn, allocator in enumerate(rotate(allocators, repetition + index)):
                part = (index + turn / len(allocators)) / len(measured)
                progress.show(group, repetition, part, one.row.name, allocator.name)
                one.run(session, allocator, progress)
        progress.finish_repetition(group, repetition, time.monotonic() - start)
        save()


def measure_all(session, rows, allocators_of, repetitions, measured, save):
    """Measures the rows group by group. Fills `measured` as it goes, so that the caller can keep what there is if it is
    interrupted. `allocators_of` gives the allocators of a group, `repetitions` their number by group."""
    of_group = {group: [Measured(row) for row in rows if row.group == group] for group in repetitions}
    progress = Progress(repetitions, {group: len(of_group[group]) * len(allocators_of(group)) for group in repetitions})
    for group, count in repetitions.items():
        measured += of_group[group]
        measure_group(session, of_group[group], allocators_of(group), progress, count, save)
    progress.say("all measured")

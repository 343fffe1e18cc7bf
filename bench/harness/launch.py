"""Runs programs under an allocator through the launcher `launch`, and reads what it and the program report.

Relies on the built drivers, and on bench/drivers/launch.c for what the report holds.
"""

import dataclasses
import os
import pathlib
import subprocess
import tempfile

from harness.allocators import BenchmarkError, Skipped

MIB = 1024 * 1024

SKIPPED_STATUS = 77

# What the launcher itself needs beyond a program's limit, until it is given up as well.
GRACE_SECONDS = 10


@dataclasses.dataclass
class Run:
    """One finished run: numbers by name, all of the standard output, and the resident memory over time."""

    values: dict[str, float]
    output: bytes
    series: list[list[float]]


class Process:
    """A program that runs under an allocator; `wait` gives what it measured. Ends the program if the caller does not
    wait for it (as a context manager)."""

    def __init__(self, allocator, command, report, popen, limit):
        self.allocator, self.command, self.report, self.popen, self.limit = allocator, command, report, popen, limit

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.kill()  # the kernel kills the traced program with the launcher
        self.popen.communicate()

    def wait(self):
        with self:
            try:
                output, errors = self.popen.communicate(timeout=self.limit + GRACE_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise BenchmarkError(f"{self.allocator.name}: the launcher hangs: {self.command}") from error
        if self.popen.returncode == SKIPPED_STATUS:
            raise Skipped(first_line(output))
        if self.popen.returncode != 0:
            said = errors.decode(errors="replace").strip()[-500:]
            raise BenchmarkError(f"{self.allocator.name}: {self.command}: status {self.popen.returncode}: {said}")
        return self.read(output)

    def read(self, output):
        values, series = {}, []
        for words in (line.split() for line in output.decode(errors="replace").splitlines()):
            if len(words) == 3 and words[0] == "allocator":
                self.allocator.check_proof(self.command[0], *words[1:])
            elif len(words) == 3 and words[0] == "series":
                series.append([float(words[1]), float(words[2]) / MIB])
            elif len(words) == 2 and is_number(words[1]):
                values[words[0]] = float(words[1])
        report = read_report(self.report)
        self.allocator.check_report(report.pop("library"))
        values.update((name, float(value)) for name, value in report.items())
        return Run(values, output, series)


class Session:
    """What the measurements of a benchmark run have in common."""

    def __init__(self, drivers, scratch, milliseconds, quick):
        self.drivers = pathlib.Path(drivers)  # the folder of the built drivers
        self.scratch = pathlib.Path(scratch)  # for inputs and temporary files
        self.milliseconds = milliseconds  # the length of a timed run
        self.quick = quick
        self.memo = {}  # whatever the groups want to make once

    def input(self, name, make):
        """The path of an input file, which `make(path)` writes the first time."""
        path = self.scratch / name
        if path not in self.memo:
            make(path)
            self.memo[path] = True
        return path

    def start(self, allocator, arguments, *, stdin=None, limit=120, environment=None, address_space=None):
        """Starts a program. `stdin` is the path of a file, `environment` what is set on top of the present one."""
        command = [str(argument) for argument in arguments]
        handle, report = tempfile.mkstemp(dir=self.scratch, prefix="report-")
        os.close(handle)
        options = ["--report", report, "--limit", str(limit)]
        if address_space:
            options += ["--address-space", str(address_space)]
        for name, value in (environment or {}).items():
            options += ["--set", f"{name}={value}"]
        if allocator.linked:
            command[0] = f"{command[0]}-static-{allocator.linked}"
        else:
            options += ["--preload", allocator.library]
        with open(stdin or os.devnull, "rb") as source:
            popen = subprocess.Popen([str(self.drivers / "launch"), *options, "--", *command], stdin=source,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return Process(allocator, command, report, popen, limit)

    def run(self, allocator, arguments, **options):
        """Runs a program to its end; the options are those of `start`."""
        return self.start(allocator, arguments, **options).wait()


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def first_line(output):
    lines = output.decode(errors="replace").splitlines()
    return lines[0] if lines else "skipped without a reason"


def read_report(path):
    """The launcher's lines `NAME VALUE`, by name; the file is not needed any more."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        report = dict(line.rstrip("\n").split(" ", 1) for line in file)
    os.unlink(path)
    return report

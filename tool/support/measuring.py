"""Measures programs: processor time, time on the clock, and peak memory.

The kernel reports a peak of resident memory that is never below what the starting process itself had, and a Python process has
10 MiB and more. So a shell starts the program, which has hardly any; afterwards it becomes a small Python process, which still
knows the shell's children and writes down what the kernel tells about them. Relies on Linux and a POSIX shell.
"""

import contextlib
import json
import os
import pathlib
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from support import preload
from support.refusal import Refused

SCRIPT = """\
python=$1 code=$2 report=$3 preload=$4 configuration=$5
shift 5
read begin idle </proc/uptime
(export LD_PRELOAD="$preload" TIERMALLOC_CONF="$configuration"; exec "$@")
status=$?
read end idle </proc/uptime
exec "$python" -I -S -c "$code" "$report" "$status" "$begin" "$end"
"""

REPORTER = """\
import json, resource, sys
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump({"status": int(sys.argv[2]), "clock": float(sys.argv[4]) - float(sys.argv[3]),
               "processor": usage.ru_utime + usage.ru_stime, "peak_rss": usage.ru_maxrss * 1024}, file)
"""

LOG_LINES_SHOWN = 10


@dataclass(frozen=True)
class Run:
    """One run: seconds of all processes together and on the clock, and the peak memory of the largest process in bytes."""

    processor: float
    clock: float
    peak_rss: int


def median_run(runs):
    """Each number's median by itself."""
    return Run(*(statistics.median(getattr(run, name) for run in runs) for name in ("processor", "clock", "peak_rss")))


class Workload:
    """A program that is run again and again, always with the same input; what it prints goes to a file."""

    def __init__(self, program, log):
        self.program, self.log = program, pathlib.Path(log)
        if shutil.which(program[0]) is None:
            raise Refused(f"{program[0]}: cannot be run: there is no such program")

    @contextlib.contextmanager
    def streams(self):
        """The program's standard streams: our input from its beginning if it is a file, else none."""
        source = "/dev/stdin" if stat.S_ISREG(os.fstat(0).st_mode) else os.devnull
        with open(source, "rb") as given, open(self.log, "wb") as log:
            yield {"stdin": given, "stdout": log, "stderr": subprocess.STDOUT}

    def check_status(self, status, library):
        if status != 0:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            raise Refused(f"{self.program[0]}: ended with status {status} on {library}; only a program that succeeds can be "
                          f"measured. The end of what it printed ({self.log}):", *last)

    def record(self, library, recorder, entries, process):
        with self.streams() as streams:
            status = preload.run(self.program, {**os.environ, **recorder.settings(library, entries)}, **streams)
        self.check_status(status, library)
        return recorder.merged(process)

    def measure(self, library, entries):
        settings = preload.settings(library, entries)
        with tempfile.TemporaryDirectory() as folder, self.streams() as streams:
            report = os.path.join(folder, "report")
            subprocess.run(["sh", "-c", SCRIPT, "sh", sys.executable, REPORTER, report, settings[preload.PRELOAD],
                            settings.get(preload.CONFIGURATION, ""), *self.program], check=True, **streams)
            with open(report, encoding="utf-8") as file:
                values = json.load(file)
        self.check_status(values.pop("status"), library)
        return Run(**values)

    def measure_interleaved(self, libraries, count, entries, progress):
        """So many runs on each library, in turns, and every other time the other way round, so that a drift of the machine
        reaches all alike. Returns a list of runs for each library."""
        runs = [[] for _ in libraries]
        for turn in range(count):
            order = range(len(libraries)) if turn % 2 == 0 else reversed(range(len(libraries)))
            progress(turn + 1)
            for index in order:
                runs[index].append(self.measure(libraries[index], entries))
        return runs

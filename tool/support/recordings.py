"""Recording a program: every process writes a file of its own into a folder. Histograms are merged; of traces one is chosen.

Relies on the library's options record:PATH and trace_pages:PATH, which put the process's number for %p, the program's name for %e and one percent
sign for two. A histogram is there whole or not at all; a trace ends where the process last wrote.
"""

import os
import pathlib
import re
import shutil
import tempfile

import histogram
from support import preload
from support.refusal import Refused


class Recorder:
    """A folder for the files of one run, beside the file that comes of them; gone at the end, unless it is kept."""

    option = "record"
    ending = "histogram"

    def __init__(self, output):
        self.output = pathlib.Path(output).absolute()
        if "," in str(self.output):
            raise Refused(f"{self.output}: recording does not work with a path that has a comma in it: commas separate the "
                          "library's options")
        self.kept = False

    def __enter__(self):
        try:
            folder = tempfile.mkdtemp(prefix=f".{self.output.name}.", dir=self.output.parent)
        except OSError as error:
            raise Refused(f"{self.output}: cannot be written: {error.strerror}") from error
        self.folder = pathlib.Path(folder)
        return self

    def __exit__(self, *_):
        if not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, library, entries, period=None):
        """The variables under which a program is recorded."""
        # Behind everything else, so that nothing overrides where the files go.
        own = [f"record_period:{period}"] if period else []
        own.append(f"{self.option}:" + str(self.folder).replace("%", "%%") + f"/%p.%e.{self.ending}")
        return preload.settings(library, [*entries, *own])

    def files(self, process=None):
        """The names of all processes' files, or of those of the programs of that name."""
        names = sorted(os.listdir(self.folder))
        pattern = re.compile(rf"[0-9]+\.(.*)\.{self.ending}", re.DOTALL)
        found = {name: match.group(1) for name in names if (match := pattern.fullmatch(name))}
        if not found:
            raise Refused(f"nothing was recorded: no process wrote a {self.ending}. A program that is linked statically, or that "
                          "has more rights than its caller, does not take the preload; one that is killed or ends by _exit "
                          "writes nothing at its end (`record --period` writes before)")
        chosen = [name for name, program in found.items() if process is None or program == process]
        if not chosen:
            known = ", ".join(sorted(set(found.values())))
            raise Refused(f"--process: {process}: no process of that name was recorded; there are {known}")
        return chosen

    def merged(self, process=None):
        """The sum of the histograms."""
        chosen = self.files(process)
        try:
            return histogram.merge(histogram.read_histogram(self.folder / name) for name in chosen)
        except histogram.HistogramError:
            # It cost a run of the program: whoever looks for the cause wants the files.
            self.kept = True
            raise


class Tracer(Recorder):
    """The same for traces of the page heap."""

    option = "trace_pages"
    ending = "trace"

    def longest(self, process=None):
        """The path of the longest trace, and how many there are."""
        chosen = self.files(process)
        return max((self.folder / name for name in chosen), key=lambda path: path.stat().st_size), len(chosen)

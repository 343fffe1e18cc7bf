"""The model of the per-CPU caches, cpu_cache.pml: Spin visits all its states. Mutants of it, which are wrong protocols,
must be found wrong, and by the harm that is named here; and what a witness denies must be possible.

Prints a line on each run: states, seconds, memory. The argument --long: the larger models alone. Relies on the compiler
of the environment variable CC, which also preprocesses, and on the program spin.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

MODEL = Path(__file__).with_name("cpu_cache.pml")
CC = shlex.split(os.environ.get("CC", "cc"))

# Depth first: breadth first, the steps that an atomic consists of would be states of their own. Partial order reduction
# brings nothing where almost every step is on global variables.
SAFETY = ("-DSAFETY", "-DNOREDUCE")
# Breadth first: the shortest error, in more memory.
SHORTEST = ("-DSAFETY", "-DNOREDUCE", "-DBFS")
# No step is marked as progress, so every cycle is an error.
CYCLES = ("-DNP", "-DNOREDUCE")

# The longest run that is followed, in steps, and what a search may take, in MiB.
DEPTH = 20_000_000 if "--long" in sys.argv else 5_000_000
MEMORY = 4000 if "--long" in sys.argv else 2000

# The usual models are searched in a second; the compiler takes three more for -O2.
OPTIMISATION = "-O2" if "--long" in sys.argv else "-O1"

MODELS = {
    "preemption and migration": "THREADS=3",
    "numbers without a slab": "THREADS=2 NUMBERS=3",
    "signals": "THREADS=2 SIGNALS",
    "a worker": "THREADS=3 WORKERS=1",
    "a worker, signals to a thread": "THREADS=2 WORKERS=1 SIGNALS",
    "a worker, signals to it": "THREADS=2 WORKERS=1 SIGNALS SIGNALLED=0 OBJECTS=2",
    "a worker, dead slots keep their contents": "THREADS=2 WORKERS=1 OBJECTS=2 HARM_ONLY",
    "two workers": "THREADS=3 WORKERS=2 OBJECTS=2",
    "limits": "THREADS=2 LIMITS OBJECTS=2",
    "limits and a worker": "THREADS=2 LIMITS WORKERS=1",
    "batches": "THREADS=2 BATCHES=3 OBJECTS=4",
    "batches and a worker": "THREADS=2 BATCHES=3 OBJECTS=4 WORKERS=1",
}

LONG_MODELS = {
    "signals, three threads": "THREADS=3 SIGNALS",
    "a worker, signals to it, three objects": "THREADS=2 WORKERS=1 SIGNALS SIGNALLED=0",
    "two workers, three objects": "THREADS=3 WORKERS=2",
    "limits, three objects": "THREADS=2 LIMITS",
    "limits and a worker, three threads, one slab": "THREADS=3 LIMITS WORKERS=1 SLABS=1 OBJECTS=2 CAPACITY=2",
    "numbers without a slab, three threads": "THREADS=3 NUMBERS=3",
    "batches, three threads": "THREADS=3 BATCHES=3 OBJECTS=4",
    "batches and a worker, three threads": "THREADS=3 BATCHES=3 WORKERS=1",
    "everything": "THREADS=2 LIMITS BATCHES=3 WORKERS=1 SIGNALS CAPACITY=2",
}

# Every run of these must end, with all threads at their end.
ENDING_MODELS = {
    "every run ends": "THREADS=2 ENDING=2 WORKERS=1 SIGNALS OBJECTS=2",
    "every run ends, signals to the worker": "THREADS=2 ENDING=2 WORKERS=1 SIGNALS SIGNALLED=0 OBJECTS=2",
    "every run ends, with limits and batches": "THREADS=2 ENDING=2 WORKERS=1 LIMITS BATCHES=3",
}

# The assertions that tell of harm, as Spin prints them.
HARM = {
    "object": r"\(\(seen&|\(seen==\(\(2<<",
    "capacity": r"\(seen==\d",
    "top above limit": r"top<=slabs\[i\]\.limit",
    "limit above room": r"limit<=",
    "closed cache": r"\.top==0\)&&",
}

TWO = "THREADS=2 OBJECTS=2"
WORKER = "THREADS=2 WORKERS=1 OBJECTS=2"
WORKERS = "THREADS=3 WORKERS=2 SLABS=1 OBJECTS=2"
LIMITS = "THREADS=2 LIMITS OBJECTS=2"

# Name, model, the harm that it must do.
MUTANTS = [
    ("EARLY_NUMBER", TWO, "object"),
    ("LATE_RANGE", TWO, "object"),
    ("COMMIT_OUTSIDE", TWO, "object"),
    ("RESTART_UNARMED", TWO, "object"),
    ("SIGNAL_WITHOUT_ABORT", f"{TWO} SIGNALS", "object"),
    ("NO_FENCE", WORKER, "object"),
    ("FENCE_FIRST", WORKER, "object"),
    ("EARLY_PUT_BACK", WORKER, "object"),
    ("EARLY_UNCLAIM", WORKERS, "object"),
    ("NO_CLAIM", WORKERS, "object"),
    ("PUSH_ON_FULL", "THREADS=2 LIMITS", "top above limit"),
    ("LIMIT_IN_PLACE", f"{LIMITS} WORKERS=1 STACKS_ONLY", "top above limit"),
    ("LIMIT_IN_PLACE", f"{LIMITS} WORKERS=1", "capacity"),
    ("SHRINK_BELOW_TOP", LIMITS, "top above limit"),
    ("SET_LIMIT_OF_ANY", LIMITS, "limit above room"),
    ("SET_LIMIT_FROM_ANY", LIMITS, "capacity"),
    ("SET_LIMIT_OF_CLOSED", f"{LIMITS} WORKERS=1", "closed cache"),
]

# Name, model, the assertion that must fail.
WITNESSES = [
    ("ABORT_AT_COMMIT", TWO, r"\]!=8\)"),
    ("COMMIT_AFTER_DUMMY", WORKER, r"slab_table\[slab\[me\]\]==slab\[me\]"),
]


def setUpModule():
    if not shutil.which("spin"):
        raise unittest.SkipTest("spin is not installed")


class Run:
    """One search: `error` is the assertion that failed or the kind of error, None if there is none."""

    def __init__(self, definitions, search=SAFETY, optimisation=OPTIMISATION):
        with tempfile.TemporaryDirectory() as folder:
            self.folder = folder
            options = [f"-D{definition}" for definition in definitions.split()]
            self.output_of("spin", f"-P{shlex.join(CC)} -E -x c", "-a", "-o3", *options, str(MODEL))
            self.output_of(*CC, optimisation, "-w", *search, f"-DMEMLIM={MEMORY}", "-o", "pan", "pan.c")
            depth = [] if search is SHORTEST else [f"-m{DEPTH}"]
            cycles = ["-l"] if search is CYCLES else []
            self.output = self.output_of("./pan", *depth, *cycles)
            self.steps = self.steps_to_error(options)
        found = re.search(r"^pan:\d+: (.*) \(at depth", self.output, re.MULTILINE)
        self.error = found[1] if found else None
        self.states = int(self.number(r"^ *(\d+) states, stored"))
        self.seconds = float(self.number(r"elapsed time (\S+) seconds"))
        self.memory = float(self.number(r"^ *(\S+)\ttotal actual memory usage"))
        self.errors = int(self.number(r"errors: (\d+)"))
        self.complete = not re.search(r"not completed|too small|MEMLIM bound|out of memory", self.output)
        # The lines of the model that no run reaches; a process that goes on for ever does not reach its end.
        lines = re.findall(r"^\t\S+\.pml:\d+, state .*$", self.output, re.MULTILINE)
        self.unreached = [line for line in lines if '"-end-"' not in line]

    def run(self, command):
        return subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def output_of(self, *command):
        result = self.run(command)
        if result.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: status {result.returncode}\n{result.stdout}")
        return result.stdout

    def steps_to_error(self, options):
        """Spin's listing of the steps to the error, from the trail that the search has left; empty if there is none."""
        trail = Path(self.folder, f"{MODEL.name}.trail")
        if not trail.exists():
            return ""
        command = ["spin", f"-P{shlex.join(CC)} -E -x c", "-k", str(trail), "-p", *options, str(MODEL)]
        return self.run(command).stdout

    def number(self, pattern):
        found = re.search(pattern, self.output, re.MULTILINE)
        if not found:
            raise AssertionError(f"no {pattern} in\n{self.output}")
        return found[1]

    def report(self, name):
        figures = f"{self.states} states, {self.seconds} s, {self.memory:.0f} MiB"
        print(f"{name}: {figures}: {self.error or 'no error'}", flush=True)


class Models(unittest.TestCase):
    def verify(self, name, definitions, search=SAFETY, coverage=True):
        with self.subTest(name):
            run = Run(definitions, search)
            run.report(name)
            if run.error and search is SAFETY:
                self.fail(Run(definitions, SHORTEST).steps)
            self.assertIsNone(run.error, run.steps)
            self.assertEqual(run.errors, 0, run.output)
            self.assertTrue(run.complete, run.output)
            if coverage:
                self.assertEqual(run.unreached, [], "these steps never happen")

    def test_models(self):
        for name, definitions in MODELS.items():
            self.verify(name, definitions)

    def test_ending(self):
        for name, definitions in ENDING_MODELS.items():
            self.verify(f"{name}: no deadlock", definitions, coverage=False)
            self.verify(f"{name}: no cycle", definitions, CYCLES, coverage=False)


class LongModels(Models):
    def test_models(self):
        for name, definitions in LONG_MODELS.items():
            self.verify(name, definitions)

    def test_ending(self):
        self.verify("every run ends, three threads", "THREADS=3 ENDING=2 WORKERS=1 OBJECTS=2", coverage=False)


class WrongModels(unittest.TestCase):
    def assert_finds(self, name, definitions, pattern, search=SHORTEST):
        with self.subTest(name):
            # These are short: the compiler takes longer.
            run = Run(definitions, search, optimisation="-O0")
            run.report(name)
            self.assertEqual(run.errors, 1, "no error found")
            self.assertRegex(run.error or run.output, pattern)

    def test_mutants(self):
        for name, definitions, harm in MUTANTS:
            self.assert_finds(f"{name}, harm to {harm}", f"{definitions} HARM_ONLY MUTANT_{name}", HARM[harm])

    def test_mutant_that_waits(self):
        self.assert_finds("WAIT", f"{ENDING_MODELS['every run ends']} MUTANT_WAIT", "non-progress cycle", CYCLES)

    def test_witnesses(self):
        for name, definitions, pattern in WITNESSES:
            self.assert_finds(name, f"{definitions} WITNESS_{name}", pattern)

    def test_every_mutant_and_witness_is_run(self):
        texts = "".join(path.read_text() for path in MODEL.parent.glob("*.pml"))
        named = {("MUTANT", name) for name, _, _ in MUTANTS} | {("WITNESS", name) for name, _, _ in WITNESSES}
        named.add(("MUTANT", "WAIT"))
        self.assertEqual(set(re.findall(r"#ifdef (MUTANT|WITNESS)_(\w+)", texts)), named)


if __name__ == "__main__":
    if "--long" in sys.argv:
        sys.argv.remove("--long")
        unittest.main(defaultTest=["LongModels"])
    else:
        unittest.main(defaultTest=["Models", "WrongModels"])

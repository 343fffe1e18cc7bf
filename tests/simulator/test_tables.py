"""bench/simulate.py: its tables, files and comparisons, on small traces."""

import csv
import gzip
import json
import os
import subprocess
import sys
import unittest

import support
from support import SimulatorTest

SCRIPT = support.SOURCE / "bench" / "simulate.py"


class Tables(SimulatorTest):
    def run_script(self, *arguments):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], cwd=self.folder, env=environment,
                              capture_output=True, text=True, check=False, timeout=support.HANG_LIMIT)

    def succeed(self, *arguments):
        result = self.run_script(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def run_small(self, *arguments):
        return self.succeed("run", "--programs", support.PROGRAMS, "--scale", "0.02", *arguments)

    def test_every_value_of_every_run(self):
        self.run_small("--json", "all.json", "--csv", "series", "churn", "steady")
        found = json.loads((self.folder / "all.json").read_text(encoding="utf-8"))["results"]
        self.assertEqual([(one["trace"], one["heap"]) for one in found],
                         [(trace, heap) for trace in ("churn", "steady") for heap in ("tiermalloc", "first-fit", "best-fit")])
        names = {path.name for path in (self.folder / "series").iterdir()}
        self.assertEqual(names, {f"{one['trace']}.{one['heap']}.csv" for one in found})
        with open(self.folder / "series" / "churn.tiermalloc.csv", newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        self.assertEqual(lines[0][:4], ["event", "milliseconds", "used", "resident"])
        self.assertEqual(int(lines[-1][0]), found[0]["events"])

    def test_both_forms(self):
        text = self.run_small("churn")
        for word in ("tiermalloc: memory", "tiermalloc: system", "own time", "occupied/used", "churn"):
            self.assertIn(word, text)
        self.assertIn("| trace | peak used MiB |", self.run_small("--markdown", "churn"))

    def test_a_packed_file(self):
        path = self.generate("churn", 0.02)
        with gzip.open(self.folder / "mine.trace.gz", "wb") as file:
            file.write(path.read_bytes())
        self.assertIn("\nmine ", self.run_small("mine.trace.gz"))

    def test_comparing(self):
        self.run_small("--json", "a.json", "churn")
        self.assertIn("3 runs are in both", self.succeed("compare", "a.json", "a.json"))
        found = json.loads((self.folder / "a.json").read_text(encoding="utf-8"))
        found["results"][0]["end"]["resident"] *= 2
        (self.folder / "b.json").write_text(json.dumps(found), encoding="utf-8")
        line = [line for line in self.succeed("compare", "a.json", "b.json").splitlines() if "tiermalloc" in line][0].split()
        self.assertEqual(line[2:5], ["1.000", "2.000", "1.000"])

    def test_refusals(self):
        small = ("--programs", support.PROGRAMS)
        (self.folder / "bad.json").write_text("[]", encoding="utf-8")
        (self.folder / "bad.gz").write_bytes(b"x")
        for arguments, says in ((("run", *small, "absent"), "absent: neither a file nor a workload"),
                                (("run", *small, "bad.json"), "not a page trace"),
                                (("run", *small, "bad.gz"), "bad.gz: cannot be unpacked"),
                                (("run", "--programs", "absent"), "no simulator in absent"),
                                (("run", *small, "--heaps", "other", "churn"), "usage: simulate"),
                                (("compare", "bad.json", "bad.json"), "not what `run --json` writes"),
                                (("record", "folder", "other"), "other: no such program")):
            with self.subTest(says=says):
                result = self.run_script(*arguments)
                self.assertEqual((result.returncode, result.stdout), (1, ""))
                self.assertIn(says, result.stderr)


if __name__ == "__main__":
    unittest.main()

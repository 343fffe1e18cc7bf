"""The benchmarks still work: every row runs, runs prove their allocator, the arithmetic is right. No timing is judged.

Relies on TIERMALLOC_SHARED (our library) and TIERMALLOC_BUILD (the build directory with the benchmark programs).
"""

import os
import pathlib
import subprocess
import sys
import unittest

import allocators
import memory
import run
import table

LIBRARY = os.environ["TIERMALLOC_SHARED"]
PROGRAMS = pathlib.Path(os.environ["TIERMALLOC_BUILD"]) / "bench"
MICRO, MEMORY, HELLO = (str(PROGRAMS / name) for name in ("micro", "memory", "hello"))


class Arithmetic(unittest.TestCase):
    def test_fastest_peer_is_the_one_with_the_least_median(self):
        samples = {"ours": [2, 2, 2], "a": [1, 9, 9], "b": [4, 4, 4]}
        result = table.compare(samples, "ours", ["a", "b"])
        self.assertEqual(result["fastest"], "b")
        self.assertEqual(result["ratio"], 0.5)

    def test_drift_of_the_machine_does_not_touch_paired_ratios(self):
        samples = {"ours": [1, 2, 4], "a": [2, 4, 8]}
        result = table.compare(samples, "ours", ["a"])
        self.assertEqual((result["paired"], result["spread"]), (0.5, 0.0))

    def test_spread_is_half_the_distance_of_the_quartiles(self):
        self.assertAlmostEqual(table.spread([8, 9, 10, 11, 12]), 0.1)

    def test_marks(self):
        self.assertEqual([table.mark(value, 0.8) for value in (0.5, 0.8, 0.83, 0.9)], ["", "", "~", "!"])

    def test_goals(self):
        goals = {"pair/16": 0.8, "pair/65536": 0.8, "pair/131072": 1.0, "batch-random/64": 1.0}
        self.assertEqual({row: run.goal_of(row) for row in goals}, goals)

    def test_goal_beside_glibc(self):
        value = memory.Value("x", "x", "MiB", lambda glibc: 2 * glibc)
        self.assertEqual(value.goal_beside(3), 6)
        self.assertIsNone(value.goal_beside(None))


class Proof(unittest.TestCase):
    def test_a_library_without_malloc_is_found_out(self):
        other = allocators.find_library("libm.so.6")
        self.assertIsNotNone(other, "no libm.so.6 on this machine")
        with self.assertRaisesRegex(allocators.BenchmarkError, "malloc came from"):
            allocators.Allocator("other", other).run([MICRO, "pair/16", "1"])

    def test_a_preload_that_cannot_be_loaded_is_found_out(self):
        with self.assertRaisesRegex(allocators.BenchmarkError, "malloc came from"):
            allocators.Allocator("missing", "/does/not/exist.so").run([MICRO, "pair/16", "1"])

    def test_the_c_library_is_proven_without_preload(self):
        os.environ["LD_PRELOAD"] = LIBRARY  # must not reach the program
        try:
            values = allocators.Allocator(allocators.BASELINE, None).run([MICRO, "pair/16", "1"])
        finally:
            del os.environ["LD_PRELOAD"]
        self.assertGreater(values["ns"], 0)


class Rows(unittest.TestCase):
    ours = allocators.Allocator(allocators.OURS, LIBRARY)

    def test_every_row_of_micro(self):
        rows = run.list_rows(MICRO, "")
        self.assertEqual(len(rows), len(set(rows)))
        for row in rows:
            with self.subTest(row=row):
                try:
                    self.assertGreater(self.ours.run([MICRO, row, "1"])["ns"], 0)
                except allocators.Skipped as reason:
                    print(f"{row}: {reason}", file=sys.stderr)

    def test_every_memory_measurement(self):
        programs = {"memory": MEMORY, "hello": HELLO}
        for measurement in memory.MEASUREMENTS:
            with self.subTest(measurement=measurement.name):
                values = memory.run_once(measurement, self.ours, programs)
                self.assertLessEqual({value.key for value in measurement.values}, set(values))

    def test_unknown_row_is_a_usage_error(self):
        result = subprocess.run([MICRO, "no/1", "1"], capture_output=True, check=False)
        self.assertEqual(result.returncode, 2)


class Drivers(unittest.TestCase):
    def run_driver(self, name, *arguments):
        script = pathlib.Path(__file__).with_name(name)
        command = [sys.executable, str(script), "--reps", "1", "--allocators", f"ours={LIBRARY}", "glibc", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_run_prints_a_table_with_ratios(self):
        result = self.run_driver("run.py", "--program", MICRO, "--milliseconds", "1", "--rows", "^pair/64$")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^row +ours +glibc +fastest +ratio")
        self.assertRegex(result.stdout, r"(?m)^pair/64 +[0-9.]+ +[0-9.]+ +glibc +[0-9.]+")

    def test_memory_prints_a_table_with_goals(self):
        result = self.run_driver("memory.py", "--program", MEMORY, "--hello", HELLO, "--rows", "^hello$")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^hello: resident +MiB +[0-9.]+ +[0-9.]+ +glibc: ")

    def test_no_row_matches(self):
        result = self.run_driver("run.py", "--program", MICRO, "--rows", "^nothing$")
        self.assertEqual(result.returncode, 2)
        self.assertIn("no row matches", result.stderr)


if __name__ == "__main__":
    unittest.main()

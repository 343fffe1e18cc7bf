"""The benchmarks still work: every row runs, runs prove their allocator, the arithmetic is right. No timing is judged.

Relies on TIERMALLOC_SHARED (our library) and TIERMALLOC_BUILD (the build folder with the drivers).
"""

import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import bench
import groups
from harness import allocators, compare, launch, measure, results, summary, table
from harness.allocators import Allocator, BenchmarkError, Skipped
from harness.rows import GROUPS, Metric, Row

LIBRARY = os.environ["TIERMALLOC_SHARED"]
DRIVERS = pathlib.Path(os.environ["TIERMALLOC_BUILD"]) / "bench" / "drivers"
OURS = Allocator(allocators.OURS, LIBRARY)

TIME = {"key": "ns", "unit": "ns", "kind": "time", "main": True, "goal": None, "alone": True}
PEAK = {"key": "peak_rss", "unit": "MiB", "kind": "memory", "main": True, "goal": None, "alone": True}

NAMES = ("tiermalloc", "glibc", "jemalloc", "gperftools", "mimalloc")


def made_up_row(metric, group="micro", name="pair/64", **series):
    """A row with one metric, and for each allocator its values."""
    samples = {allocator: [{metric["key"]: value} for value in values] for allocator, values in series.items()}
    return {"group": group, "name": name, "threads": 1, "metrics": [metric], "samples": samples, "series": {},
            "histogram": {}, "skipped": {}, "failed": {}}


def made_up_results(*rows, busy=0.0):
    described = {"library": "/x.so", "linked": False, "sha256": "0", "package": None}
    return {"format": results.FORMAT, "ours": NAMES[0], "peers": list(NAMES[1:]),
            "allocators": dict.fromkeys(NAMES, described),
            "machine": {"processor": "x",
                        "cores": 2, "memory_mib": 1, "kernel": "6", "date": "2000", "busy_before": busy},
            "repository": {"commit": "0", "dirty": False},
            "run": {"quick": False, "milliseconds": 1, "repetitions": {}, "finished": True}, "rows": list(rows)}


def verdict_of(metric, **series):
    return summary.judge(made_up_row(metric, **series), metric, NAMES[0], NAMES[1:])


class TimeIsJudged(unittest.TestCase):
    def test_the_best_peer_is_the_one_with_the_least_median(self):
        verdict = verdict_of(TIME, tiermalloc=[2, 2, 2], glibc=[1, 9, 9], mimalloc=[4, 4, 4])
        self.assertEqual((verdict.best, verdict.ratio, verdict.behind), ("mimalloc", 0.5, None))

    def test_drift_of_the_machine_does_not_touch_paired_ratios(self):
        verdict = verdict_of(TIME, tiermalloc=[1, 2, 4], glibc=[2, 4, 8])
        self.assertEqual((verdict.ratio, verdict.spread), (0.5, 0.0))

    def test_spread_is_half_the_distance_of_the_quartiles(self):
        self.assertAlmostEqual(summary.spread([8, 9, 10, 11, 12]), 0.1)

    def test_behind_means_beyond_the_noise(self):
        self.assertIsNone(verdict_of(TIME, tiermalloc=[1.02] * 3, glibc=[1] * 3).behind)
        self.assertIsNotNone(verdict_of(TIME, tiermalloc=[1.03] * 3, glibc=[1] * 3).behind)
        self.assertIsNone(verdict_of(TIME, tiermalloc=[0.9, 1.03, 1.2], glibc=[1] * 3).behind)

    def test_repetitions_that_are_missing_are_no_pairs(self):
        row = made_up_row(TIME, tiermalloc=[2, 2, 9], glibc=[1, 1, 1])
        row["samples"]["tiermalloc"][2] = None
        row["samples"]["glibc"][0] = None
        self.assertEqual(summary.paired_ratios(row, "ns", "tiermalloc", "glibc"), [2])

    def test_a_goal_of_its_own_takes_the_place_of_the_peers(self):
        goal = TIME | {"goal": 3}
        self.assertIsNone(verdict_of(goal, tiermalloc=[3.0], glibc=[1]).behind)
        self.assertIn("goal", verdict_of(goal, tiermalloc=[3.2], glibc=[9]).behind)

    def test_what_is_only_told_is_not_judged(self):
        self.assertIsNone(verdict_of(TIME | {"kind": "info"}, tiermalloc=[9], glibc=[1]).behind)


class MemoryIsJudged(unittest.TestCase):
    def test_glibc_is_no_peer(self):
        verdict = verdict_of(PEAK, tiermalloc=[5], glibc=[4.5], jemalloc=[6], mimalloc=[5])
        self.assertEqual((verdict.best, verdict.behind), ("mimalloc", None))

    def test_one_percent_and_64_kib_are_noise(self):
        for mine, behind in ((100.9, False), (101.1, True)):
            self.assertEqual(bool(verdict_of(PEAK, tiermalloc=[mine], mimalloc=[100]).behind), behind)
        for mine, behind in ((1.06, False), (1.07, True)):
            self.assertEqual(bool(verdict_of(PEAK, tiermalloc=[mine], mimalloc=[1]).behind), behind)

    def test_glibc_has_a_goal_of_its_own(self):
        for mine, behind in ((12.0, False), (12.1, True)):
            verdict = verdict_of(PEAK, tiermalloc=[mine], glibc=[10], mimalloc=[20])
            self.assertEqual(verdict.behind is not None, behind)

    def test_units(self):
        kib = PEAK | {"unit": "KiB"}
        self.assertIsNone(verdict_of(kib, tiermalloc=[160], mimalloc=[100]).behind)
        self.assertIsNotNone(verdict_of(PEAK | {"unit": "faults"}, tiermalloc=[160], mimalloc=[100]).behind)


class ResultsAreSummedUp(unittest.TestCase):
    def test_geometric_means_and_their_goals(self):
        found = made_up_results(made_up_row(TIME, tiermalloc=[0.5], glibc=[1]),
                                made_up_row(TIME, group="threads", name="b", tiermalloc=[2], glibc=[1]))
        verdicts = summary.judge_all(found)
        self.assertAlmostEqual(summary.geometric_mean(summary.main_ratios(verdicts, "time")), 1.0)
        self.assertAlmostEqual(summary.geometric_mean(summary.main_ratios(verdicts, "time", "micro")), 0.5)
        missed = summary.missed_goals(verdicts)
        self.assertEqual(len(missed), 2, missed)
        self.assertIn("threads b: ns: 2.00 of glibc", missed)

    def test_a_metric_that_is_not_the_main_one_stays_out_of_the_mean(self):
        found = made_up_results(made_up_row(TIME | {"main": False}, tiermalloc=[2], glibc=[1]))
        self.assertEqual(summary.main_ratios(summary.judge_all(found), "time"), [])

    def test_noise_is_warned_of(self):
        noisy = made_up_results(made_up_row(TIME, tiermalloc=[1, 2, 3], glibc=[1, 1, 1]), busy=0.5)
        self.assertEqual(len(summary.noise_warnings(noisy, summary.judge_all(noisy))), 2)
        quiet = made_up_results(made_up_row(TIME, tiermalloc=[1, 1, 1], glibc=[1, 1, 1]), busy=0.3)
        self.assertEqual(summary.noise_warnings(quiet, summary.judge_all(quiet)), [])

    def test_rows_behind_are_named_beneath_the_table(self):
        found = made_up_results(made_up_row(TIME, tiermalloc=[2], glibc=[1]))
        text = table.terminal(found, summary.judge_all(found))
        self.assertRegex(text, r"(?m)^pair/64 +ns +2.00 +1.00 +glibc +2.00 +0% +! 2.00 of glibc$")
        self.assertIn("behind: micro pair/64: ns: 2.00 of glibc", text)


class ChangesAreFound(unittest.TestCase):
    def verdicts(self, before, after):
        pair = [made_up_results(made_up_row(TIME, **series)) for series in (before, after)]
        return [one.verdict for one in compare.changes(*pair, NAMES[0])]

    def test_slower_and_faster(self):
        self.assertEqual(self.verdicts({"tiermalloc": [1, 1, 1]}, {"tiermalloc": [1.1] * 3}), [1])
        self.assertEqual(self.verdicts({"tiermalloc": [1, 1, 1]}, {"tiermalloc": [0.9] * 3}), [-1])
        self.assertEqual(self.verdicts({"tiermalloc": [1, 1, 1]}, {"tiermalloc": [1.01] * 3}), [0])

    def test_the_noise_of_both_is_allowed(self):
        self.assertEqual(self.verdicts({"tiermalloc": [0.9, 1, 1.1]}, {"tiermalloc": [1.0, 1.06, 1.1]}), [0])

    def test_a_slower_machine_is_no_slower_allocator(self):
        slower = {"tiermalloc": [2, 2], "glibc": [6, 6], "jemalloc": [4, 4]}
        self.assertEqual(self.verdicts({"tiermalloc": [1, 1], "glibc": [3, 3], "jemalloc": [2, 2]}, slower), [0])

    def test_memory(self):
        for before, after, verdict in ((10, 10.05, 0), (10, 10.2, 1), (1, 1.05, 0), (1, 1.07, 1), (10, 9.8, -1)):
            pair = [made_up_results(made_up_row(PEAK, tiermalloc=[value])) for value in (before, after)]
            self.assertEqual([one.verdict for one in compare.changes(*pair, NAMES[0])], [verdict], after)


class WithSession(unittest.TestCase):
    """Tests that run programs."""

    def setUp(self):
        scratch = tempfile.mkdtemp(prefix="bench-")
        self.addCleanup(shutil.rmtree, scratch)
        self.scratch = pathlib.Path(scratch)
        self.session = launch.Session(DRIVERS, scratch, milliseconds=1, quick=True)

    def micro(self, allocator):
        return self.session.run(allocator, [DRIVERS / "micro", "pair/64", "1"])


class Proof(WithSession):
    def test_a_library_without_malloc_is_found_out(self):
        other = allocators.find_library("libm.so.6")
        self.assertIsNotNone(other, "no libm.so.6 on this machine")
        with self.assertRaisesRegex(BenchmarkError, "malloc came from"):
            self.micro(Allocator("other", other))

    def test_a_preload_that_cannot_be_loaded_is_found_out(self):
        broken = self.scratch / "broken.so"
        broken.write_text("no library\n")
        with self.assertRaisesRegex(BenchmarkError, "was not loaded"):
            self.session.run(Allocator("broken", str(broken)), ["true"])
        with self.assertRaisesRegex(BenchmarkError, "No such file"):
            self.session.run(Allocator("missing", str(self.scratch / "missing.so")), ["true"])

    def test_a_driver_without_the_linked_allocator_is_found_out(self):
        shutil.copy(DRIVERS / "micro", self.scratch / "micro-static-jemalloc")
        with self.assertRaisesRegex(BenchmarkError, "malloc came from"):
            self.session.run(Allocator("linked", "unused", "jemalloc"), [self.scratch / "micro", "pair/64", "1"])

    def test_every_allocator_found_is_proven(self):
        for allocator in allocators.find_allocators(LIBRARY)[0]:
            with self.subTest(allocator=allocator.name):
                self.assertGreater(self.micro(allocator).values["ns"], 0)


class Launcher(WithSession):
    def test_settings_of_allocators_do_not_reach_the_program(self):
        settings = {"LD_PRELOAD": LIBRARY, "TIERMALLOC_CONF": "stats_print:true", "MALLOC_CONF": "x", "OTHER": "y"}
        with unittest.mock.patch.dict(os.environ, settings):
            run = self.session.run(allocators.baseline(), ["env"], environment={"TIERMALLOC_CONF": "chosen"})
        self.assertNotIn(LIBRARY.encode(), run.output)
        self.assertNotIn(b"MALLOC_CONF=x", run.output)
        self.assertIn(b"OTHER=y", run.output)
        self.assertIn(b"TIERMALLOC_CONF=chosen", run.output)

    def test_peak_memory_is_the_programs_own(self):
        command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
        self.assertGreater(self.session.run(OURS, command).values["peak_rss_bytes"], 64 << 20)
        self.assertLess(self.session.run(OURS, ["true"]).values["peak_rss_bytes"], 16 << 20)

    def test_processor_time_of_children_counts(self):
        loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        values = self.session.run(OURS, ["sh", "-c", f"sh -c '{loop}'; true"]).values
        self.assertGreater(values["user_ns"] + values["system_ns"], 5e6)

    def test_what_the_program_prints(self):
        run = self.session.run(OURS, ["printf", r"ns 2.5\nseries 0.1 1048576\nno number\nuser_ns 1\n"])
        self.assertEqual((run.values["ns"], run.series), (2.5, [[0.1, 1.0]]))
        self.assertNotEqual(run.values["user_ns"], 1, "the report counts")

    def test_standard_input_is_a_file(self):
        path = self.session.input("lines", lambda path: path.write_text("one\ntwo\n"))
        self.assertEqual(self.session.run(OURS, ["cat"], stdin=path).output, b"one\ntwo\n")

    def test_a_program_that_fails(self):
        with self.assertRaisesRegex(BenchmarkError, "status 3: oh"):
            self.session.run(OURS, ["sh", "-c", "echo oh >&2; exit 3"])
        with self.assertRaisesRegex(BenchmarkError, "status 139"):
            self.session.run(OURS, ["sh", "-c", "kill -SEGV $$"])
        with self.assertRaisesRegex(BenchmarkError, "cannot be run"):
            self.session.run(OURS, ["/does/not/exist"])

    def test_a_program_that_is_skipped(self):
        with self.assertRaisesRegex(Skipped, "^one processor$"):
            self.session.run(OURS, ["sh", "-c", "echo one processor; echo more; exit 77"])

    def test_a_program_that_takes_too_long(self):
        with self.assertRaisesRegex(BenchmarkError, "still running after 1 s"):
            self.session.run(OURS, ["sh", "-c", "sleep 30; true"], limit=1)

    def test_a_limit_on_the_address_space(self):
        command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"]
        with self.assertRaisesRegex(BenchmarkError, "status 1"):
            self.session.run(OURS, command, address_space=128 << 20)


class Loop(WithSession):
    def measured(self, function, repetitions):
        one = measure.Measured(Row("micro", "x", (Metric("ns", "ns", "time"),), function))
        progress = measure.Progress({"micro": repetitions}, {"micro": 2}, io.StringIO())
        measure.measure_group(self.session, [one], [OURS, allocators.baseline()], progress, repetitions, lambda: None)
        return one

    def test_the_order_rotates(self):
        order = []
        self.measured(lambda session, allocator: order.append(allocator.name) or {"ns": 1}, 2)
        self.assertEqual(order, ["tiermalloc", "glibc", "glibc", "tiermalloc"])

    def test_a_failure_and_a_skip_are_kept_and_not_repeated(self):
        for error, kept in ((BenchmarkError, "failed"), (Skipped, "skipped")):
            calls = []

            def function(_, allocator):
                calls.append(allocator.name)
                if allocator is OURS:
                    raise error("why")
                return {"ns": 2}

            one = self.measured(function, 3)
            self.assertEqual((calls.count("tiermalloc"), calls.count("glibc")), (1, 3))
            self.assertEqual(getattr(one, kept), {"tiermalloc": "why"})
            self.assertEqual(one.samples, {"tiermalloc": [None] * 3, "glibc": [{"ns": 2.0}] * 3})


class Rows(WithSession):
    def test_names(self):
        rows = groups.collect_rows()
        names = [(row.group, row.name) for row in rows]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({row.group for row in rows}, set(GROUPS))
        for row in rows:
            self.assertLessEqual(sum(metric.kind == "time" and metric.main for metric in row.metrics), 1, row.name)
            self.assertIn(row.threads, (1, *(int(part) for part in row.name.split("@")[1:])), row.name)

    def test_every_row_runs(self):
        for row in groups.collect_rows():
            with self.subTest(group=row.group, row=row.name):
                try:
                    values = row.measure(self.session, OURS)
                except Skipped as reason:
                    print(f"skipped: {row.group} {row.name}: {reason}", file=sys.stderr)
                    continue
                for metric in row.metrics:
                    self.assertGreaterEqual(float(values[metric.key]), 0, metric.key)

    def test_an_unknown_row_of_a_driver_is_a_usage_error(self):
        for name in ("micro", "threads", "tail"):
            result = subprocess.run([DRIVERS / name, "no/1", "1"], capture_output=True, check=False)
            self.assertEqual(result.returncode, 2, name)


class Command(unittest.TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp(prefix="bench-")
        self.addCleanup(shutil.rmtree, folder)
        self.folder = pathlib.Path(folder)

    def bench(self, *arguments):
        command = [sys.executable, "-B", bench.__file__, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def run_pair(self, folder):
        return self.bench("--groups", "micro", "--rows", "^pair/64$", "--quick", "--reps", 2, "--drivers", DRIVERS,
                          "--output", folder, "--allocators", f"tiermalloc={LIBRARY}", "glibc")

    def test_run_and_report(self):
        result = self.run_pair(self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^pair/64 +ns +[0-9.]+ +[0-9.]+ +glibc +[0-9.]+")
        self.assertRegex(result.stderr, r"(?m)^\[ +\d+ %\] repetition 2 of 2, micro pair/64, ")
        found = results.read(self.folder)
        self.assertEqual([len(values) for values in found["rows"][0]["samples"].values()], [2, 2])
        self.assertTrue(found["run"]["finished"])
        markdown = (self.folder / "tables.md").read_text()
        (self.folder / "tables.md").unlink()
        report = self.bench("report", self.folder)
        self.assertEqual(report.returncode, 0, report.stderr)
        self.assertEqual((self.folder / "tables.md").read_text(), markdown)
        self.assertEqual(report.stdout.splitlines(), result.stdout.splitlines()[:-1])

    def test_plots(self):
        self.run_pair(self.folder)
        drawn = sorted(path.name for path in self.folder.glob("*.svg"))
        if not drawn and "matplotlib is missing" in self.bench("report", self.folder).stderr:
            self.skipTest("no matplotlib")
        self.assertEqual(drawn, ["micro-memory.svg", "micro-time.svg"])
        before = (self.folder / "micro-time.svg").read_bytes()
        self.bench("report", self.folder)
        self.assertEqual((self.folder / "micro-time.svg").read_bytes(), before)

    def test_compare(self):
        for name, nanoseconds in (("before", 1), ("after", 2)):
            (self.folder / name).mkdir()
            row = made_up_row(TIME, tiermalloc=[nanoseconds] * 3, glibc=[1] * 3)
            results.write(self.folder / name, made_up_results(row))
        slower = self.bench("compare", self.folder / "before", self.folder / "after" / "results.json")
        self.assertEqual(slower.returncode, 1, slower.stderr)
        self.assertIn("1 slower or larger beyond the noise", slower.stdout)
        self.assertRegex(slower.stdout, r"(?m)^micro pair/64 +ns +1.00 +2.00 +2.00 +1.00 +2.00 +2%$")
        self.assertEqual(self.bench("compare", self.folder / "after", self.folder / "before").returncode, 0)

    def test_check_tells_missed_goals(self):
        row = made_up_row(TIME, tiermalloc=[2], glibc=[1])
        with unittest.mock.patch.object(bench, "write_report", lambda *_: summary.judge_all(made_up_results(row))):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                arguments = ["--rows", "^pair/64$", "--quick", "--reps", "1", "--drivers", str(DRIVERS), "--output",
                             str(self.folder), "--allocators", f"tiermalloc={LIBRARY}"]
                self.assertEqual(bench.main(arguments), 0)
                self.assertEqual(bench.main([*arguments, "--check"]), 1)

    def test_list(self):
        listed = self.bench("list", "--groups", "memory,micro", "--rows", "^(pair/64|hello|larson@2)$")
        self.assertEqual(listed.stdout.split(), ["micro", "pair/64", "memory", "hello"])

    def test_usage_errors(self):
        for arguments, said in ((["--rows", "^nothing$"], "no row matches"), (["--groups", "nothing"], "no group"),
                                (["--rows", "("], "'\\('"), (["--reps", "0"], "'0'"), (["--nothing"], "--nothing"),
                                (["--allocators", "x=/does/not/exist"], "must be NAME=PATH"),
                                (["--drivers", "/does/not/exist", "--allocators", "glibc"], "no drivers"),
                                (["--tiermalloc", "/does/not/exist"], "not built"),
                                (["--allocators", "glibc", "glibc"], "used twice"),
                                (["compare", self.folder, self.folder], "results.json"),
                                (["report", "/does/not/exist"], "/does/not/exist")):
            result = self.bench(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertRegex(result.stderr, said)


if __name__ == "__main__":
    unittest.main()

"""The simulator: what it counts is what the trace says, replaying changes nothing, and the account is what the kernel does."""

import unittest

import support
from support import DENSE, FEW, GROWING, SimulatorTest, encode

KERNEL_PAGE = 4096
HUGEPAGE = 2 << 20
FAULT_NS, MAP_NS, RELEASE_NS, RELEASED_NS, HUGE_NS = 840, 1000, 1000, 87, 196

WORKLOADS = ("server", "expire", "phases", "peak", "residue-small", "residue-100k", "residue-3m", "churn", "steady", "vectors",
             "huge")


class HandMade(SimulatorTest):
    def setUp(self):
        super().setUp()
        self.page = self.page_size()
        self.kernel_pages = self.page // KERNEL_PAGE
        if self.page != 8192:
            self.skipTest(f"the traces are made for pages of 8192 bytes, the build has {self.page}")
        self.per_hugepage = HUGEPAGE // self.page

    def write(self, *events, data=None):
        path = self.folder / "made.trace"
        path.write_bytes(support.head(self.page) + encode(events) if data is None else data)
        return path

    def run_events(self, *events, heap="tiermalloc", options=()):
        return self.simulate(self.write(*events), "--heap", heap, *options)

    def test_one_run(self):
        for heap in ("tiermalloc", "first-fit", "best-fit"):
            with self.subTest(heap=heap):
                found = self.run_events(("allocate", 0, 10), ("time", 1000), ("free", 0, 10), ("time", 3000), heap=heap)
                self.assertEqual(found["events"], 2)
                self.assertEqual(found["milliseconds"], 4000)
                self.assertEqual(found["peak_used"], 10 * self.page)
                self.assertEqual(found["average"]["used"], 10 * self.page // 4)
                self.assertEqual(found["average"]["occupied"], HUGEPAGE // 4)
                self.assertEqual(found["end"]["used"], 0)
                self.assertEqual(found["faulted"], 10 * self.page)
                self.assertEqual(found["faults"], 10 * self.kernel_pages)
                self.assertEqual(found["calls_map"], 1)
                self.assertEqual(found["own_ns"]["allocate"]["count"], 1)

    def test_costs(self):
        found = self.run_events(("allocate", 0, 10), heap="first-fit")
        expected = MAP_NS + FAULT_NS * 10 * self.kernel_pages
        self.assertEqual(found["system_ns"], expected)
        found = self.run_events(("allocate", 0, 10), ("free", 0, 10), heap="first-fit")
        expected += RELEASE_NS + RELEASED_NS * 10 * self.kernel_pages
        self.assertEqual(found["system_ns"], expected)
        self.assertEqual((found["given_back"], found["end"]["resident"]), (10 * self.page, 0))

    def test_faulted_again(self):
        found = self.run_events(("allocate", 0, 10), ("free", 0, 10), ("allocate", 0, 4), heap="first-fit")
        self.assertEqual((found["faulted"], found["faulted_again"]), (14 * self.page, 4 * self.page))

    def test_our_heap_keeps_what_the_limit_allows(self):
        size = 4 * self.per_hugepage
        events = (("allocate", 0, size), ("free", 0, size), ("tick",))
        self.assertEqual(self.run_events(("limit", size), *events)["end"]["resident"], 4 * HUGEPAGE)
        self.assertEqual(self.run_events(("limit", 0), *events)["end"]["resident"], 0)
        found = self.run_events(("limit", size), ("spare", size - self.per_hugepage), *events)
        self.assertEqual(found["end"]["resident"], HUGEPAGE)
        self.assertEqual(self.run_events(("limit", size), *events, ("release", 1))["end"]["resident"], 0)

    def test_the_clock_is_the_traces(self):
        """What is taken again within a second is kept the next time, and no longer than it swings."""
        size = 16 * self.per_hugepage
        swing = (("allocate", 0, size), ("free", 0, size))
        events = (("limit", 0), *swing * 3, ("tick",))
        self.assertEqual(self.run_events(*events)["end"]["resident"], 16 * HUGEPAGE)
        self.assertEqual(self.run_events(*events, ("time", 60000), ("tick",))["end"]["resident"], 0)

    def test_intact(self):
        """Half of a hugepage stays in use while the other is given back, when nothing more has been in use for a while."""
        half = self.per_hugepage // 2
        events = (("limit", 0), ("allocate", 0, half, {"flags": FEW}), ("allocate", half, half, {"flags": FEW}))
        self.assertEqual(self.run_events(*events)["end"]["intact"], HUGEPAGE)
        found = self.run_events(*events, ("free", half, half), ("time", 10000), ("tick",))
        self.assertEqual((found["end"]["used"], found["end"]["resident"], found["end"]["intact"]),
                         (HUGEPAGE // 2, HUGEPAGE // 2, 0))
        again = self.run_events(*events, ("free", half, half), ("time", 10000), ("tick",), ("free", 0, half), ("tick",),
                                ("allocate", 0, half, {"flags": FEW}))
        self.assertEqual(again["end"]["intact"], HUGEPAGE // 2)

    def test_placement(self):
        """Three free ranges: the lowest suffices, the second is shorter. The trace names where the run is expected."""
        ranges = (("allocate", 0, 8), ("allocate", 8, 1), ("allocate", 9, 5), ("allocate", 14, 1), ("free", 0, 8), ("free", 9, 5))
        for heap, first in (("first-fit", 0), ("best-fit", 9), ("tiermalloc", 9)):
            with self.subTest(heap=heap):
                self.assertEqual(self.run_events(*ranges, ("allocate", first, 4), heap=heap)["elsewhere"], 0)
                self.assertEqual(self.run_events(*ranges, ("allocate", 9 - first, 4), heap=heap)["elsewhere"], 1)

    def test_alignment(self):
        for heap in ("tiermalloc", "first-fit", "best-fit"):
            with self.subTest(heap=heap):
                found = self.run_events(("allocate", 0, 1), ("aligned", 16, 3, 4), ("allocate", 1, 15), heap=heap)
                self.assertEqual((found["elsewhere"], found["end"]["used"]), (0, 19 * self.page))

    def test_growing_and_moving(self):
        """64 pages move to a run of 100: only what is new is faulted in."""
        before, after = 64, 100
        grown = ("allocate", 1000, after, {"flags": FEW | GROWING})
        for heap in ("tiermalloc", "first-fit", "best-fit"):
            with self.subTest(heap=heap):
                found = self.run_events(("limit", 10000), ("allocate", 0, before, {"flags": FEW}), grown,
                                        ("move", 0, 1000, before),
                                        heap=heap)
                self.assertEqual((found["faulted"], found["calls_move"]), (after * self.page, 1))
                self.assertEqual((found["end"]["used"], found["end"]["resident"]), (after * self.page,) * 2)
                found = self.run_events(("allocate", 0, before, {"flags": FEW}), grown, ("tick",), heap=heap)
                self.assertEqual(found["faulted"], (before + after) * self.page)
                found = self.run_events(("allocate", 0, before, {"flags": FEW}), ("grow", 0, before, after), heap=heap)
                self.assertEqual((found["faulted"], found["calls_move"]), (after * self.page, 0))

    def test_growing_where_there_is_no_room(self):
        """The recorded heap had room behind the run, this one has not: it moves, or is copied if it is short."""
        for pages, moves in ((4, 0), (300 * 1024 // self.page, 1)):
            with self.subTest(pages=pages):
                found = self.run_events(("allocate", 0, pages), ("allocate", 5000, 1), ("grow", 0, pages, 2 * pages),
                                        ("free", 0, 2 * pages), heap="first-fit")
                self.assertEqual((found["calls_move"], found["end"]["used"]), (moves, self.page))

    def test_populating(self):
        """A dense span in a heap that is large enough: a step of 64 KiB, by one call."""
        found = self.run_events(("allocate", 0, 8 * self.per_hugepage, {"flags": FEW}),
                                ("allocate", 8 * self.per_hugepage, 1, {"flags": DENSE}))
        self.assertEqual((found["calls_populate"], found["populated"]), (1, 64 << 10))
        self.assertEqual(found["end"]["resident"], 8 * HUGEPAGE + (64 << 10))

    def test_huge_pages_by_policy(self):
        """Half of the heap is needed to begin with, and a call for each hugepage after it; none without the policy."""
        events = [("allocate", number * self.per_hugepage, self.per_hugepage // 2, {"flags": FEW}) if part == 0 else
                  ("allocate", number * self.per_hugepage + self.per_hugepage // 2, self.per_hugepage // 2, {"flags": FEW})
                  for number in range(100) for part in range(2)]
        found = self.run_events(*events, options=("--thp",))
        self.assertGreater(found["huge_at_end"], 50 * HUGEPAGE)
        self.assertLess(found["mappings_at_most"], 20)
        self.assertGreaterEqual(found["calls_advise"], found["huge_at_end"] // HUGEPAGE)
        self.assertEqual(self.run_events(*events)["huge_at_end"], 0)

    def test_huge_pages(self):
        found = self.run_events(("allocate", 0, 1), options=("--huge",))
        self.assertEqual((found["end"]["resident"], found["huge_at_end"], found["faults"]), (HUGEPAGE, HUGEPAGE, 1))
        self.assertEqual(found["system_ns"], MAP_NS + HUGE_NS * HUGEPAGE // KERNEL_PAGE)

    def test_the_series_is_thinned_out(self):
        found = self.run_events(*([("allocate", 0, 1), ("free", 0, 1)] * 500), options=("--samples", "10"))
        self.assertLessEqual(len(found["series"]), 11)
        self.assertEqual(found["series"][-1][0], 1000)

    def check_refused(self, path, says):
        result = self.start("simulate", path)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn(says, result.stderr)

    def test_contradictions(self):
        for events, says in (((("free", 0, 1),), "event 1: pages that are not in use"),
                             ((("allocate", 0, 2), ("allocate", 1, 1)), "event 2: pages that are in use already"),
                             ((("allocate", 0, 1), ("free", 0, 1), ("free", 0, 1)), "event 3: pages that are not in use"),
                             ((("allocate", 0, 1), ("allocate", 1, 1), ("free", 0, 2), ("free", 1, 1)), "event 4"),
                             ((("allocate", 0, 0),), "event 1: pages that no heap can have"),
                             ((("allocate", 1 << 40, 1),), "event 1: pages that no heap can have"),
                             ((("allocate", 0, 4), ("grow", 0, 4, 4)), "event 2: growing by nothing")):
            with self.subTest(says=says):
                self.check_refused(self.write(*events), says)

    def test_what_is_no_trace(self):
        data = support.head(self.page) + encode([("allocate", 1000, 1000)])
        self.check_refused(self.write(data=b""), "not a page trace of format 1")
        self.check_refused(self.write(data=data.replace(b"trace 1", b"trace 2")), "not a page trace of format 1")
        self.check_refused(self.write(data=support.head(self.page * 2)), "another page size")
        self.check_refused(self.write(data=data[:-1]), "event 1: the file ends in the middle of it")
        self.check_refused(self.write(data=support.head(self.page) + b"\x0f"), "event 1: an operation that does not exist")
        self.check_refused(self.write(data=support.head(self.page) + b"\x01" + b"\xff" * 11), "more than 64 bits")
        self.check_refused(self.folder / "absent", "No such file")

    def test_wrong_usage(self):
        for arguments in ((), ("a", "b"), ("--heap", "other", "a"), ("--samples", "1", "a"), ("--unknown", "a")):
            with self.subTest(arguments=arguments):
                result = self.start("simulate", *arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertIn("usage: simulate", result.stderr)


class Generated(SimulatorTest):
    def test_the_same_heap_places_everything_as_when_it_was_recorded(self):
        for name in WORKLOADS:
            with self.subTest(workload=name):
                path = self.generate(name, 0.002 if name == "huge" else 0.05)
                used = len(support.used_pages(support.decode(path.read_bytes())[2]))
                found = self.simulate(path)
                self.assertGreater(found["events"], 20)
                self.assertEqual((found["elsewhere"], found["end"]["used"]), (0, used * self.page_size()))

    def test_all_heaps_agree_on_what_is_used(self):
        for name in ("phases", "vectors", "steady"):
            path = self.generate(name, 0.05)
            found = [self.simulate(path, "--heap", heap) for heap in ("tiermalloc", "first-fit", "best-fit")]
            for value in ("events", "milliseconds"):
                self.assertEqual(len({one[value] for one in found}), 1, value)
            self.assertEqual(len({one["end"]["used"] for one in found}), 1)
            for one in found:
                self.assertGreaterEqual(one["end"]["occupied"], one["end"]["used"])
                self.assertGreaterEqual(one["end"]["used"], one["end"]["intact"])

    def test_the_seed_decides(self):
        first = self.generate("steady", 0.02, "--seed", 7).read_bytes()
        self.assertEqual(self.generate("steady", 0.02, "--seed", 7).read_bytes(), first)
        self.assertNotEqual(self.generate("steady", 0.02, "--seed", 8).read_bytes(), first)

    def test_spans_that_are_kept_are_told(self):
        events = support.decode(self.generate("churn", 0.2).read_bytes())[2]
        self.assertTrue([event for event in events if event.name == "spare" and event.numbers[0] != 0])

    def test_the_list_is_complete(self):
        names = [line.split()[0] for line in self.start("generate", "--list").stdout.splitlines()]
        self.assertEqual(tuple(names), WORKLOADS)


class Account(SimulatorTest):
    """What the account says is resident is what the kernel makes resident, when a program does the same for real."""

    def resident(self, name, scale):
        """Of the process in the end, less what it had before; and its peak."""
        path = self.folder / f"{name}.trace"
        result = self.start("generate", "--touch", "--scale", scale, name, path)
        self.assertEqual(result.returncode, 0, result.stderr)
        values = {(when, what): int(number) for when, what, number in (line.split() for line in result.stdout.splitlines())}
        return path, values["after", "VmRSS"] - values["before", "VmRSS"], values["after", "VmHWM"] - values["before", "VmHWM"]

    def test_it_agrees_with_the_kernel(self):
        # Beside the heap there are the metadata and what the generator keeps: some per cent, and a few MiB.
        for name, scale, filled in (("residue-3m", 0.2, True), ("churn", 0.5, True), ("residue-100k", 0.2, False),
                                    ("steady", 0.2, False), ("vectors", 0.05, False)):
            with self.subTest(workload=name):
                path, after, peak = self.resident(name, scale)
                found = self.simulate(path)
                for simulated, real in ((found["end"]["resident"], after), (found["peak_resident"], peak)):
                    self.assertLess(real - simulated, 0.08 * real + (6 << 20))
                    # Objects that do not fill their class leave pages that the program never writes to.
                    if filled:
                        self.assertLess(simulated - real, 0.08 * real + (6 << 20))


if __name__ == "__main__":
    unittest.main()

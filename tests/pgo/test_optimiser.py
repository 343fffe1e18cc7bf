"""The suggested profiles: optimal against a model of the stated cost, within every limit, accepted by the generator."""

import bisect
import itertools
import os
import pathlib
import random
import tempfile
import time
import unittest
from fractions import Fraction

import samples
import candidates
import cost
import derivation
import header_printer
import limits
import optimiser
import profile_printer
import profile_reader
import profile_rules
import waste
from optimiser import Settings
from profile_reader import Entry, Profile

SEED = int(os.environ.get("TIERMALLOC_SEED", "30"))
SMALL_CASES = 100
RANDOM_PROFILES = 200
DISTINCT = 50000

DEFAULTS = {name: key.default for name, key in profile_reader.CONFIG_KEYS.items()}


def make_base(largest_size, **config):
    """A profile of the powers of two up to `largest_size`."""
    sizes = [8 << exponent for exponent in range(18) if 8 << exponent < largest_size] + [largest_size]
    entries = tuple(Entry(f"classes[{number}]", size, size_key="") for number, size in enumerate(sizes))
    base = Profile("base", profile_reader.Config(**(DEFAULTS | config)), entries)
    profile_rules.check_profile(base)
    return base


def default_base():
    return profile_reader.read_profile(str(samples.CLASSES / "default.toml"))


def stated_cost(histogram, base, objective, sizes):
    """The cost of docs/optimiser.md, added up request by request."""
    config = base.config
    total = sum(cost.class_price(size, cost.count_holders(histogram.totals), objective) for size in sizes)
    rates = {size: cost.bytes_per_object(size, config) for size in sizes}
    possible = [size for size in candidates.possible_sizes(config.alignment, sizes[-1]) if cost.possible_pages(size, config)]
    requests = cost.requests_of(histogram.rows, objective, config, sizes[-1]) + cost.background_requests([0] + possible)
    for request in requests:
        size = sizes[bisect.bisect_left(sizes, request.needed)]
        total += request.weight * (rates[size] - cost.BYTE_UNIT * request.size)
    return total


def keeps_step(before, size, step, possible):
    """Whether `size` may follow `before`: within the step, or nothing smaller is possible."""
    return size <= step * max(before, candidates.FREE_SIZE) or not any(before < other < size for other in possible)


def greedy_sizes(histogram, most, max_waste=0.125):
    """rtmalloc's suggestion, by its rule in the project's words: merge the neighbours that cost least by allocations."""
    counts = {}
    for row in histogram.rows:
        if row.size <= 4096:
            counts[row.size] = counts.get(row.size, 0) + row.allocations
    ranges = [[size, counts[size], 7 * counts[size]] for size in sorted(counts)]
    while len(ranges) > most:
        place = min(range(len(ranges) - 1), key=lambda n: ranges[n][1] * (ranges[n + 1][0] - ranges[n][0]))
        left, right = ranges[place], ranges[place + 1]
        merged = [right[0], left[1] + right[1], left[2] + right[2] + left[1] * (right[0] - left[0])]
        if merged[1] and merged[2] / (merged[1] * merged[0]) > max_waste:
            break
        ranges[place:place + 2] = [merged]
    return [size for size, _, _ in ranges]


class CostTest(unittest.TestCase):
    """The parts of the cost, worked out by hand for pages of 8 KiB."""

    def test_bytes_per_object(self):
        config = default_base().config
        for size, span_bytes, objects in ((8, 8192, 1024), (48, 3 * 8192, 512), (80, 5 * 8192, 512), (992, 4 * 8192, 33),
                                          (2048, 8192, 4), (5120, 5 * 8192, 8), (20000, 22 * 8192, 9),
                                          (300000, 110 * 8192, 3), (1048576, 1048576, 1)):
            self.assertEqual(cost.bytes_per_object(size, config), 64 * span_bytes // objects, size)
        self.assertIsNone(cost.bytes_per_object(5000, profile_reader.Config(**(DEFAULTS | {"max_pages": 1}))))

    def test_weights(self):
        def row(size, alignment, allocations, peak_live, most_live):
            return samples.histogram.Row(size, alignment, allocations, 0, peak_live, most_live, 0, 0, (0,) * 5)

        rows = (row(24, 1, 30, 10, 16), row(24, 64, 1, 0, 0), row(200, 16384, 1, 1, 1), row(1000, 256, 2, 2, 2),
                row(1016, 1, 0, 0, 0))
        # 240 + 200 + 2000 bytes at the peak, 720 + 24 + 200 + 2000 allocated.
        unit = 1 << 24
        expected = {
            "memory": [(24, 24, 10 * unit), (64, 24, 1), (1024, 1000, 2 * unit)],
            "balanced": [(24, 24, 14 * unit), (64, 24, 1), (1024, 1000, 2 * unit + unit // 2)],
            "speed": [(24, 24, 10 * unit + unit * 30 * 2440 // 2944), (64, 24, unit * 2440 // 2944),
                      (1024, 1000, 2 * unit + unit * 2 * 2440 // 2944)]}
        for objective, requests in expected.items():
            found = [(request.needed, request.size, request.weight)
                     for request in cost.requests_of(rows, objective, default_base().config, 1024)]
            self.assertEqual(found, requests, objective)
        # Nothing that is rounded up beyond the largest class has one.
        self.assertEqual(len(cost.requests_of(rows, "memory", default_base().config, 1000)), 2)

    def test_class_price(self):
        unit = 1 << 30
        self.assertEqual(cost.class_price(1024, 3, "memory"), 3 * 8192 * unit + 1024)
        self.assertEqual(cost.class_price(500000, 3, "balanced"), 3 * 16384 * unit + 500000)
        self.assertEqual(cost.class_price(1024, 3, "speed"), 4 * 3 * 8192 * unit + 1024)
        for processes, threads, holders in ((0, 0, 1), (1, 1, 1), (1, 5, 5), (1, 100, 8), (3, 100, 24), (3, 1, 3)):
            self.assertEqual(cost.count_holders({"processes": processes, "threads": threads}), holders)

    def test_background(self):
        """512 bytes times the distance to the size before, in parts of the size."""
        requests = cost.background_requests([0, 8, 16, 32])
        self.assertEqual([(request.needed, request.size) for request in requests], [(8, 8), (16, 16), (32, 32)])
        self.assertEqual([request.weight for request in requests], [64 << 24, 16 << 24, 8 << 24])

    def test_even_steps_where_nothing_was_recorded(self):
        empty = samples.histogram.merge([])
        sizes = [entry.size for entry in optimiser.suggest(empty, default_base(), Settings()).classes]
        steps = [size / before for before, size in zip(sizes, sizes[1:]) if before >= 256]
        self.assertGreater(min(steps), 1.1)


class OptimumTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"TIERMALLOC_SEED={SEED}")

    def test_against_all_subsets(self):
        chance = random.Random(SEED)
        bound = 0
        for _ in range(SMALL_CASES):
            alignment = chance.choice((8, 16))
            base = make_base(chance.choice((96, 112) if alignment == 8 else (160, 176)), alignment=alignment,
                             page_size=chance.choice((4096, 8192, 65536)))
            histogram = self.small_histogram(chance, base.entries[-1].size)
            settings = Settings(chance.choice(cost.OBJECTIVES), chance.randint(2, 14), chance.choice((1.3, 1.5, 2, 4)))
            try:
                suggestion = optimiser.suggest(histogram, base, settings)
            except optimiser.SettingsError:
                self.assertIsNone(self.least_cost(histogram, base, settings, ()))
                continue
            expected = self.least_cost(histogram, base, settings, suggestion.required)
            sizes = [entry.size for entry in suggestion.classes]
            self.assertEqual(stated_cost(histogram, base, settings.objective, sizes), expected, (settings, sizes))
            self.assertEqual(suggestion.cost, expected)
            bound += len(sizes) == settings.max_classes
        self.assertGreater(bound, SMALL_CASES // 8)

    def small_histogram(self, chance, largest_size):
        counts = {(chance.randint(1, largest_size), chance.choice((1, 1, 1, 16, 32))): chance.randint(1, 2000)
                  for _ in range(chance.randint(0, 12))}
        return samples.make_histogram(counts, chance, chance.choice((1, 2)), chance.choice((1, 2, 40)))

    def least_cost(self, histogram, base, settings, required):
        """The least stated cost of all sets of classes within the limits; None if there is no such set."""
        config = base.config
        largest_size = base.entries[-1].size
        possible = [size for size in range(8, largest_size + 1, 8)
                    if (size == 8 or size % config.alignment == 0) and cost.possible_pages(size, config)]
        best = None
        for count in range(min(settings.max_classes, len(possible))):
            for inner in itertools.combinations(possible[:-1], count):
                sizes = inner + (largest_size,)
                if set(required) <= set(sizes) and all(keeps_step(before, size, settings.step, possible)
                                                       for before, size in zip((0,) + inner, sizes)):
                    value = stated_cost(histogram, base, settings.objective, sizes)
                    best = value if best is None else min(best, value)
        return best


class BetterThanGreedyTest(unittest.TestCase):
    def test_never_worse(self):
        chance = random.Random(SEED)
        base = default_base()
        better = 0
        for kind in samples.KINDS * 2 + (self.dense,):
            histogram = samples.random_histogram(chance, kind)
            most = chance.choice((16, 63))
            required = candidates.required_powers(limits.MAX_CLASS_SIZE, limits.MAX_CLASSES)
            choice = candidates.make_candidates(base.config, limits.MAX_CLASS_SIZE, Fraction(5, 4), required)
            sizes = self.within_limits(greedy_sizes(histogram, most), choice)
            if len(sizes) > limits.MAX_CLASSES:
                continue
            for objective in cost.OBJECTIVES:
                suggestion = optimiser.suggest(histogram, base, Settings(objective, len(sizes), 1.25))
                if suggestion.required != tuple(required):
                    # More is asked of ours here, for aligned requests, than theirs has.
                    continue
                theirs = stated_cost(histogram, base, objective, sizes)
                self.assertLessEqual(suggestion.cost, theirs)
                better += suggestion.cost < theirs
        self.assertGreater(better, 10)

    def dense(self, chance):
        return {(size, 1): chance.randint(1, 100) for size in range(8, 4096, 8)}

    def within_limits(self, sizes, choice):
        """Rounded up to possible sizes, with as few more as the limits need: the farthest each time."""
        wanted = sorted({bisect.bisect_left(choice.sizes, size) for size in sizes} | {len(choice.sizes) - 1})
        chain = [0]
        for index in wanted:
            while choice.lowest[index] > chain[-1]:
                chain.append(self.farthest(choice, chain[-1], index))
            chain.append(index)
        return [choice.sizes[index] for index in chain[1:]]

    def farthest(self, choice, before, end):
        return max(index for index in range(before + 1, end) if choice.lowest[index] <= before)


class LimitsTest(unittest.TestCase):
    def setUp(self):
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "app.toml"

    def random_base(self, chance):
        page_size = chance.choice((4096, 8192, 65536))
        max_pages = chance.choice((1, 2, 3, 16, 128, 1000))
        room = min(max_pages * page_size, limits.MAX_CLASS_SIZE)
        alignment = chance.choice((8, 16))
        largest_size = chance.choice((room, min(room, 1024), min(room, 32768)))
        most = chance.choice((8192, 8192, 40, 1))
        return make_base(largest_size, page_size=page_size, max_pages=max_pages, alignment=alignment,
                         max_free_list_length=most)

    def random_settings(self, chance):
        return Settings(chance.choice(cost.OBJECTIVES), chance.choice((3, 4, 8, 31, 32, 77, 128, 255, chance.randint(3, 255))),
                        chance.choice((1.07, 1.125, 1.25, 1.5, 2, "4.5", 32, 32)))

    def test_every_output_is_accepted(self):
        print(f"TIERMALLOC_SEED={SEED}")
        chance = random.Random(SEED)
        made = 0
        for _ in range(RANDOM_PROFILES):
            base, settings = self.random_base(chance), self.random_settings(chance)
            histogram = samples.random_histogram(chance)
            try:
                suggestion = optimiser.suggest(histogram, base, settings)
            except optimiser.SettingsError as error:
                self.assertRegex(str(error), f"no profile of {settings.max_classes} classes up to .* that takes [0-9]+")
                continue
            with self.subTest(base=base, settings=settings):
                self.check(suggestion, base, settings)
            made += 1
        self.assertGreater(made, RANDOM_PROFILES // 2)

    def check(self, suggestion, base, settings):
        self.path.write_text(profile_printer.profile_text(suggestion), encoding="utf-8")
        profile = profile_reader.read_profile(str(self.path))
        profile_rules.check_profile(profile)
        tables = derivation.derive_tables(profile)
        self.assertIn("#define CLASS_COUNT", header_printer.header_text(profile, tables))
        self.assertEqual(profile.config, base.config)
        self.assertEqual(tables.classes, suggestion.tables.classes)
        self.assertEqual(tables.largest_size, base.entries[-1].size)
        self.assertLessEqual(len(tables.classes), settings.max_classes)
        self.assertFalse([note for note in tables.notes if "lowered" in note or "rounded" in note or "no request" in note])
        sizes = [entry.size for entry in tables.classes]
        self.check_steps(sizes, base.config, settings)
        if settings.max_classes >= 32:
            for exponent in range(6, 20):
                if 1 << exponent < sizes[-1]:
                    self.assertIn(1 << exponent, sizes)
        self.check_numbers(suggestion)

    def check_steps(self, sizes, config, settings):
        for before, size in zip([0] + sizes, sizes):
            if size > settings.step * max(before, 32):
                between = range(max(before // 16 * 16 + 16, 16), size, 512 if before >= 65536 else config.alignment)
                self.assertFalse([other for other in between if cost.possible_pages(other, config)], (before, size))

    def check_numbers(self, suggestion):
        self.assertEqual(sum(entry.waste_after for entry in suggestion.classes), suggestion.after.small_rounding)
        self.assertEqual(sum(entry.use.peak_live for entry in suggestion.classes), suggestion.after.small_objects)
        self.assertEqual(suggestion.before.requested, suggestion.total_peak_bytes)
        self.assertEqual(suggestion.after.requested, suggestion.total_peak_bytes)

    def test_bytes_per_object_never_fall(self):
        """What the search relies on, for all pages and every longest span."""
        for page_size in (4096, 8192, 16384, 32768, 65536):
            for max_pages in (1, 2, 3, 7, 31, 128, 255):
                config = profile_reader.Config(**(DEFAULTS | {"page_size": page_size, "max_pages": max_pages}))
                last = min(max_pages * page_size, limits.MAX_CLASS_SIZE)
                sizes = set(range(8, min(last, 5000), 24)) | set(range(2048, last, 1808))
                for edge in (2048, 32768, 262144, last):
                    sizes |= {edge + less for less in (-16, -8, 0, 8, 16) if edge + less <= last}
                rates = [cost.bytes_per_object(size, config) for size in sorted(sizes)]
                rates = [rate for rate in rates if rate is not None]
                self.assertEqual(rates, sorted(rates), (page_size, max_pages))

    def test_same_every_time(self):
        histogram = samples.random_histogram(random.Random(9), samples.log_normal)
        texts = {profile_printer.profile_text(optimiser.suggest(histogram, default_base(), Settings(max_classes=70)))
                 for _ in range(3)}
        self.assertEqual(len(texts), 1)

    def test_many_distinct_sizes(self):
        histogram = samples.dense_histogram(random.Random(10), DISTINCT)
        self.assertEqual(len(histogram.rows), DISTINCT)
        for objective in cost.OBJECTIVES:
            settings = Settings(objective)
            started = time.monotonic()
            suggestion = optimiser.suggest(histogram, default_base(), settings)
            print(f"{DISTINCT} distinct sizes, {objective}: {time.monotonic() - started:.2f} s")
            self.check(suggestion, default_base(), settings)
            self.assertLess(suggestion.after.total, suggestion.before.total // 2)

    def test_three_classes(self):
        histogram = samples.random_histogram(random.Random(11), samples.log_normal)
        suggestion = optimiser.suggest(histogram, default_base(), Settings(max_classes=3, max_step=32))
        self.assertEqual([entry.size for entry in suggestion.classes], [1024, 32768, 1048576])

    def test_settings_that_cannot_be_met(self):
        histogram = samples.random_histogram(random.Random(12))
        for settings, line in (
                (Settings("fast"), "objective: fast: must be balanced, memory, speed"),
                (Settings(max_classes=0), "max_classes: 0: must be 1 to 255"),
                (Settings(max_classes=256), "max_classes: 256: must be 1 to 255"),
                (Settings(max_step=1), "max_step: 1: must be a number above 1, at most 32"),
                (Settings(alignment=32), "alignment: 32: must be 8 or 16"),
                (Settings(max_step=32.5), "max_step: 32.5: must be"),
                (Settings(max_step="wide"), "max_step: wide: must be"),
                (Settings(max_step=float("nan")), "max_step: nan: must be"),
                (Settings(max_classes=3), "no profile of 3 classes up to 1048576 bytes keeps steps within 1.25; that takes"),
                (Settings(max_step=1.01), "no profile of 128 classes")):
            with self.assertRaises(optimiser.SettingsError) as caught:
                optimiser.suggest(histogram, default_base(), settings)
            self.assertTrue(str(caught.exception).startswith(line), str(caught.exception))


class ChoiceTest(unittest.TestCase):
    def test_what_speaks_for_other_numbers(self):
        """Few objects take short spans and small stacks; objects that other threads free travel in larger batches."""
        def row(size, allocations, live, remote):
            return samples.histogram.Row(size, 1, allocations, 0, live, live, remote, 0, (allocations, 0, 0, 0, 0))

        totals = dict.fromkeys(samples.histogram.TOTALS, 0) | {"processes": 1, "threads": 2}
        rows = (row(64, 10**6, 10**5, 0), row(512, 10**6, 10**4, 10**6), row(3072, 3, 3, 0))
        suggestion = optimiser.suggest(samples.histogram.Histogram(totals, rows), default_base(), Settings())
        classes = {entry.size: entry for entry in suggestion.classes}
        config = default_base().config
        self.assertEqual((classes[64].pages, classes[64].chosen), (derivation.derive_pages(64, config), ()))
        self.assertEqual((classes[512].batch, classes[512].chosen), (64, ("batch_size",)))
        # 1 page would leave a quarter behind two objects, which no profile may; 3 are derived.
        self.assertEqual((classes[3072].pages, classes[3072].capacity), (2, 7))
        self.assertEqual(set(classes[3072].chosen), {"pages", "capacity"})
        text = profile_printer.profile_text(suggestion)
        # 3 of 2000003 allocations, 9216 of 11529216 bytes; 3200 is the class of the base profile.
        self.assertIn("size = 3072      # 2520 to 3072: 0.00 % of allocations, 0.08 % of bytes; waste 4.17 % -> 0.00 %\n"
                      "pages = 2        # the span that wastes least for so many objects\n"
                      "capacity = 7     # few of them lived at once\n", text)
        self.assertIn("size = 16        # 8 to 16: not recorded; keeps the steps small", text)

    def test_another_alignment_than_the_base_profiles(self):
        """Objects of 24 bytes cost 32 where requests are aligned to 16."""
        rows = (samples.histogram.Row(24, 1, 10**6, 0, 10**5, 10**5, 0, 0, (10**6, 0, 0, 0, 0)),)
        histogram = samples.histogram.Histogram(dict.fromkeys(samples.histogram.TOTALS, 0), rows)
        for alignment, lost in ((None, 800000), (16, 800000), (8, 0)):
            suggestion = optimiser.suggest(histogram, default_base(), Settings(alignment=alignment))
            self.assertEqual(suggestion.before.small_rounding, 800000)
            self.assertEqual(suggestion.after.small_rounding, lost)
            self.assertEqual(suggestion.profile.config.alignment, alignment or 16)
        self.assertIn("\nalignment = 8\n", profile_printer.profile_text(suggestion))

    def test_aligned_requests_get_what_they_need(self):
        """The single request is too little for a class of its own, but the one it shares would send it on to 4096."""
        counts = {(3056, 1): 10**6, (3300, 256): 1, (3400, 1): 10**6}
        rows = tuple(samples.histogram.Row(samples.recorded_size(size), alignment, live, live, live, live, 0, 0, (0,) * 5)
                     for (size, alignment), live in sorted(counts.items()))
        histogram = samples.histogram.Histogram(dict.fromkeys(samples.histogram.TOTALS, 0), rows)
        suggestion = optimiser.suggest(histogram, default_base(), Settings())
        self.assertIn(3328, suggestion.required)
        self.assertEqual(waste.given_bytes(suggestion.tables, 3304, 256), 3328)

    def test_strays_that_lose_most_come_first(self):
        """The first class that is large enough for each is no multiple of 128, so that they go on to 4096."""
        sizes = range(2304, 4096, 128)
        config = default_base().config
        entries = tuple(Entry("", size) for size in [1024, *(size + 16 for size in sizes), 4096])
        rows = [samples.histogram.Row(size, 128, 9, 9, 9 if size == 3968 else 1, 9, 0, 0, (0,) * 5) for size in sizes]
        strays = optimiser.stray_sizes(rows, derivation.derive_tables(Profile("", config, entries)), list(range(0, 4097, 16)))
        # One object of 2304 bytes loses 1776, nine of 3968 bytes lose 1008 together, as one of 3072 does.
        self.assertEqual(strays, [2304, 2432, 2560, 2688, 2816, 2944, 3072, 3968])

    def test_step_is_taken_as_written(self):
        self.assertEqual(Settings(max_step=1.1).step, Fraction(11, 10))
        self.assertEqual(Settings(max_step="1.1").step, Fraction(11, 10))


if __name__ == "__main__":
    unittest.main()

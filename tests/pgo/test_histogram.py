"""The format of histograms: what is read is what was written, merging adds in any grouping, and damage is refused."""

import functools
import pathlib
import random
import tempfile
import unittest

import samples
from samples import histogram

GOOD = """\
tiermalloc histogram 1
processes 1
threads 3
milliseconds 5210
allocated_bytes 123456784
peak_bytes 4096000
peak_small_requested 4000000
peak_small_given 4200000
peak_small_room 300
live_small_requested 1000
live_small_given 1100
live_small_room 20
columns size alignment allocations live peak_live most_live remote_frees reallocs \
freed_64K freed_1M freed_16M freed_256M freed_later
8 1 120 3 40 41 0 0 110 5 2 0 0
16 1 7 7 7 7 0 0 0 0 0 0 0
16 64 9 0 0 2 9 1 8 1 0 0 0
1114112 1 1 0 1 1 0 0 0 0 0 1 0
end 4
"""

# What is replaced, by what, the line that is named and the value shown, and a part of what is allowed.
DAMAGE = (
    ("tiermalloc histogram 1", "tiermalloc histogram 2", "line 1: tiermalloc histogram 2: ", "must be version 1"),
    ("tiermalloc histogram 1", "heap profile", "line 1: heap profile: ", "not a histogram of tiermalloc"),
    ("tiermalloc histogram 1", "tiermalloc histogram 1 ", "line 1: tiermalloc histogram 1 : ", "must be version 1"),
    ("threads 3\n", "", "line 3: milliseconds 5210: ", 'must be "threads NUMBER"'),
    ("threads 3\nmilliseconds 5210\n", "milliseconds 5210\nthreads 3\n", "line 3: milliseconds 5210: ", "threads"),
    ("threads 3\n", "threads 3\nthreads 3\n", "line 4: threads 3: ", 'must be "milliseconds NUMBER"'),
    ("threads 3\n", "threads\n", "line 3: : ", "decimal number"),
    ("threads 3", "threads -3", "line 3: -3: ", "without sign"),
    ("threads 3", "threads +3", "line 3: +3: ", "without sign"),
    ("threads 3", "threads 03", "line 3: 03: ", "leading zeros"),
    ("threads 3", "threads 3.0", "line 3: 3.0: ", "decimal number"),
    ("threads 3", "threads  3", "line 3:  3: ", "decimal number"),
    ("threads 3", "threads 3 4", "line 3: 3 4: ", "decimal number"),
    ("threads 3", "threads 3\r", "line 3: 3\\r: ", "decimal number"),
    ("threads 3", "threads 9223372036854775808", "line 3: 9223372036854775808: ", "2^63 - 1"),
    ("threads 3", "threads \u0663", "line 3: ", "decimal number"),
    ("columns size", "columns alignment", "line 13: columns alignment", "must be the line"),
    (" freed_later", "", "line 13: columns size", "must be the line"),
    ("8 1 120", "8 1 120 0", "line 14: 8 1 120 0 3", "13 numbers"),
    ("16 1 7 7", "16 1 7", "line 15: 16 1 7 7 7", "13 numbers"),
    ("16 1 7 7", "16 1 x 7", "line 15: x: ", "decimal number"),
    ("16 1 7 7", "16 1 007 7", "line 15: 007: ", "leading zeros"),
    ("16 1 7 7", "16 1 9223372036854775808 7", "line 15: 9223372036854775808: ", "2^63 - 1"),
    ("8 1 120", "12 1 120", "line 14: 12: ", "multiple of 8"),
    ("8 1 120", "0 1 120", "line 14: 0: ", "multiple of 8"),
    ("1114112 1", "1114120 1", "line 17: 1114120: ", "16 steps per doubling"),
    ("16 64 9", "16 24 9", "line 16: 24: ", "power of two"),
    ("16 64 9", "16 8 9", "line 16: 8: ", "power of two"),
    ("8 1 120", "24 1 120", "line 15: 16 1: ", "ascend"),
    ("16 64 9", "16 1 9", "line 16: 16 1: ", "ascend"),
    ("end 4", "end 3", "line 18: end 3: ", "there are 4"),
    ("end 4", "end", "line 18: end: ", "13 numbers"),
    ("end 4\n", "end 4\n\n", "line 19: : ", "nothing may follow"),
    ("end 4\n", "end 4\nend 4\n", "line 19: end 4: ", "nothing may follow"),
    ("end 4\n", "end 4\nend", "line 19: end: ", "nothing may follow"),
)


class HistogramTest(unittest.TestCase):
    def setUp(self):
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "h.txt"

    def read(self, text):
        self.path.write_bytes(text.encode("utf-8"))
        return histogram.read_histogram(str(self.path))

    def refusal(self, text):
        with self.assertRaises(histogram.HistogramError) as caught:
            self.read(text)
        [line] = caught.exception.problems
        self.assertTrue(line.startswith(f"{self.path}: "), line)
        return line[len(f"{self.path}: "):]

    def test_numbers(self):
        result = self.read(GOOD)
        self.assertEqual(result.totals["threads"], 3)
        self.assertEqual(result.totals["live_small_given"], 1100)
        row = result.rows[2]
        self.assertEqual((row.size, row.alignment, row.allocations), (16, 64, 9))
        self.assertEqual((row.live, row.peak_live, row.most_live), (0, 0, 2))
        self.assertEqual((row.remote_frees, row.reallocs, row.lifetimes), (9, 1, (8, 1, 0, 0, 0)))

    def test_same_bytes(self):
        self.assertEqual(histogram.histogram_text(self.read(GOOD)), GOOD)

    def test_random_histograms_survive_the_file(self):
        chance = random.Random(4)
        for kind in samples.KINDS:
            made = samples.random_histogram(chance, kind)
            self.assertEqual(self.read(histogram.histogram_text(made)), made, kind.__name__)

    def test_damage(self):
        for old, new, line, allowed in DAMAGE:
            with self.subTest(new=new):
                self.assertIn(old, GOOD)
                refusal = self.refusal(GOOD.replace(old, new, 1))
                self.assertTrue(refusal.startswith(line), refusal)
                self.assertIn(allowed, refusal)

    def test_truncated_anywhere(self):
        for length in range(len(GOOD)):
            number = GOOD.count("\n", 0, length) + 1
            refusal = self.refusal(GOOD[:length])
            self.assertTrue(refusal.startswith(f"line {number}: "), (length, refusal))
            self.assertRegex(refusal, "truncated|empty")

    def test_foreign_files(self):
        for text in ("\n", "\0\0\0", "\x7fELF\x02", "{}", "size count\n8 1\n"):
            self.assertIn("line 1: ", self.refusal(text))

    def test_file_that_is_not_there(self):
        with self.assertRaises(histogram.HistogramError) as caught:
            histogram.read_histogram(str(self.path / "none"))
        self.assertIn("cannot be read", caught.exception.problems[0])


class MergeTest(unittest.TestCase):
    def test_nothing(self):
        empty = histogram.merge([])
        self.assertEqual(empty.rows, ())
        self.assertEqual(set(empty.totals.values()), {0})
        some = samples.random_histogram(random.Random(1))
        self.assertEqual(histogram.merge([empty, some]), some)

    def test_sums(self):
        chance = random.Random(2)
        first = samples.make_histogram({(8, 1): 5, (24, 1): 3}, chance)
        second = samples.make_histogram({(16, 64): 2, (24, 1): 4}, chance)
        both = histogram.merge([first, second])
        self.assertEqual([(row.size, row.alignment, row.allocations) for row in both.rows],
                         [(8, 1, 5), (16, 64, 2), (24, 1, 7)])
        pair = (first.rows[1].numbers, second.rows[1].numbers)
        self.assertEqual(both.rows[2].numbers[2:], tuple(map(sum, zip(*pair)))[2:])
        for name in histogram.TOTALS:
            self.assertEqual(both.totals[name], first.totals[name] + second.totals[name])

    def test_any_grouping_and_order(self):
        chance = random.Random(3)
        parts = [samples.random_histogram(chance) for _ in range(7)]
        expected = histogram.histogram_text(histogram.merge(parts))
        for _ in range(20):
            groups = chance.sample(parts, len(parts))
            while len(groups) > 1:
                count = chance.randint(1, len(groups))
                groups = groups[count:] + [histogram.merge(groups[:count])]
            self.assertEqual(histogram.histogram_text(groups[0]), expected)
        pairwise = functools.reduce(lambda left, right: histogram.merge([left, right]), parts)
        self.assertEqual(histogram.histogram_text(pairwise), expected)

    def test_sum_beyond_the_format(self):
        row = histogram.Row(8, 1, (1 << 63) - 1, 0, 0, 0, 0, 0, (0,) * 5)
        large = histogram.Histogram(dict.fromkeys(histogram.TOTALS, 0), (row,))
        with self.assertRaisesRegex(histogram.HistogramError, "row 8 1: allocations"):
            histogram.merge([large, large])


if __name__ == "__main__":
    unittest.main()

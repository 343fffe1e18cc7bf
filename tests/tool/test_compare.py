"""compare: two histograms, and two profiles on one; the sums are checked against ones made by hand."""

import re
import unittest

import support
from support import make_histogram, make_row


def plain(text):
    """Without the spaces that align columns."""
    return [re.sub(" +", " ", line.strip()) for line in text.splitlines()]


class Compare(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("before", make_histogram(make_row(8, 100, 10), make_row(24, 100, 10), make_row(104, 10, 1),
                                            peak_small_requested=424, peak_small_given=4576))
        self.write("after", make_histogram(make_row(24, 150, 20), make_row(8200, 1, 1),
                                           peak_small_requested=480, peak_small_given=640))
        self.write("small.toml", support.SMALL_PROFILE)
        self.write("exact.toml", "classes = [8, 32, 112, 272, 8208]\n")

    def test_two_histograms(self):
        lines = plain(self.succeed("compare", "before", "after", "--profile", "small.toml"))
        for line in ("classes 5 5 0.0 %", "allocations 210 151 -28.1 %", "bytes allocated 4240 11800 +178.3 %",
                     "bytes at the peak 424 8680 +1947.2 %",
                     "waste by rounding up to a class, predicted 4152 160 -96.1 %",
                     "waste by rounding up to pages, predicted 0 8184 -",
                     "waste by rounding up to a class, measured 4152 160 -96.1 %",
                     "1 to 64 200 150 -25.0 % 320 480 +50.0 % 160 160 0.0 %",
                     "65 to 128 10 0 -100.0 % 104 0 -100.0 % 3992 0 -100.0 %",
                     "129 to 256 0 0 - 0 0 - 0 0 -",
                     "8193 to 16384 0 1 - 0 8200 - 0 8184 -"):
            self.assertIn(line, lines)
        self.assertEqual(lines[-1].split()[0], "8193", "ranges without anything at the ends are left out")

    def test_each_under_its_own_profile(self):
        lines = plain(self.succeed("compare", "before", "after", "--profile", "small.toml", "--against", "exact.toml"))
        self.assertIn("classes 5 5 0.0 %", lines)
        self.assertIn("8193 to 16384 0 1 - 0 8200 - 0 8 -", lines)

    def test_two_profiles(self):
        lines = plain(self.succeed("compare", "small.toml", "exact.toml", "--histogram", "before"))
        self.assertIn("waste by rounding up to a class, predicted 4152 88 -97.9 %", lines)
        self.assertIn("size allocations peak bytes waste before after change", lines)
        self.assertIn("1 to 64 200 320 160 80 -50.0 %", lines)
        self.assertIn("65 to 128 10 104 3992 8 -99.8 %", lines)
        self.assertFalse([line for line in lines if "measured" in line])

    def test_nothing_recorded(self):
        self.write("empty", make_histogram())
        self.assertIn("allocations 0 0 -", plain(self.succeed("compare", "empty", "empty")))

    def test_the_wrong_kind_of_file(self):
        self.check_refused("compare", "small.toml", "exact.toml", says="small.toml: line 1: ")
        self.check_refused("compare", "before", "after", "--histogram", "before", says="before: not valid TOML")


if __name__ == "__main__":
    unittest.main()

"""merge: any grouping gives the same bytes, damaged files are refused with file and line, nothing is half-written."""

import unittest

import support
from support import histogram, make_histogram, make_row

PARTS = (
    make_histogram(make_row(8, 100, 10), make_row(24, 5, 5, alignment=64), make_row(1 << 21, 1, 1)),
    make_histogram(make_row(8, 1, 1), make_row(24, 7, 0)),
    make_histogram(make_row(24, 1, 1, alignment=64), make_row(4096, 3, 2)),
    make_histogram(),
)


class Merging(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.names = [str(self.write(f"{number}.histogram", part)) for number, part in enumerate(PARTS)]

    def merge(self, output, *names):
        self.assertEqual(self.succeed("merge", *names, "-o", output), "")
        return (self.folder / output).read_bytes()

    def test_sums(self):
        self.merge("all", *self.names)
        merged = self.read_histogram("all")
        self.assertEqual([(row.size, row.alignment, row.allocations, row.peak_live) for row in merged.rows],
                         [(8, 1, 101, 11), (24, 1, 7, 0), (24, 64, 6, 6), (4096, 1, 3, 2), (1 << 21, 1, 1, 1)])
        self.assertEqual((merged.totals["processes"], merged.totals["milliseconds"]), (4, 6000))

    def test_any_grouping(self):
        one, two, three, four = self.names
        whole = self.merge("all", *self.names)
        self.merge("left", one, two)
        self.merge("right", four, three)
        self.assertEqual(self.merge("both", "right", "left"), whole)
        self.assertEqual(self.merge("backwards", *reversed(self.names)), whole)
        self.merge("so far", one)
        for name in self.names[1:]:
            self.merge("so far", "so far", name)
        self.assertEqual((self.folder / "so far").read_bytes(), whole)

    def test_standard_output(self):
        whole = self.merge("all", *self.names)
        self.assertEqual(self.succeed("merge", *self.names, "-o", "-").encode(), whole)

    def test_one_file_is_itself(self):
        self.assertEqual(self.merge("same", self.names[0]), (self.folder / self.names[0]).read_bytes())


class Damage(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.good = histogram.histogram_text(PARTS[0])
        self.write("good", self.good)
        self.write("out", "what was there before")

    def check(self, text, says):
        self.write("bad", text)
        self.check_refused("merge", "good", "bad", "-o", "out", says=f"tiermalloc: bad: line {says}")

    def test_truncated(self):
        lines = self.good.splitlines(keepends=True)
        for number in range(1, len(lines)):
            self.check("".join(lines[:number]), f"{number + 1}: end of file: the file is truncated")
        self.check(self.good[:-1], f"{len(lines)}: end 3: the file is truncated")

    def test_foreign(self):
        self.check("classes = [8]\n", "1: classes = [8]: not a histogram of tiermalloc")
        self.check("tiermalloc histogram 2\n", "1: tiermalloc histogram 2: not a version that is known")

    def test_empty(self):
        self.check("", "1: end of file: the file is empty")

    def test_a_bad_number(self):
        self.check(self.good.replace("8 1 100", "8 1 -100"), f"{len(histogram.TOTALS) + 3}: -100: must be a decimal number")


if __name__ == "__main__":
    unittest.main()

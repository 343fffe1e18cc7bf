"""What a profile gives for a request, against a search over its classes, and sums that were worked out by hand."""

import pathlib
import random
import tempfile
import unittest

import samples
import derivation
import profile_reader
import profile_rules
import waste
from samples import histogram

PROFILES = (
    "classes = [8, 16, 32, 48, 64, 128, 192, 1024, 8192, 65536, 131072]",
    "classes = [8, 24, 32, 40, 160, 4096, 5120]",
    "classes = [16, 24, 40, 64, 200, 512]\n[config]\nalignment = 8\npage_size = 4096",
    "classes = [24, 48, 1040]\n[config]\npage_size = 65536",
    "classes = [8]\n[config]\nalignment = 8",
)


def row(size, alignment, peak_live):
    return histogram.Row(size, alignment, peak_live, 2 * peak_live, peak_live, peak_live, 0, 0, (0,) * 5)


class WasteTest(unittest.TestCase):
    def tables(self, text):
        path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "p.toml"
        path.write_text(text, encoding="utf-8")
        profile = profile_reader.read_profile(str(path))
        profile_rules.check_profile(profile)
        return derivation.derive_tables(profile)

    def expected_bytes(self, tables, size, alignment):
        """malloc's class first, then the first from it on with the alignment, else pages (class_for in door.c)."""
        config = tables.config
        sizes = [entry.size for entry in tables.classes]
        fitting = [other for other in sizes if other >= size and (size <= 8 or other % config.alignment == 0)]
        pages = -(-size // config.page_size) * config.page_size
        # Classes behind the last aligned one serve nothing, nor does it serve what is larger.
        if not fitting or size > max([8] + [other for other in sizes if other % config.alignment == 0]):
            return pages
        if alignment == 1:
            return fitting[0]
        if alignment > config.page_size:
            return pages
        return next((other for other in sizes if other >= fitting[0] and other % alignment == 0), pages)

    def test_given_bytes(self):
        chance = random.Random(6)
        for text in PROFILES + ((samples.CLASSES / "default.toml").read_text(encoding="utf-8"),
                                (samples.CLASSES / "rtmalloc.toml").read_text(encoding="utf-8")):
            tables = self.tables(text)
            sizes = [entry.size for entry in tables.classes]
            near = {size + less for size in sizes for less in (-8, -7, -1, 0, 1, 8)}
            far = {chance.randint(1, 3 << 20) for _ in range(300)}
            for size in sorted(near | far):
                for alignment in [1] + [16 << exponent for exponent in range(14)]:
                    if size >= 1:
                        self.assertEqual(waste.given_bytes(tables, size, alignment),
                                         self.expected_bytes(tables, size, alignment), (text[:60], size, alignment))

    def test_sums(self):
        # 8192-byte pages: 48 takes 170 objects and leaves 32, 1024 takes spans of 4 pages that leave nothing.
        tables = self.tables("classes = [48, 1024]")
        self.assertEqual([(entry.objects, entry.tail_waste) for entry in tables.classes], [(170, 32), (32, 0)])
        rows = [row(40, 1, 340), row(48, 64, 2), row(1000, 1, 3), row(2000, 1, 5)]
        result = waste.predicted_waste(tables, rows)
        self.assertEqual((result.small_objects, result.small_requested, result.small_given),
                         (345, 340 * 40 + 2 * 48 + 3 * 1000, 340 * 48 + 5 * 1024))
        self.assertEqual((result.large_objects, result.large_requested, result.large_given), (5, 10000, 5 * 8192))
        self.assertEqual(result.tails, 64)
        self.assertEqual(result.small_rounding, 340 * 8 + 2 * 976 + 3 * 24)
        self.assertEqual(result.total, result.small_rounding + 64 + 5 * 8192 - 10000)
        self.assertEqual(result.requested, 340 * 40 + 2 * 48 + 3 * 1000 + 10000)
        self.assertEqual(waste.predicted_waste(tables, rows, "live").small_objects, 690)

    def test_alignment(self):
        """Up to 8 bytes nothing is lost, and what takes pages is not rounded up to a class."""
        rows = [row(8, 1, 9), row(24, 1, 2), row(40, 1, 3), row(48, 1, 5), row(2008, 1, 7)]
        self.assertEqual(waste.alignment_loss(self.tables("classes = [48, 1024]"), rows), 2 * 8 + 3 * 8)
        self.assertEqual(waste.alignment_loss(self.tables("classes = [48, 1024]\n[config]\nalignment = 8"), rows), 0)

    def test_nothing(self):
        self.assertEqual(waste.predicted_waste(self.tables("classes = [48]"), []).total, 0)


if __name__ == "__main__":
    unittest.main()

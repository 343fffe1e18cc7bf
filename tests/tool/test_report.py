"""report: the numbers against ones computed by hand, and the pictures: well-formed, and with all classes in them."""

import re
import unittest
import xml.etree.ElementTree as ElementTree

import support
from support import make_histogram, make_row

SVG = "{http://www.w3.org/2000/svg}"

RECORDED = make_histogram(
    make_row(8, 100, 10, live=3), make_row(24, 60, 5), make_row(24, 20, 2, alignment=64), make_row(40, 300, 170),
    make_row(104, 20, 1), make_row(8200, 1, 1), processes=2, threads=7, peak_small_requested=7152, peak_small_given=12704,
    peak_small_room=600)

TABLE = """\
Size  Alignment  Count      %  Cumulative  Live  At peak  Peak bytes      %  Class  Waste
   8               100  19.96       19.96     3       10          80   0.52     16     80
  24                60  11.98       31.94     0        5         120   0.78     32     40
  24         64     20   3.99       35.93     0        2          48   0.31     64     80
  40               300  59.88       95.81     0      170        6800  44.29     48   1360
 104                20   3.99       99.80     0        1         104   0.68   4096   3992
8200                 1   0.20      100.00     0        1        8200  53.41  pages   8184
"""

WASTE = """\
Waste at the peak                  bytes  % of requested
predicted: rounding up to a class   5552           77.63
  of it forced by alignment         1424           19.91
predicted: rounding up to pages     8184           99.80
predicted: ends of spans              32            0.45
predicted: all                     13768           89.68
measured: rounding up to a class    5552           77.63
measured: room left by realloc       600            8.39
"""


class ReportTest(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("app.histogram", RECORDED)
        self.write("small.toml", support.SMALL_PROFILE)
        self.write("other.toml", "classes = [8, 32, 112, 272, 8208]\n")

    def report(self, *arguments):
        return self.succeed("report", "app.histogram", "--profile", "small.toml", *arguments)


class Text(ReportTest):
    def test_sizes(self):
        self.assertIn(f"\n{TABLE}\n", self.report())

    def test_waste(self):
        self.assertIn(f"\n{WASTE}\n", self.report())

    def test_totals(self):
        text = self.report()
        for line in (r"processes +2", r"threads +7", r"milliseconds recorded +1500", r"allocations +501",
                     r"bytes at the peak +15352  15\.0 KiB", r"bytes live when it was written +24  24 bytes"):
            self.assertRegex(text, f"(?m)^{line}$")

    def test_top_has_the_weightiest_and_all_cumulative_shares(self):
        """8200 has most of the peak, 40 most of the allocations."""
        text = self.report("--top", "2")
        chosen = [line.strip() for line in TABLE.splitlines() if line.split()[0] in ("40", "8200")]
        self.assertEqual([re.sub(" +", " ", line.strip()) for line in text.splitlines()[3:5]],
                         [re.sub(" +", " ", line) for line in chosen])
        self.assertIn("and 4 other sizes; --top 0 shows all", text)
        self.assertNotIn("Alignment", text)
        self.assertIn(TABLE, self.report("--top", "0"))

    def test_two_profiles(self):
        text = self.report("--against", "other.toml")
        lines = {line.split()[0]: line.split() for line in text.splitlines()[3:9]}
        self.assertEqual(text.splitlines()[2].split()[-8:], ["Class", "A", "Waste", "A", "Class", "B", "Waste", "B"])
        self.assertEqual(lines["8"][-4:], ["16", "80", "8", "0"])
        self.assertEqual(lines["8200"][-4:], ["pages", "8184", "8208", "8"])
        # 24 at 64: no class of the second profile is a multiple of 64.
        self.assertEqual(text.splitlines()[5].split()[-4:], ["64", "80", "pages", "16336"])
        self.assertIn("profile B: other.toml, 5 classes", text)

    def test_the_default_profile(self):
        self.assertIn("default.toml, 77 classes", self.succeed("report", "app.histogram"))

    def test_nothing_recorded(self):
        self.write("empty.histogram", make_histogram())
        text = self.succeed("report", "empty.histogram", "--svg", "empty.svg", "--html", "empty.html")
        self.assertIn("predicted: all", text)
        ElementTree.parse(self.folder / "empty.svg")
        ElementTree.parse(self.folder / "empty.html")


class Pictures(ReportTest):
    def marks(self, root, name):
        """The sizes at which a profile's classes are marked."""
        return [int(line.get("data-size")) for line in root.iter(f"{SVG}line") if line.get("class") == "class-end"
                and line.find(f"{SVG}title").text.endswith(f", {name}")]

    def test_svg(self):
        self.report("--against", "other.toml", "--svg", "app.svg")
        root = ElementTree.parse(self.folder / "app.svg").getroot()
        self.assertEqual(root.tag, f"{SVG}svg")
        self.assertEqual(self.marks(root, "small.toml"), [16, 32, 48, 64, 4096])
        self.assertEqual(self.marks(root, "other.toml"), [8, 32, 112, 272, 8208])
        titles = [title.text for title in root.iter(f"{SVG}title")]
        self.assertIn("17 to 24 bytes; 80 allocations; 168 bytes at the peak; 120 bytes lost with small.toml; "
                      "16.0 KiB lost with other.toml", titles)

    def test_everything_lies_within_the_picture(self):
        self.report("--against", "other.toml", "--svg", "app.svg")
        root = ElementTree.parse(self.folder / "app.svg").getroot()
        width, height = float(root.get("width")), float(root.get("height"))
        for one in root.iter(f"{SVG}rect"):
            x, y, wide, high = (float(one.get(name)) for name in ("x", "y", "width", "height"))
            self.assertTrue(0 <= x and x + wide <= width + 0.1 and 0 <= y and y + high <= height + 0.1, one.attrib)

    def test_bars_are_as_high_as_what_they_stand_for(self):
        self.report("--svg", "app.svg")
        root = ElementTree.parse(self.folder / "app.svg").getroot()
        heights = sorted(float(one.get("height")) for one in root.iter(f"{SVG}rect") if one.get("fill") == "#999999")
        # Allocations: 1, 20, 80, 100, 300; the least bar is one pixel high.
        self.assertEqual(heights, [1.0, 6.7, 26.7, 33.3, 100.0])

    def test_html(self):
        self.report("--against", "other.toml", "--html", "app.html")
        text = (self.folder / "app.html").read_text(encoding="utf-8")
        self.assertNotRegex(text, "(src|href)=")
        root = ElementTree.fromstring(text)
        rows = [[cell.text or "" for cell in row] for row in root.iter("tr")]
        self.assertIn(["predicted: all", "13768", "89.68", "29677", "193.31"], rows)
        self.assertIn(["48", "1", "170", "2047", "300", "6800", "1360", "20.00"], rows)
        self.assertIn(["pages", "", "", "", "1", "8200", "8184", "99.80"], rows)
        self.assertEqual(self.marks(root, "other.toml"), [8, 32, 112, 272, 8208])

    def test_a_long_name_is_cut(self):
        name = "x" * 100
        self.write(name, RECORDED)
        self.succeed("report", name, "--svg", "x.svg")
        root = ElementTree.parse(self.folder / "x.svg").getroot()
        self.assertEqual(root.find(f"{SVG}text").text, "x" * 77 + "...")

    def test_names_are_made_safe(self):
        name = "<b>&\"'\x01.histogram"
        self.write(name, RECORDED)
        self.succeed("report", name, "--svg", "x.svg", "--html", "x.html")
        for file in ("x.svg", "x.html"):
            content = "".join(ElementTree.parse(self.folder / file).getroot().itertext())
            self.assertIn("<b>&\"'?.histogram", content)

    def test_the_same_bytes_each_time(self):
        for name in ("one", "two"):
            self.report("--against", "other.toml", "--svg", f"{name}.svg", "--html", f"{name}.html")
        files = self.files()
        self.assertEqual(files["one.svg"], files["two.svg"])
        self.assertEqual(files["one.html"], files["two.html"])

    def test_a_reader_that_goes_away_does_not_cost_the_picture(self):
        self.write("large.histogram", make_histogram(*(make_row(8 * size, 1, 1) for size in range(1, 20000))))
        with self.start("report", "large.histogram", "--top", "0", "--svg", "large.svg") as process:
            process.stdout.read(10)
            process.stdout.close()
            process.stderr.read()
        self.assertTrue((self.folder / "large.svg").exists())


if __name__ == "__main__":
    unittest.main()

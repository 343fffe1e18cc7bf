"""classes: what it writes is a profile that the generator accepts, the same each time, with the options as they were given."""

import re
import subprocess
import sys
import tomllib
import unittest

import support
from support import make_histogram, make_row

RECORDED = make_histogram(*(make_row(size, 1000 * size, 100) for size in (40, 264, 1032, 5000, 20008, 300000)))


class Classes(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("app.histogram", RECORDED)

    def make(self, *arguments, output="app.toml"):
        text = self.succeed("classes", "app.histogram", "-o", output, *arguments)
        return text, tomllib.loads((self.folder / output).read_text(encoding="utf-8"))

    def test_the_generator_accepts_it(self):
        for arguments in ((), ("--objective", "memory"), ("--objective", "speed"),
                          ("--max-classes", "255", "--max-step", "1.1"), ("--max-classes", "3", "--max-step", "32"),
                          ("--base", support.SOURCE / "classes" / "rtmalloc.toml")):
            with self.subTest(arguments=arguments):
                self.make(*arguments)
                result = subprocess.run([sys.executable, "-B", support.GENERATOR, "--check", self.folder / "app.toml"],
                                        capture_output=True, text=True, check=False)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_the_sizes_that_were_recorded_are_classes(self):
        _, profile = self.make()
        sizes = {entry["size"] for entry in profile["class"]}
        self.assertLessEqual({48, 272, 5008, 20016}, sizes)

    def test_the_gain(self):
        text, profile = self.make()
        before, after = re.search(r"(?m)^lost by rounding up to a class +(\d+) +(\d+) ", text).groups()
        # To the default classes 48, 288, 1152, 5120, 20480 and 327680.
        self.assertEqual(int(before), 100 * (8 + 24 + 120 + 120 + 472 + 27680))
        self.assertLess(int(after), int(before) // 10)
        self.assertRegex(text, rf"(?m)^classes +77 +{len(profile['class'])}$")

    def test_options_are_kept_to(self):
        _, profile = self.make("--max-classes", "60", "--max-step", "1.5")
        sizes = [entry["size"] for entry in profile["class"]]
        self.assertLessEqual(len(sizes), 60)
        self.assertTrue(all(2 * size <= 3 * max(before, 128) for before, size in zip(sizes, sizes[1:])))

    def test_the_base_gives_its_config_and_what_to_cover(self):
        self.write("base.toml", "classes = [16, 32, 2048]\n[config]\npage_size = 4096\nmax_overages = 7\n")
        _, profile = self.make("--base", "base.toml")
        self.assertEqual((profile["config"]["page_size"], profile["config"]["max_overages"]), (4096, 7))
        self.assertEqual(profile["class"][-1]["size"], 2048)

    def test_the_same_bytes_each_time_and_on_standard_output(self):
        self.make()
        result = self.run_tool("classes", "app.histogram", "-o", "-")
        self.assertEqual(result.stdout, (self.folder / "app.toml").read_text(encoding="utf-8"))
        self.assertIn("lost in all", result.stderr)

    def test_settings_that_cannot_be_met(self):
        self.write("out", "what was there before")
        for arguments, says in ((("--max-classes", "3"), "no profile of 3 classes"), (("--max-classes", "256"), "256"),
                                (("--max-classes", "0"), "0"), (("--max-step", "1"), "1"), (("--max-step", "nan"), "nan"),
                                (("--max-step", "33"), "33")):
            with self.subTest(arguments=arguments):
                self.check_refused("classes", "app.histogram", "-o", "out", *arguments, says=says)


if __name__ == "__main__":
    unittest.main()

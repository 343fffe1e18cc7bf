"""The command line: --check's output, exit statuses, help, and that a header appears whole or not at all."""

import os
import pathlib
import tempfile
import unittest

import support

CHECK_OUTPUT = """\
class  size  pages  objects  batch  capacity  tail waste %  worst internal waste %  alignment
    1     8      1     1024     32      2047          0.00                   87.50          8
    2    16      2     1024     32        63          0.00                   43.75         16
    3    24      1      341     32      2047          0.10                  unused          8
    4    48      1      170     32      2047          0.39                   64.58         16
    5    96      1       85     32      2047          0.39                   48.96         32
    6   192      1       42   1023      1023          1.56                   49.48         64

classes: 6, page size 8192, requests up to 192 bytes, alignment 16
worst tail waste: 1.56 %
worst internal waste above 128 to 65536 bytes: 49.48 %
note: class[1].capacity: 100: rounded down to 63 (a power of two less one)
note: class[2].size: 24: taken by no request, since alignment is 16
note: class[5].batch_size: 1024: lowered to 1023, what a thread's stack can hold
note: config.max_pages: 200: taken as 128, a span of a class has at most 1048576 bytes
note: pages: derived for 5 of 6 classes, so that at most 12.5 % of a span is left unused
"""


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.profile = self.directory / "x.toml"
        self.profile.write_text("classes = [16]\n", encoding="utf-8")

    def run_generator(self, *arguments):
        return support.run_generator(*arguments, directory=self.directory)


class Check(CommandTest):
    def test_wide_step(self):
        """As in a suggestion of rtmalloc's for a program that asks for few sizes: accepted, and said."""
        self.profile.write_text("classes = [8, 48, 512, 4096]\n", encoding="utf-8")
        result = self.run_generator("--check", "x.toml")
        self.assertEqual(result.returncode, 0, result.stderr)
        for note in ("note: classes[2]: 512: more than 2 times the class that serves smaller requests (48)",
                     "note: classes[3]: 4096: more than 2 times the class that serves smaller requests (512)"):
            self.assertIn(note, result.stdout)
        self.assertNotIn("classes[1]", result.stdout)

    def test_output(self):
        self.profile.write_text("""
[config]
max_pages = 200
[[class]]
size = 8
[[class]]
size = 16
pages = 2
capacity = 100
batch_size = 32
[[class]]
size = 24
[[class]]
size = 48
[[class]]
size = 96
[[class]]
size = 192
batch_size = 1024
""", encoding="utf-8")
        result = self.run_generator("--check", "x.toml")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout, CHECK_OUTPUT)

    def test_shipped_profiles(self):
        for profile in sorted(support.CLASSES.glob("*.toml")):
            with self.subTest(profile=profile.name):
                result = self.run_generator("--check", profile)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_writes_nothing(self):
        self.run_generator("--check", "x.toml")
        self.assertEqual(os.listdir(self.directory), ["x.toml"])


class Output(CommandTest):
    def test_success_is_silent_and_leaves_one_file(self):
        result = self.run_generator("x.toml", "--output", "size_classes.h")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(sorted(os.listdir(self.directory)), ["size_classes.h", "x.toml"])

    def test_header_is_replaced_not_rewritten(self):
        """Whoever has the old header open goes on reading the old header."""
        header = self.directory / "size_classes.h"
        header.write_text("old", encoding="utf-8")
        with header.open(encoding="utf-8") as old:
            self.assertEqual(self.run_generator("x.toml", "--output", "size_classes.h").returncode, 0)
            self.assertEqual(old.read(), "old")
        self.assertIn("CLASS_COUNT 2", header.read_text(encoding="utf-8"))

    def test_links_and_pipes_stay(self):
        link, pipe, target = (self.directory / name for name in ("link", "pipe", "target"))
        link.symlink_to("target")
        self.assertEqual(self.run_generator("x.toml", "--output", "link").returncode, 0)
        self.assertTrue(link.is_symlink())
        self.assertIn("CLASS_COUNT 2", target.read_text(encoding="utf-8"))
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.assertEqual(self.run_generator("x.toml", "--output", "pipe").returncode, 0)
        self.assertTrue(pipe.is_fifo())
        self.assertIn(b"PAGE_SHIFT", os.read(reader, 1000))
        os.close(reader)

    def test_the_mode_is_the_usual_one(self):
        """As the mask for new files says; a file that is replaced keeps its own."""
        header = self.directory / "size_classes.h"
        before = os.umask(0o027)
        self.addCleanup(os.umask, before)
        self.assertEqual(self.run_generator("x.toml", "--output", "size_classes.h").returncode, 0)
        self.assertEqual(header.stat().st_mode & 0o777, 0o640)
        header.chmod(0o600)
        self.assertEqual(self.run_generator("x.toml", "--output", "size_classes.h").returncode, 0)
        self.assertEqual(header.stat().st_mode & 0o777, 0o600)

    def test_refused_profile_leaves_the_old_header(self):
        header = self.directory / "size_classes.h"
        header.write_text("old", encoding="utf-8")
        self.profile.write_text("classes = [20]\n", encoding="utf-8")
        self.assertEqual(self.run_generator("x.toml", "--output", "size_classes.h").returncode, 1)
        self.assertEqual(header.read_text(encoding="utf-8"), "old")

    def test_no_such_folder(self):
        result = self.run_generator("x.toml", "--output", "absent/size_classes.h")
        self.assertEqual((result.returncode, result.stderr),
                         (1, "absent/size_classes.h: cannot be written: No such file or directory\n"))

    def test_output_is_a_folder(self):
        (self.directory / "folder").mkdir()
        result = self.run_generator("x.toml", "--output", "folder")
        self.assertEqual((result.returncode, result.stderr), (1, "folder: cannot be written: Is a directory\n"))
        self.assertEqual(sorted(os.listdir(self.directory)), ["folder", "x.toml"], "no temporary file stays")


class Usage(CommandTest):
    def check_usage(self, *arguments):
        result = self.run_generator(*arguments)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertTrue(result.stderr.startswith("usage: size_classes.py"), result.stderr)

    def test_no_arguments(self):
        self.check_usage()

    def test_no_action(self):
        self.check_usage("x.toml")

    def test_no_profile(self):
        self.check_usage("--check")

    def test_both_actions(self):
        self.check_usage("x.toml", "--check", "--output", "size_classes.h")

    def test_unknown_option(self):
        self.check_usage("x.toml", "--check", "--quick")

    def test_output_without_value(self):
        self.check_usage("x.toml", "--output")

    def test_help(self):
        result = self.run_generator("--help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for word in ("--check", "--output", "PROFILE", "docs/profiles.md"):
            self.assertIn(word, result.stdout)


if __name__ == "__main__":
    unittest.main()

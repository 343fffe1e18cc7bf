"""The generated header as C: compiles without warnings, is right for every offset and request, and is the same each time."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import support

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
PROFILES = ("default.toml", "rtmalloc.toml")


class HeaderTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def generate(self, profile, header="size_classes.h"):
        return support.generate(profile, self.directory / header)

    def write_profile(self, text):
        profile = self.directory / "profile.toml"
        profile.write_text(text, encoding="utf-8")
        return profile


class Compiled(HeaderTest):
    def test_tables(self):
        compilers = support.compilers()
        if not compilers:
            self.skipTest("neither gcc nor clang is installed")
        for compiler in compilers:
            for profile in PROFILES:
                with self.subTest(compiler=compiler, profile=profile):
                    self.generate(support.CLASSES / profile)
                    self.check_program(compiler)

    def check_program(self, compiler):
        program = self.directory / "program"
        sources = [HERE / "tables_main.c", HERE / "tables_define.c"]
        built = subprocess.run([compiler, *FLAGS, f"-I{self.directory}", "-o", program, *sources], text=True,
                               capture_output=True, check=False)
        self.assertEqual((built.returncode, built.stderr), (0, ""))
        run = subprocess.run([program], text=True, capture_output=True, check=False)
        self.assertEqual((run.returncode, run.stderr, run.stdout), (0, "", ""))

    def test_program_finds_a_wrong_reciprocal(self):
        """The check above can fail."""
        compilers = support.compilers()
        if not compilers:
            self.skipTest("neither gcc nor clang is installed")
        text = self.generate(self.write_profile("classes = [48]\n"))
        factor = -(-2**44 // 48)
        self.assertIn(f"UINT64_C({factor})", text)
        (self.directory / "size_classes.h").write_text(text.replace(f"({factor})", f"({factor - 1})"))
        with self.assertRaises(AssertionError):
            self.check_program(compilers[0])


class Text(HeaderTest):
    def test_same_input_gives_same_bytes(self):
        first = self.generate(support.CLASSES / "default.toml", "first.h")
        copies = self.directory / "elsewhere"
        copies.mkdir()
        copy = copies / "default.toml"
        copy.write_bytes((support.CLASSES / "default.toml").read_bytes())
        os.utime(copy, (0, 0))
        for seed in ("0", "1"):
            environment = dict(os.environ, PYTHONHASHSEED=seed, TZ="Pacific/Apia", LC_ALL="C")
            subprocess.run([sys.executable, support.GENERATOR, "default.toml", "--output", "second.h"],
                           cwd=copies, env=environment, check=True)
            self.assertEqual((copies / "second.h").read_text(encoding="utf-8"), first)

    def test_no_path_of_the_machine(self):
        text = self.generate(support.CLASSES / "default.toml")
        self.assertIn("generated from default.toml", text)
        self.assertNotIn(str(support.CLASSES), text)
        self.assertNotIn(str(self.directory), text)

    def test_every_change_of_the_profile_shows(self):
        base = '[config]\n{config}\n[[class]]\nsize = 16\n{fields}\n[[class]]\nsize = 32\n'
        variants = [{}, {"config": "page_size = 4096"}, {"config": "thread_cache_size = 33554433"},
                    {"config": "min_per_thread_cache = 1"}, {"config": "steal_amount = 1"},
                    {"config": "max_free_list_length = 8191"}, {"config": "max_overages = 4"},
                    {"config": "max_transfer_slots = 65"}, {"config": "max_pages = 127"},
                    {"config": "alignment = 8"}, {"fields": "pages = 2"}, {"fields": "batch_size = 3"},
                    {"fields": "capacity = 3"}, {"fields": "[[class]]\nsize = 24"}]
        codes = set()
        for variant in variants:
            text = self.generate(self.write_profile(base.format(**{"config": "", "fields": ""} | variant)))
            codes.add(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
        self.assertEqual(len(codes), len(variants))

    def test_every_constant_has_a_comment(self):
        lines = self.generate(support.CLASSES / "default.toml").splitlines()
        for before, line in zip(lines, lines[1:]):
            if line.startswith("#define") and "SIZE_CLASSES_H" not in line:
                self.assertRegex(before, r"^/\* .+ \*/$", line)

    def test_table_for_people_is_the_one_of_check(self):
        text = self.generate(support.CLASSES / "default.toml")
        printed = support.run_generator("--check", support.CLASSES / "default.toml").stdout
        comment = re.match(r"/\*\n(.*?) \*/", text, flags=re.DOTALL).group(1)
        stripped = [line.removeprefix(" *").strip() for line in comment.splitlines()]
        for line in printed.splitlines():
            self.assertIn(line.strip(), stripped)

    def test_comment_cannot_be_ended_from_outside(self):
        """A profile's name is a stranger's text; a slash cannot stand in it, but a backslash and a line break can."""
        profile = self.directory / "a* \\\n?b\udcff.toml"
        profile.write_text("classes = [16]\n", encoding="utf-8")
        text = self.generate(profile)
        self.assertIn("generated from a* ", text)
        self.assertEqual(support.Header(text).constants["CLASS_COUNT"], 2)


if __name__ == "__main__":
    unittest.main()

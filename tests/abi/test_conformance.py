"""What the conformance program leaves to a reader: the XML of malloc_info and the text of malloc_stats, of both allocators."""

import os
import subprocess
import sys
import unittest
from xml.etree import ElementTree

import support

SHARED = os.environ["TIERMALLOC_SHARED"]
PROGRAM = ""


def run(argument, preload=""):
    environment = dict(os.environ)
    environment.pop("LD_PRELOAD", None)
    if preload:
        environment["LD_PRELOAD"] = preload
    return subprocess.run(support.command(PROGRAM, argument), capture_output=True, text=True, timeout=60, env=environment)


class Reports(unittest.TestCase):
    def malloc_info(self, preload):
        result = run("--malloc-info", preload)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return ElementTree.fromstring(result.stdout)

    def test_malloc_info_of_libc(self):
        root = self.malloc_info("")
        self.assertEqual(root.tag, "malloc")
        self.assertNotIn("tiermalloc", ElementTree.tostring(root, "unicode"))

    def test_malloc_info_of_tiermalloc(self):
        root = self.malloc_info(SHARED)
        self.assertEqual(root.tag, "malloc")
        self.assertIn("version", root.attrib)
        self.assertIn("tiermalloc", ElementTree.tostring(root, "unicode"))
        numbers = [value for one in root.iter() for value in one.attrib.values() if value.isdigit()]
        numbers += [one.text for one in root.iter() if one.text and one.text.strip().isdigit()]
        self.assertTrue(any(int(number) >= 100000 for number in numbers), "the live 100000 bytes are nowhere")

    def test_malloc_stats_goes_to_stderr(self):
        for name, preload in (("libc", ""), ("tiermalloc", SHARED)):
            with self.subTest(allocator=name):
                result = run("--malloc-stats", preload)
                self.assertEqual((result.returncode, result.stdout), (0, ""))
                self.assertGreater(len(result.stderr), 20)
                self.assertEqual("tiermalloc" in result.stderr, name == "tiermalloc")

    def test_unknown_argument_is_refused(self):
        result = run("--nonsense")
        self.assertEqual(result.returncode, 2)
        self.assertIn("usage", result.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()

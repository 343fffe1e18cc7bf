"""What the fast paths may contain, counted on the disassembly of the shared library.

Every path from the function to `ret` that does not go through the slow door counts, so the limits hold however the compiler
laid the code out. `endbr64` is not counted. Prints the counts.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import path_walker

SHARED = os.environ["TIERMALLOC_SHARED"]
BUILD = Path(os.environ["TIERMALLOC_BUILD"])

# Up to this size the lookup of the class is a single load, whatever the profile.
SMALL_SIZE = 64 * 1024

MALLOC_LIMITS = {"instructions": 17, "loads": 5, "stores": 1, "branches": 3}
# Above 64 KiB: four instructions more, among them a comparison and its branch.
MEDIUM_LIMITS = {"instructions": 17 + 4, "loads": 5, "stores": 1, "branches": 4}
# Seven loads, and the one that finds an object freed twice in a row.
FREE_LIMITS = {"instructions": 18, "loads": 8, "stores": 2, "branches": 3}
# Without the page map's load, but with the test of the size and NULL.
SIZED_FREE_LIMITS = {"instructions": 20, "loads": 8, "stores": 2, "branches": 4}
# With both: the size is held against the page map. sdallocx tests its flags, too.
CHECKED_FREE_LIMITS = {"instructions": 27, "loads": 9, "stores": 2, "branches": 5}
FLAGGED_FREE_LIMITS = {"instructions": 29, "loads": 9, "stores": 2, "branches": 6}
SIZED_FREES = {
    "_ZdlPvm": ("operator delete(void *, size_t)", SIZED_FREE_LIMITS),
    "free_sized": ("free_sized", CHECKED_FREE_LIMITS),
    "sdallocx": ("sdallocx", FLAGGED_FREE_LIMITS),
}


def build_options():
    text = (BUILD / "meson-info" / "intro-buildoptions.json").read_text()
    return {option["name"]: option["value"] for option in json.loads(text)}


def constant(name):
    """A number of the profile that the library was built with."""
    text = (BUILD / "codegen" / "size_classes.h").read_text()
    return int(re.search(rf"#define {name} \(\(size_t\)(\d+)\)", text).group(1))


def with_new_alignment(limits):
    """Where malloc aligns to 8 bytes, operator new and the delete with a size look for a class that has 16."""
    if constant("REQUEST_ALIGNMENT") == 16:
        return limits
    more = {"instructions": 4, "loads": 1, "stores": 0, "branches": 1}
    return {key: limit + more[key] for key, limit in limits.items()}


def reason_to_skip():
    if platform.machine() != "x86_64":
        return f"the fast paths are counted on x86-64, not on {platform.machine()}"
    if not shutil.which("objdump"):
        return "objdump is not there"
    options = build_options()
    if options.get("optimization") not in ("2", "3"):
        return f"built with optimization {options.get('optimization')}; the limits are those of a release build"
    if options.get("b_sanitize", "none") != "none" or options.get("b_coverage"):
        return "built with instrumentation"
    return ""


REASON = reason_to_skip()


@unittest.skipIf(REASON, REASON)
class FastPath(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.walker = path_walker.Walker(path_walker.disassemble(SHARED))
        cls.addresses = {}
        output = subprocess.run(["nm", "-D", "-P", "--defined-only", SHARED], check=True, capture_output=True, text=True)
        for line in output.stdout.splitlines():
            name, _, address = line.split()[:3]
            cls.addresses[name.split("@")[0]] = int(address, 16)

    def fast_paths(self, symbol):
        fast, exits = self.walker.paths(self.addresses[symbol])
        self.assertTrue(fast, f"{symbol} has no path to ret without the door; it goes to {sorted(exits)}")
        for name in sorted(exits):
            self.assertIn("door", name, f"{symbol} leaves its fast path for something that is not the door")
        return fast

    def check_paths(self, what, paths, limits):
        """All paths keep to the limits; the largest counts are printed."""
        largest = {key: max(path.count()[key] for path in paths) for key in limits}
        print(f"{what}: " + ", ".join(f"{largest[key]} {key} (at most {limits[key]})" for key in limits))
        for path in paths:
            for key, limit in limits.items():
                self.assertLessEqual(path.count()[key], limit, f"{key} of {what}:\n{path.text()}")
            for instruction in path.counted():
                self.assertIsNone(path_walker.forbidden(instruction), f"{instruction.text} in {what}:\n{path.text()}")

    def test_malloc_of_small_sizes(self):
        small, _ = path_walker.split_by_size(self.fast_paths("malloc"))
        self.check_paths("malloc to 64 KiB", small, MALLOC_LIMITS)
        self.assertGreaterEqual(max(path.count()["branches"] for path in small), 2, "the path found is not malloc's")

    def test_malloc_of_medium_sizes(self):
        if constant("LARGEST_CLASS_SIZE") <= SMALL_SIZE:
            self.skipTest(f"the profile has no class above {SMALL_SIZE} bytes")
        _, medium = path_walker.split_by_size(self.fast_paths("malloc"))
        self.assertTrue(medium, "malloc has no fast path above 64 KiB")
        self.check_paths("malloc above 64 KiB", medium, MEDIUM_LIMITS)

    def test_operator_new(self):
        small, medium = path_walker.split_by_size(self.fast_paths("_Znwm"))
        self.check_paths("operator new to 64 KiB", small, with_new_alignment(MALLOC_LIMITS))
        if medium:
            self.check_paths("operator new above 64 KiB", medium, with_new_alignment(MEDIUM_LIMITS))

    def test_free(self):
        paths = self.fast_paths("free")
        self.check_paths("free", paths, FREE_LIMITS)
        self.assertGreaterEqual(max(path.count()["stores"] for path in paths), 1, "the path found is not free's")

    def test_operator_delete(self):
        self.check_paths("operator delete(void *)", self.fast_paths("_ZdlPv"), FREE_LIMITS)

    def test_sized_frees(self):
        for symbol, (name, sized) in SIZED_FREES.items():
            with self.subTest(function=name):
                if symbol == "_ZdlPvm":
                    sized = with_new_alignment(sized)
                small, medium = path_walker.split_by_size(self.fast_paths(symbol))
                self.check_paths(name, small, sized)
                if medium:
                    limits = dict(sized)
                    limits["instructions"] += 4
                    limits["branches"] += 1
                    self.check_paths(name + " above 64 KiB", medium, limits)


if __name__ == "__main__":
    unittest.main()

"""What the fast paths may contain, counted on the disassembly of the shared library.

Every path from the function to `ret` that does not go through the slow door counts, so the limits hold however the compiler
laid the code out. Prints the counts.
"""

import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import path_walker
from instructions_aarch64 import Aarch64Instruction
from instructions_x86_64 import X86Instruction

SHARED = os.environ["TIERMALLOC_SHARED"]
BUILD = Path(os.environ["TIERMALLOC_BUILD"])
PROCESSOR = os.environ["TIERMALLOC_PROCESSOR"]
NM, OBJDUMP = os.environ["NM"], os.environ["OBJDUMP"]

# Up to this size the lookup of the class is a single load, whatever the profile.
SMALL_SIZE = 64 * 1024

INSTRUCTION_CLASSES = {"aarch64": Aarch64Instruction, "x86_64": X86Instruction}


def at_most(instructions, loads, stores, branches):
    return {"instructions": instructions, "loads": loads, "stores": stores, "branches": branches}


# x86-64: above 64 KiB malloc needs four instructions more, among them a comparison and its branch. A free has seven loads, and
# the one that finds an object freed twice in a row; a delete with a size none for the page map, but a test of the size and
# of NULL. free_sized has both: the size is held against the page map. sdallocx tests its flags, too.
#
# aarch64: addresses take two instructions, and so does the thread's block; two neighbouring words are one load.
ALL_LIMITS = {
    "x86_64": {
        "malloc": at_most(17, 5, 1, 3),
        "malloc above 64 KiB": at_most(21, 5, 1, 4),
        "free": at_most(18, 8, 2, 3),
        "operator delete(void *, size_t)": at_most(20, 8, 2, 4),
        "free_sized": at_most(27, 9, 2, 5),
        "sdallocx": at_most(29, 9, 2, 6),
    },
    "aarch64": {
        "malloc": at_most(22, 5, 1, 3),
        "malloc above 64 KiB": at_most(27, 5, 1, 4),
        "free": at_most(27, 7, 2, 3),
        "operator delete(void *, size_t)": at_most(26, 7, 2, 4),
        "free_sized": at_most(36, 9, 2, 5),
        "sdallocx": at_most(37, 9, 2, 6),
    },
}
LIMITS = ALL_LIMITS.get(PROCESSOR)
# What a section needs beyond that, in a build whose fast paths are sections: the area and where the number is in it, arming,
# the number and its bound, the slab. The NULL below a stack is told in the section, from what it has loaded. (x86-64's.)
SECTION_TO_POP = {"instructions": 8, "loads": 4, "stores": 1, "branches": 0}
SECTION_TO_PUSH = {"instructions": 10, "loads": 4, "stores": 1, "branches": 1}
SIZED_FREES = {"_ZdlPvm": "operator delete(void *, size_t)", "free_sized": "free_sized", "sdallocx": "sdallocx"}


def build_options():
    text = (BUILD / "meson-info" / "intro-buildoptions.json").read_text()
    return {option["name"]: option["value"] for option in json.loads(text)}


def constant(name):
    """A number of the profile that the library was built with."""
    text = (BUILD / "codegen" / "size_classes.h").read_text()
    return int(re.search(rf"#define {name} \(\(size_t\)(\d+)\)", text).group(1))


def in_this_build(limits, section):
    """Fast paths of the frontend per CPU are sections."""
    if build_options().get("frontend") != "cpu":
        return limits
    return {key: limit + section[key] for key, limit in limits.items()}


def with_new_alignment(limits):
    """Where malloc aligns to 8 bytes, operator new and the delete with a size look for a class that has 16."""
    if constant("REQUEST_ALIGNMENT") == 16:
        return limits
    more = {"instructions": 4, "loads": 1, "stores": 0, "branches": 1}
    return {key: limit + more[key] for key, limit in limits.items()}


def reason_to_skip():
    if LIMITS is None:
        return f"the fast paths are counted on {' and '.join(ALL_LIMITS)}, not on {PROCESSOR}"
    if not shutil.which(OBJDUMP):
        return f"{OBJDUMP} is not there"
    options = build_options()
    if PROCESSOR != "x86_64" and options.get("frontend") == "cpu":
        return "the limits of fast paths that are sections are those of x86-64"
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
        cls.walker = path_walker.Walker(path_walker.disassemble(SHARED, INSTRUCTION_CLASSES[PROCESSOR], OBJDUMP))
        cls.addresses = {}
        output = subprocess.run([NM, "-D", "-P", "--defined-only", SHARED], check=True, capture_output=True, text=True)
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
                self.assertIsNone(instruction.forbidden(), f"{instruction.text} in {what}:\n{path.text()}")

    def test_malloc_of_small_sizes(self):
        small, _ = path_walker.split_by_size(self.fast_paths("malloc"))
        self.check_paths("malloc to 64 KiB", small, in_this_build(LIMITS["malloc"], SECTION_TO_POP))
        self.assertGreaterEqual(max(path.count()["branches"] for path in small), 2, "the path found is not malloc's")

    def test_malloc_of_medium_sizes(self):
        if constant("LARGEST_CLASS_SIZE") <= SMALL_SIZE:
            self.skipTest(f"the profile has no class above {SMALL_SIZE} bytes")
        _, medium = path_walker.split_by_size(self.fast_paths("malloc"))
        self.assertTrue(medium, "malloc has no fast path above 64 KiB")
        self.check_paths("malloc above 64 KiB", medium, in_this_build(LIMITS["malloc above 64 KiB"], SECTION_TO_POP))

    def test_operator_new(self):
        small, medium = path_walker.split_by_size(self.fast_paths("_Znwm"))
        limits = in_this_build(with_new_alignment(LIMITS["malloc"]), SECTION_TO_POP)
        self.check_paths("operator new to 64 KiB", small, limits)
        if medium:
            limits = in_this_build(with_new_alignment(LIMITS["malloc above 64 KiB"]), SECTION_TO_POP)
            self.check_paths("operator new above 64 KiB", medium, limits)

    def test_free(self):
        paths = self.fast_paths("free")
        self.check_paths("free", paths, in_this_build(LIMITS["free"], SECTION_TO_PUSH))
        self.assertGreaterEqual(max(path.count()["stores"] for path in paths), 1, "the path found is not free's")

    def test_operator_delete(self):
        limits = in_this_build(LIMITS["free"], SECTION_TO_PUSH)
        self.check_paths("operator delete(void *)", self.fast_paths("_ZdlPv"), limits)

    def test_sized_frees(self):
        for symbol, name in SIZED_FREES.items():
            with self.subTest(function=name):
                sized = LIMITS[name]
                if symbol == "_ZdlPvm":
                    sized = with_new_alignment(sized)
                sized = in_this_build(sized, SECTION_TO_PUSH)
                small, medium = path_walker.split_by_size(self.fast_paths(symbol))
                self.check_paths(name, small, sized)
                if medium:
                    limits = dict(sized)
                    limits["instructions"] += 4
                    limits["branches"] += 1
                    self.check_paths(name + " above 64 KiB", medium, limits)


if __name__ == "__main__":
    unittest.main()

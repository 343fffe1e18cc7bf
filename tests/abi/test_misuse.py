"""Every wrong use stops the process with SIGABRT and one line on stderr that says which pointer, what, and which size class.

Arguments before unittest's own: the misuse program linked with the shared library, and the one linked fully statically.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import unittest

import support

PROGRAMS = {}

INTERIOR = r"pointer is inside an object, not at its start"
DOUBLE = r"object is already free \(double free\)"
NEVER = r"pointer was never allocated"
SIZED = r"size \d+ of a sized free does not fit the object's size"
NO_LONGER = rf"({DOUBLE}|{NEVER})"
# A cache of small objects holds what is in no span: freed twice, and the span has gone since, or a sized free of anything.
NO_SPAN = rf"({DOUBLE}, or a sized free of what was never allocated|{NEVER})"

# What the program ends with where the profile leaves no room for the use.
NOT_APPLICABLE = 77

# Name of the use -> (function named in the message, what is wrong, is it a large block); None for the class: not looked at.
CLASS, LARGE, NOTHING = "class", "large", None
USES = {
    "interior_of_small": (r"free", INTERIOR, CLASS),
    "interior_of_small_misaligned": (r"free", INTERIOR, CLASS),
    "interior_of_small_end": (r"free", INTERIOR, CLASS),
    "interior_of_medium": (r"free", INTERIOR, CLASS),
    "interior_of_medium_misaligned": (r"free", INTERIOR, CLASS),
    "interior_of_large": (r"free", INTERIOR, LARGE),
    "interior_of_large_next_page": (r"free", INTERIOR, LARGE),
    "interior_of_large_next_mib": (r"free", INTERIOR, LARGE),
    "interior_among_many": (r"free", INTERIOR, CLASS),
    "double_free_last_8": (r"free", DOUBLE, CLASS),
    "double_free_last_48": (r"free", DOUBLE, CLASS),
    "double_free_last_4096": (r"free", DOUBLE, CLASS),
    "double_free_last_65536": (r"free", DOUBLE, CLASS),
    "double_free_last_medium": (r"free", DOUBLE, CLASS),
    "double_free_last_of_many": (r"free", DOUBLE, CLASS),
    "double_free_large": (r"free", NO_LONGER, NOTHING),
    "double_free_huge": (r"free", NO_LONGER, NOTHING),
    "double_free_later": (r"free", DOUBLE, CLASS),
    "double_free_much_later": (r"free", NO_LONGER, NOTHING),
    "double_free_of_medium_later": (r"free", DOUBLE, CLASS),
    "double_free_in_another_thread": (r"free", NO_LONGER, NOTHING),
    "never_allocated": (r"free", NEVER, NOTHING),
    "never_allocated_sized": (r"free(_sized)?", NO_SPAN, NOTHING),
    "never_allocated_realloc": (r"realloc", NEVER, NOTHING),
    "never_allocated_usable_size": (r"malloc_usable_size", NEVER, NOTHING),
    "sized_small_as_other_small": (r"free(_sized)?", SIZED, CLASS),
    "sized_small_as_smaller": (r"free(_sized)?", SIZED, CLASS),
    "sized_small_as_medium": (r"free(_sized)?", SIZED, CLASS),
    "sized_small_as_large": (r"free_sized", SIZED, CLASS),
    "sized_medium_as_small": (r"free(_sized)?", SIZED, CLASS),
    "sized_large_as_small": (r"free(_sized)?", SIZED, LARGE),
    "sized_large_as_larger": (r"free_sized", SIZED, LARGE),
    "sdallocx_mismatch": (r"(sdallocx|free)", SIZED, LARGE),
    "aligned_sized_mismatch": (r"(free_aligned_sized|free)", SIZED, LARGE),
    "realloc_interior_small": (r"realloc", INTERIOR, CLASS),
    "realloc_interior_large": (r"realloc", INTERIOR, LARGE),
    "realloc_after_free_large": (r"realloc", NO_LONGER, NOTHING),
    "usable_size_interior_small": (r"malloc_usable_size", INTERIOR, CLASS),
    "usable_size_interior_large": (r"malloc_usable_size", INTERIOR, LARGE),
}


def run_use(program, use):
    """Runs one wrong use without leaving a core file; a hang is a failure."""
    result = subprocess.run(
        support.command(program, use),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    result.stderr = support.own_errors(result.stderr)
    return result


class Misuse:
    """The uses, for one way of linking."""

    linking = ""

    def run_use(self, use):
        program = PROGRAMS[self.linking]
        if not program:
            self.skipTest(f"no {self.linking} program was built")
        return run_use(program, use)

    def check_use(self, use):
        function, what, kind = USES[use]
        result = self.run_use(use)
        if result.returncode == NOT_APPLICABLE:
            self.skipTest(f"not with this profile: {result.stdout.strip()}")
        seen = f"\nstatus {result.returncode}, stdout {result.stdout!r}, stderr {result.stderr!r}"
        self.assertEqual(result.returncode, -signal.SIGABRT, seen)
        self.assertRegex(result.stdout, r"\Asize \d+\n", seen)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 1, seen)
        self.assertRegex(lines[0], rf"\Atiermalloc: {function}\(0x[0-9a-f]+\): {what}", seen)
        if kind == CLASS:
            size = re.match(r"size (\d+)\n", result.stdout).group(1)
            self.assertRegex(lines[0], rf"; size class {size}\Z", seen)
        elif kind == LARGE:
            self.assertRegex(lines[0], r"; (size class )?large \(\d+ bytes\)\Z", seen)

    def test_right_use_is_silent(self):
        result = self.run_use("no_misuse")
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_every_use_is_listed(self):
        program = PROGRAMS[self.linking]
        if not program:
            self.skipTest(f"no {self.linking} program was built")
        listed = subprocess.run(support.command(program), capture_output=True, text=True, timeout=60).stdout.split()
        self.assertEqual(set(listed), set(USES) | {"no_misuse", "foreign_address"})

    def check_foreign_address(self, message):
        result = self.run_use("foreign_address")
        seen = f"\nstatus {result.returncode}, stderr {result.stderr!r}"
        self.assertEqual(result.returncode, -signal.SIGABRT, seen)
        self.assertRegex(result.stderr, message, seen)


def add_tests(case):
    """One test method per use, so that each is reported by itself."""
    for use in USES:
        setattr(case, f"test_{use}", lambda self, use=use: self.check_use(use))
    return case


@add_tests
class Linked(Misuse, unittest.TestCase):
    linking = "shared"

    def test_foreign_address(self):
        """The next allocator is asked, and it refuses the pointer too."""
        self.check_foreign_address(r"\A(free\(\)|munmap_chunk\(\)): invalid pointer")


@add_tests
class Static(Misuse, unittest.TestCase):
    linking = "static"

    def test_foreign_address(self):
        """Where there is no next allocator, such a pointer is a wrong use."""
        self.check_foreign_address(r"\Atiermalloc: free\(0x[0-9a-f]+\): ")


if __name__ == "__main__":
    PROGRAMS["shared"], PROGRAMS["static"] = sys.argv.pop(1), sys.argv.pop(1)
    for name, path in PROGRAMS.items():
        if path and not os.access(path, os.X_OK):
            PROGRAMS[name] = ""
    unittest.main()

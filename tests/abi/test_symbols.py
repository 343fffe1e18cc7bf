"""The libraries define the names of symbols.txt for others, and not one more; they need the C library alone."""

import os
import re
import subprocess
import unittest
from pathlib import Path

SHARED = os.environ["TIERMALLOC_SHARED"]
STATIC = os.environ["TIERMALLOC_STATIC"]
NM, READELF = os.environ["NM"], os.environ["READELF"]
GOLDEN = Path(__file__).with_name("symbols.txt")


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def golden_names(library):
    """The names of symbols.txt that are due in this library."""
    names = []
    for line in GOLDEN.read_text().splitlines():
        if line and not line.startswith("#"):
            name, where = line.split()
            if where not in ("both", "shared", "static"):
                raise ValueError(f"{GOLDEN.name}: {name}: {where}")
            if where in ("both", library):
                names.append(name)
    return sorted(names)


def defined_names(*nm_options):
    """Names from nm's POSIX format, `name type value size`, without symbol versions and the names of versions themselves."""
    names = set()
    for line in output_of(NM, "-P", "--defined-only", *nm_options).splitlines():
        fields = line.split()
        if len(fields) >= 3 and len(fields[1]) == 1:
            name, kind = fields[0].split("@")[0], fields[1]
            if not (kind == "A" and int(fields[2], 16) == 0):
                names.add(name)
    return sorted(names)


class Shared(unittest.TestCase):
    def test_dynamic_symbols_are_the_golden_ones(self):
        self.assertEqual(defined_names("-D", SHARED), golden_names("shared"))

    def test_needs_the_c_library_alone(self):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output_of(READELF, "-dW", SHARED))
        allowed = r"(libc\.so\.\d+|ld-linux.*\.so\.\d+)"
        self.assertTrue(needed, "not even the C library is needed")
        for name in needed:
            self.assertRegex(name, rf"\A{allowed}\Z")

    def test_soname_is_versioned(self):
        names = re.findall(r"\(SONAME\).*\[(.*)\]", output_of(READELF, "-dW", SHARED))
        self.assertEqual(len(names), 1)
        self.assertRegex(names[0], r"\Alibtiermalloc\.so\.\d+\Z")

    def test_no_text_relocations_and_no_executable_stack(self):
        self.assertNotIn("TEXTREL", output_of(READELF, "-dW", SHARED))
        stack = [line for line in output_of(READELF, "-lW", SHARED).splitlines() if "GNU_STACK" in line]
        self.assertTrue(stack and " RWE " not in stack[0], stack)

    def test_tls_is_small(self):
        """The design allows 64 bytes, so that the library can be loaded late."""
        headers = [line.split() for line in output_of(READELF, "-lW", SHARED).splitlines() if line.split()[:1] == ["TLS"]]
        self.assertEqual(len(headers), 1, "one TLS segment")
        self.assertLessEqual(int(headers[0][5], 16), 64)
        self.assertNotIn("__tls_get_addr", output_of(NM, "-D", "--undefined-only", SHARED), "TLS is not initial-exec")


class Static(unittest.TestCase):
    def test_global_names_are_the_golden_ones(self):
        self.assertEqual(defined_names("-g", STATIC), golden_names("static"))

    def test_needs_no_cplusplus_library(self):
        """What it takes from the C++ library may be missing: weak references only."""
        undefined = set()
        for line in output_of(NM, "-P", "--undefined-only", STATIC).splitlines():
            fields = line.split()
            if len(fields) >= 2 and fields[1] == "U":
                undefined.add(fields[0])
        self.assertEqual([name for name in undefined if name.startswith(("_Z", "__cxa", "__gxx"))], [])


if __name__ == "__main__":
    unittest.main()

"""build: the library with a profile of one's own, in a folder of one's own. Relies on Meson and a compiler, like any build."""

import pathlib
import unittest

import support

TINY_PROFILE = "classes = [16, 208, 4096]\n"


class Build(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("tiny.toml", TINY_PROFILE)

    def usable_size(self, library, size):
        """What malloc_usable_size says in a program that runs on the library."""
        code = (f"import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; "
                f"print(c.malloc_usable_size(ctypes.c_void_p(c.malloc({size}))))")
        return int(self.succeed("run", "--library", library, "/usr/bin/python3", "-c", code))

    def build(self, *arguments):
        return pathlib.Path(self.succeed("build", "--source", support.SOURCE, *arguments).rstrip("\n"))

    def test_a_profile_and_then_another(self):
        # Meson was interrupted here before.
        (self.folder / "built" / "meson-private").mkdir(parents=True)
        (self.folder / "built" / "meson-private" / "coredata.dat").write_bytes(b"")
        library = self.build("tiny.toml", "-o", "built")
        self.assertEqual(library, self.folder / "built" / "src" / "libtiermalloc.so")
        self.assertTrue((self.folder / "built" / "src" / "libtiermalloc.a").exists())
        self.assertEqual([self.usable_size(library, size) for size in (10, 20, 209)], [16, 208, 4096])
        # The folder is a build folder already: it is configured anew.
        self.write("other.toml", "classes = [16, 304, 4096]\n")
        self.assertEqual(self.build("other.toml", "-o", "built"), library)
        self.assertEqual(self.usable_size(library, 20), 304)

    def test_a_folder_that_is_something_else(self):
        self.check_refused("build", "tiny.toml", "-o", ".",
                           says=f"{self.folder}: is neither empty nor a build folder of Meson's")

    def test_a_source_that_is_none(self):
        self.check_refused("build", "tiny.toml", "-o", "built", "--source", ".", says="--source: .: is not a source tree")

    def test_without_meson(self):
        self.check_refused("build", "tiny.toml", "-o", "built", says="meson: not found",
                           environment={"PATH": str(self.folder)})

    def test_a_build_that_fails(self):
        result = self.run_tool("build", "tiny.toml", "-o", "built", "--source", support.SOURCE,
                               environment={"CC": "false", "CXX": "false"})
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "tiermalloc: meson setup .*: failed with status 1:\n")


if __name__ == "__main__":
    unittest.main()

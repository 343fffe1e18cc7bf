"""An installed copy works, also where it was moved to: it finds its modules, its profiles and its library.

Relies on TIERMALLOC_BUILD, a build folder in which everything that is installed has been built.
"""

import os
import pathlib
import re
import subprocess
import unittest

import support
from support import make_histogram, make_row


class Installed(support.ToolTest):
    def setUp(self):
        super().setUp()
        self.write("app.histogram", make_histogram(make_row(5000, 100, 100)))
        destination = self.folder / "destination"
        subprocess.run(["meson", "install", "-C", os.environ["TIERMALLOC_BUILD"], "--no-rebuild", "--destdir", destination],
                       stdout=subprocess.DEVNULL, check=True)
        [self.tool] = destination.rglob("bin/tiermalloc")

    def test_it_runs_by_itself(self):
        result = subprocess.run([self.tool, "--help"], env=support.ENVIRONMENT, capture_output=True, text=True, check=True)
        self.assertIn("examples:", result.stdout)

    def test_it_runs_programs_on_its_own_library(self):
        path = pathlib.Path(self.succeed("run", "sh", "-c", 'printf %s "$LD_PRELOAD"'))
        self.assertTrue(path.is_relative_to(self.folder / "destination"), path)
        self.assertTrue(path.is_file())
        self.assertIn("tiermalloc statistics", self.run_tool("run", "--stats", "true").stderr)

    def test_it_makes_classes_from_its_own_profile(self):
        self.succeed("classes", "app.histogram", "-o", "app.toml")
        text = self.succeed("report", "app.histogram", "--against", "app.toml", "--svg", "app.svg", "--html", "app.html")
        [default] = re.findall("profile A: (.*), 77 classes", text)
        self.assertTrue(pathlib.Path(default).is_relative_to(self.folder / "destination"), default)

    def test_it_builds_from_a_source_tree_that_is_named(self):
        self.write("tiny.toml", "classes = [16, 64]\n")
        self.check_refused("build", "tiny.toml", "-o", "built", says="name it with --source")
        self.check_refused("pgo", "true", says="name it with --source")
        library = self.succeed("build", "tiny.toml", "-o", "built", "--source", support.SOURCE).rstrip("\n")
        self.assertTrue(pathlib.Path(library).is_file())


class InTheSourceTree(support.ToolTest):
    def test_a_library_that_is_not_built(self):
        """Said with the way out. What is needed of the tree is copied, and its build is not."""
        for name in ("tool", "codegen", "classes"):
            (self.folder / name).mkdir()
            for path in (support.SOURCE / name).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    copy = self.folder / name / path.relative_to(support.SOURCE / name)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(path.read_bytes())
        self.tool = self.folder / "tool" / "tiermalloc"
        self.check_refused("run", "true", says="libtiermalloc.so: the library is not there; `make build` builds it")


if __name__ == "__main__":
    unittest.main()

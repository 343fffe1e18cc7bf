"""What the tests of the generator share: running it, and reading a generated header back as numbers.

Relies on the layout of the source tree only; TIERMALLOC_SOURCE names it where the tests are run by Meson.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("TIERMALLOC_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
GENERATOR = SOURCE / "codegen" / "size_classes.py"
CLASSES = SOURCE / "classes"
TEST_PROFILES = SOURCE / "tests" / "profiles"

CLASS_FIELDS = ("reciprocal", "size", "pages", "objects", "batch", "capacity", "span_bytes")


def run_generator(*arguments, directory=None):
    """The finished process of one run of the command, started in `directory`."""
    return subprocess.run([sys.executable, str(GENERATOR), *map(str, arguments)], cwd=directory, text=True,
                          capture_output=True, check=False)


def generate(profile, header):
    """The text of the header made from `profile`; fails loudly if the profile is refused."""
    result = run_generator(profile, "--output", header)
    if result.returncode != 0:
        raise AssertionError(f"{profile} was refused:\n{result.stderr}")
    return pathlib.Path(header).read_text(encoding="utf-8")


def compilers():
    """Every C compiler to test with: gcc and clang as far as they are there."""
    return [path for path in map(shutil.which, ("gcc", "clang")) if path]


class Header:
    """The constants and tables of a generated header, as they stand in its text."""

    def __init__(self, text):
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        self.constants = {}
        for name, value in re.findall(r"^#define (\w+) (.+)$", code, flags=re.MULTILINE):
            self.constants[name] = self.evaluate(value)
        numbers = {name: [int(number) for number in re.findall(r"\d+", body.replace("UINT64_C", ""))]
                   for name, body in re.findall(r"^const [\w ]+ (\w+)\[.*?\] = \{(.*?)^\};", code,
                                                flags=re.MULTILINE | re.DOTALL)}
        self.small_class = numbers["small_class"]
        self.medium_class = numbers["medium_class"]
        self.classes = [dict(zip(CLASS_FIELDS, row)) for row in rows(numbers["size_classes"], len(CLASS_FIELDS))]
        self.aligned_class = rows(numbers["aligned_class"], self.constants["CLASS_COUNT"])

    def evaluate(self, value):
        expression = value.replace("(size_t)", "")
        expression = re.sub(r"(\d)u\b", r"\1", expression)
        expression = re.sub(r"[A-Z]\w*", lambda match: str(self.constants[match.group()]), expression)
        return eval(expression, {"__builtins__": {}})  # arithmetic that we generated ourselves


def rows(numbers, width):
    assert len(numbers) % width == 0, (len(numbers), width)
    return [numbers[start:start + width] for start in range(0, len(numbers), width)]

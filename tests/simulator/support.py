"""What the tests of the simulator share: traces written and read by hand, and running the programs.

Relies on TIERMALLOC_BUILD, the build folder with the simulator, and TIERMALLOC_SHARED, the library that traces programs.
The format is that of docs/simulator.md.
"""

import collections
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["TIERMALLOC_SOURCE"])
PROGRAMS = pathlib.Path(os.environ["TIERMALLOC_BUILD"]) / "bench" / "simulator"
LIBRARY = os.environ["TIERMALLOC_SHARED"]

# A program that has not ended by then hangs. Generous, for a busy machine.
HANG_LIMIT = 240

OPERATIONS = {"allocate": 1, "aligned": 2, "free": 3, "grow": 4, "move": 5, "release": 6, "tick": 7, "limit": 8, "spare": 9,
              "time": 10, "purge": 11, "purged": 12}
NAMES = {number: name for name, number in OPERATIONS.items()}

# Which of an operation's numbers are pages, written as distances.
ARGUMENTS = {"allocate": "pn", "aligned": "pnn", "free": "pn", "grow": "pnn", "move": "ppn", "release": "n", "tick": "",
             "limit": "n", "spare": "n", "time": "n", "purge": "pnn", "purged": "n"}

FEW, ZEROED, GROWING, DENSE = 1, 2, 4, 8

Event = collections.namedtuple("Event", ("name", "flags", "numbers"))


def head(page_size, clock=1000):
    return f"tiermalloc page trace 1, page size {page_size}, clock {clock}\n".encode()


def encode_number(number):
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes([*parts, number])


def encode(events):
    """Events are (name, numbers...) or (name, numbers..., {"flags": N})."""
    data, last = bytearray(), 0
    for name, *numbers in events:
        flags = numbers.pop()["flags"] if numbers and isinstance(numbers[-1], dict) else 0
        data.append(OPERATIONS[name] | flags << 4)
        for kind, number in zip(ARGUMENTS[name], numbers, strict=True):
            if kind == "p":
                distance, last = number - last, number
                number = distance << 1 if distance >= 0 else ~(distance << 1)
            data += encode_number(number)
    return bytes(data)


def decode(data):
    """The page size, the clock, and the events of a whole file. A ValueError says what is wrong."""
    line, newline, rest = data.partition(b"\n")
    words = line.decode().split(" ")
    if not newline or words[:6] != ["tiermalloc", "page", "trace", "1,", "page", "size"] or words[7] != "clock":
        raise ValueError(f"begins with {line[:60]!r}")
    at, last, events = 0, 0, []

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = rest[at]  # an IndexError where the file ends too early
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(rest):
        byte = rest[at]
        at += 1
        name = NAMES[byte & 15]
        numbers = []
        for kind in ARGUMENTS[name]:
            value = number()
            if kind == "p":
                last += value >> 1 if value & 1 == 0 else ~(value >> 1)
                value = last
            numbers.append(value)
        events.append(Event(name, byte >> 4, tuple(numbers)))
    return int(words[6].rstrip(",")), int(words[8]), events


def used_pages(events):
    """The pages in use at the end, as a set. A ValueError if the events contradict each other."""
    used = set()

    def take(first, count):
        pages = set(range(first, first + count))
        if used & pages:
            raise ValueError(f"{first}: taken twice")
        used.update(pages)

    def give(first, count):
        pages = set(range(first, first + count))
        if not pages <= used:
            raise ValueError(f"{first}: given back, and not in use")
        used.difference_update(pages)

    for name, _, numbers in events:
        if name in ("allocate", "aligned"):
            take(numbers[0], numbers[1])
        elif name == "free":
            give(*numbers)
        elif name == "grow":
            take(numbers[0] + numbers[1], numbers[2] - numbers[1])
        elif name == "move":
            if numbers[1] not in used:
                raise ValueError(f"{numbers}: moved to where nothing is in use")
            give(numbers[0], numbers[2])
    return used


class SimulatorTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="tiermalloc-simulator-")))

    def start(self, program, *arguments):
        return subprocess.run([PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True, check=False,
                              timeout=HANG_LIMIT)

    def page_size(self):
        """Of the build; a generated trace says it."""
        return decode(self.generate("churn", scale=0.001).read_bytes())[0]

    def generate(self, name, scale, *options):
        path = self.folder / f"{name}.trace"
        result = self.start("generate", "--scale", scale, *options, name, path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return path

    def simulate(self, path, *options):
        result = self.start("simulate", *options, path)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

"""The allocators that benchmarks compare: finding them, running a program under one, and the proof that it was loaded.

Relies on Debian's library names and on the line `allocator MAPPED LINKED` that every benchmark program prints.
"""

import argparse
import glob
import os
import subprocess
import sys

OURS = "tiermalloc"
BASELINE = "glibc"  # always there: a program without any preload

# name: (file name of the library, Debian's package)
PEERS = {
    "jemalloc": ("libjemalloc.so.2", "libjemalloc2"),
    "gperftools": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    "mimalloc": ("libmimalloc.so.2", "libmimalloc2.0"),
}

# What would change an allocator's behaviour: everyone runs with its defaults.
SETTINGS = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_", "TIERMALLOC_CONF", "_RJEM_", "TCMALLOC_",
            "MIMALLOC_", "mimalloc_")

RUN_LIMIT_SECONDS = 300


class BenchmarkError(Exception):
    """A program failed, was skipped where it must not be, or ran under another allocator than the one asked for."""


class Skipped(Exception):
    """The program says that it cannot measure this here; the text says why."""


class Allocator:
    def __init__(self, name, library):
        self.name = name
        self.library = library  # None: the C library's own

    def environment(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
        if self.library:
            environment["LD_PRELOAD"] = self.library
        return environment

    def check_proof(self, mapped, linked):
        """The mapped file and the one the dynamic linker names must both be this allocator's library."""
        for found in (mapped, linked):
            if self.library is None:
                proven = os.path.basename(found) == "libc.so.6"
            else:
                proven = os.path.realpath(found) == os.path.realpath(self.library)
            if not proven:
                wanted = self.library or "the C library"
                raise BenchmarkError(f"{self.name}: malloc came from {found}, not from {wanted}")

    def run(self, arguments):
        """Runs a benchmark program and returns what it measured, {name: number}, once it is proven what it ran on."""
        try:
            result = subprocess.run(arguments, env=self.environment(), capture_output=True, text=True,
                                    timeout=RUN_LIMIT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{self.name}: {arguments}: still running after {RUN_LIMIT_SECONDS} s") from error
        if result.returncode == 77:
            raise Skipped(result.stdout.strip())
        if result.returncode != 0:
            raise BenchmarkError(f"{self.name}: {arguments}: status {result.returncode}: {result.stderr.strip()}")
        values, proven = {}, False
        for line in result.stdout.splitlines():
            name, *rest = line.split()
            if name == "allocator" and len(rest) == 2:
                self.check_proof(*rest)
                proven = True
            elif len(rest) == 1 and name != "hello,":
                values[name] = float(rest[0])
        if not proven:
            raise BenchmarkError(f"{self.name}: {arguments} did not say which allocator it ran on")
        return values


def find_library(file_name):
    """The path of an installed library, or None."""
    for command in ("ldconfig", "/sbin/ldconfig"):
        try:
            listing = subprocess.run([command, "-p"], capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        for line in listing.splitlines():
            words = line.split()
            if len(words) > 2 and words[0] == file_name and is_loadable(words[-1]):
                return words[-1]
    for path in sorted(glob.glob(f"/usr/lib/*-linux-gnu/{file_name}*") + glob.glob(f"/usr/lib*/{file_name}*")):
        if is_loadable(path):
            return path
    return None


def is_loadable(path):
    """Whether the library is of this machine's word size: multiarch systems hold others, too."""
    try:
        with open(path, "rb") as library, open("/proc/self/exe", "rb") as own:
            return library.read(5) == own.read(5)
    except OSError:
        return False


def default_allocators(tiermalloc):
    """Ours if it is built, the C library's, and the peers installed; says on stderr how to install missing ones."""
    found, missing = [], []
    if tiermalloc and os.path.exists(tiermalloc):
        found.append(Allocator(OURS, os.path.abspath(tiermalloc)))
    else:
        print(f"benchmark: {tiermalloc or 'libtiermalloc.so'} is not built; comparing the others", file=sys.stderr)
    found.append(Allocator(BASELINE, None))
    for name, (file_name, package) in PEERS.items():
        library = find_library(file_name)
        if library:
            found.append(Allocator(name, library))
        else:
            missing.append(package)
    if missing:
        print(f"benchmark: not installed, left out: apt-get install {' '.join(missing)}", file=sys.stderr)
    return found


def parse_allocator(text):
    """NAME=PATH of a library, or the word glibc for the C library's own."""
    name, _, path = text.partition("=")
    if text != BASELINE and not (name and os.path.isfile(path)):
        raise argparse.ArgumentTypeError(f"{text!r}: must be NAME=PATH of a library, or {BASELINE}")
    return Allocator(name, os.path.abspath(path) if path else None)


def add_arguments(parser, default_reps):
    """The options that both drivers share."""
    parser.add_argument("--rows", metavar="REGEX", default="", help="only the rows whose name matches")
    parser.add_argument("--reps", metavar="N", type=int, default=default_reps,
                        help=f"runs of each row under each allocator (default {default_reps})")
    parser.add_argument("--allocators", metavar="NAME=PATH", nargs="+", type=parse_allocator, default=None,
                        help="compare these, the first against the others, instead of those found; "
                             f"'{BASELINE}' is the C library's own")
    parser.add_argument("--tiermalloc", metavar="PATH",
                        default=os.environ.get("TIERMALLOC_SHARED", "build/src/libtiermalloc.so"),
                        help="our library (default: $TIERMALLOC_SHARED or build/src/libtiermalloc.so)")
    parser.add_argument("--json", metavar="FILE", help="also write every single value here")


def describe_machine():
    """One line for the head of a table: processor, number of processors, kernel, load."""
    processor = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("model name", "CPU part")):
                processor = line.split(":", 1)[1].strip()
                break
    load = os.getloadavg()[0]
    return f"{processor}, {os.cpu_count()} processors, Linux {os.uname().release}, load {load:.2f}"

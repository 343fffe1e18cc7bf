"""The allocators that benchmarks compare: finding them, and the proof that one was loaded.

Relies on the file names of Debian's libraries, on `nm` for allocators that are linked into a driver, and on the line
`allocator MAPPED LINKED` that drivers print.
"""

import ctypes.util
import dataclasses
import glob
import hashlib
import os
import pathlib
import subprocess

OURS = "tiermalloc"
BASELINE = "glibc"

# Peak resident memory is judged against the smallest of these; against glibc there is a goal of its own.
MEMORY_PEERS = ("jemalloc", "gperftools", "mimalloc")

# name: (patterns of the library's file name, Debian's packages: the first that the distribution has)
PEERS = {
    "jemalloc": (("libjemalloc.so.2",), "libjemalloc2"),
    "gperftools": (("libtcmalloc_minimal.so.4",), "libtcmalloc-minimal4|libtcmalloc-minimal4t64"),
    "mimalloc": (("libmimalloc.so.2", "libmimalloc.so.3"), "libmimalloc2.0|libmimalloc3"),
}

# A function that only the allocator itself has, by the name of the driver linked with it.
OWN_FUNCTIONS = {OURS: "tiermalloc_version", "jemalloc": "mallctl", "gperftools": "tc_version"}


class BenchmarkError(Exception):
    """A program failed, or ran under another allocator than the one asked for."""


class Skipped(Exception):
    """Something cannot be measured here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Allocator:
    """`library` is preloaded. Where `linked` is set, the allocator is in the drivers micro-static-LINKED and so on, and
    nothing is preloaded."""

    name: str
    library: str
    linked: str | None = None

    def check_report(self, preloaded):
        """`preloaded` is the mapped file in which the launcher has found the library it preloaded, or "none"."""
        wanted = "none" if self.linked else os.path.realpath(self.library)
        if preloaded != wanted:
            raise BenchmarkError(f"{self.name}: {self.library} was not loaded (found: {preloaded})")

    def check_proof(self, program, mapped, linked):
        """The mapped file that holds malloc and the one the dynamic linker names must both be this allocator's."""
        wanted = program if self.linked else self.library
        for found in (mapped, linked):
            if not os.path.exists(found) or not os.path.samefile(found, wanted):
                raise BenchmarkError(f"{self.name}: malloc came from {found}, not from {wanted}")
        if self.linked and not has_function(program, OWN_FUNCTIONS[self.linked]):
            raise BenchmarkError(f"{self.name}: {program} has no {OWN_FUNCTIONS[self.linked]}")


_functions = {}  # (program, name): whether it is there; nm takes longer than a run


def has_function(program, name):
    """Whether the program itself defines the function."""
    key = str(program), name
    if key not in _functions:
        listing = subprocess.run(["nm", "--defined-only", str(program)], capture_output=True, text=True, check=False)
        _functions[key] = any(line.split()[-1:] == [name] for line in listing.stdout.splitlines())
    return _functions[key]


def cached_libraries():
    """The paths that the dynamic linker's cache knows, by file name."""
    libraries = {}
    for command in ("ldconfig", "/sbin/ldconfig"):
        try:
            listing = subprocess.run([command, "-p"], capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        for line in listing.splitlines():
            words = line.split()
            if "=>" in words:
                libraries.setdefault(words[0], []).append(words[-1])
        break
    return libraries


def find_library(file_name):
    """The path of an installed library, or None."""
    candidates = cached_libraries().get(file_name, [])
    candidates += sorted(glob.glob(f"/usr/lib/*-linux-gnu/{file_name}*") + glob.glob(f"/usr/lib*/{file_name}*"))
    return next((path for path in candidates if is_loadable(path)), None)


def is_loadable(path):
    """Whether the library is of this machine's word size: multiarch systems hold others, too."""
    try:
        with open(path, "rb") as library, open("/proc/self/exe", "rb") as own:
            return library.read(5) == own.read(5)
    except OSError:
        return False


def baseline():
    """The C library is preloaded like the others: then malloc is its own even in a program that is linked with another
    allocator, as Debian's redis-server is with jemalloc."""
    return Allocator(BASELINE, find_library(ctypes.util.find_library("c") or "libc.so.6"))


def find_allocators(tiermalloc):
    """Ours, the C library's and the peers that are installed, and the packages of those that are not."""
    found, missing = [baseline()], []
    if os.path.isfile(tiermalloc):
        found.insert(0, Allocator(OURS, os.path.abspath(tiermalloc)))
    for name, (file_names, package) in PEERS.items():
        library = next(filter(None, map(find_library, file_names)), None)
        if library:
            found.append(Allocator(name, library))
        else:
            missing.append(package.split("|")[0])
    return found, missing


def find_linked(drivers):
    """The allocators that the build has linked into drivers; ours comes first, as in the other list."""
    return [Allocator(f"{name}-static", str(drivers / f"micro-static-{name}"), name) for name in OWN_FUNCTIONS
            if (drivers / f"micro-static-{name}").exists()]


def owning_package(path):
    """Debian's package of a file with its version, or None."""
    for name in (path, os.path.realpath(path), os.path.realpath(path).removeprefix("/usr")):
        try:
            found = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True, check=False).stdout
        except OSError:
            return None
        package = found.split(": ")[0].strip()
        if package:
            shown = subprocess.run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}", package],
                                   capture_output=True, text=True, check=False)
            return shown.stdout or None
    return None


def describe(allocator):
    """What the results say about an allocator."""
    digest = hashlib.sha256(pathlib.Path(allocator.library).read_bytes()).hexdigest()
    return {"library": allocator.library, "linked": bool(allocator.linked), "sha256": digest[:16],
            "package": owning_package(allocator.library)}

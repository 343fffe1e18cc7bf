"""libtiermalloc.a in a normal and in a fully static link, in C and in C++; the header; the installed files by pkg-config."""

import os
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

SHARED = os.environ["TIERMALLOC_SHARED"]
STATIC = os.environ["TIERMALLOC_STATIC"]
NM, READELF = os.environ["NM"], os.environ["READELF"]
BUILD = os.environ["TIERMALLOC_BUILD"]
# The header may be written by the build.
INCLUDES = [f"-I{Path(os.environ[name]) / 'include'}" for name in ("TIERMALLOC_SOURCE", "TIERMALLOC_BUILD")]
CC = shlex.split(os.environ.get("CC", "cc"))
CXX = shlex.split(os.environ.get("CXX", "c++"))

C_PROGRAM = r"""
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiermalloc/tiermalloc.h>

int main(void) {
    char *text = strdup("text of libc");
    char *grown = realloc(text, 100000);
    if (!grown || strcmp(grown, "text of libc") != 0)
        return 2;
    free_sized(grown, 100000);
    void *aligned = NULL;
    if (posix_memalign(&aligned, 4096, 100) != 0 || malloc_usable_size(aligned) < 100)
        return 3;
    free(aligned);
    printf("%s\n", tiermalloc_version());
    return malloc_info(0, stdout);
}
"""

# Does not name the library at all: what it uses comes from malloc's callers alone.
PLAIN_C_PROGRAM = r"""
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    void *block = malloc(1000);
    free(block);
    return malloc_info(0, stdout);
}
"""

CXX_PROGRAM = r"""
#include <cstdio>
#include <malloc.h>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

int main() {
    std::map<int, std::string> texts;
    std::thread other([&texts] {
        for (int i = 0; i < 1000; ++i)
            texts[i] = std::string(i, 'x');
    });
    other.join();
    bool thrown = false;
    try {
        std::size_t size = std::size_t(1) << 47;
        __asm__ volatile("" : "+r"(size));
        std::vector<char> impossible(size);
        __asm__ volatile("" : : "r"(impossible.data()) : "memory");
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    struct alignas(256) aligned { char bytes[300]; };
    std::unique_ptr<aligned> one(new aligned);
    return thrown && texts[999].size() == 999 ? malloc_info(0, stdout) : 4;
}
"""

BACKGROUND_PROGRAM = r"""
#include <errno.h>
#include <stdio.h>
#include <tiermalloc/tiermalloc.h>

int main(void) {
    bool on = tiermalloc_background(true);
    puts(on ? "on" : errno == ENOSYS ? "not here" : "?");
    return on && !tiermalloc_background(false);
}
"""

HEADER_PROGRAM = r"""
#include <tiermalloc/tiermalloc.h>
#include <tiermalloc/tiermalloc.h>
int main(void) { return tiermalloc_version()[0] == 0; }
"""

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]
CXX_WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


class InTemporaryFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def build(self, source, compiler, *arguments, language="c"):
        """Compiles and links; the error text is shown when that fails."""
        program = self.folder / "program"
        text = self.folder / f"program.{language}"
        text.write_text(source)
        # The static library comes after the source, as a linker wants it.
        command = [*compiler, "-O2", "-o", str(program), str(text), *INCLUDES, *arguments]
        result = run(command)
        self.assertEqual(result.returncode, 0, f"{shlex.join(command)}\n{result.stderr}")
        return program

    def run_program(self, program, **options):
        result = run(support.command(program), **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        return result.stdout

    def check_in_use(self, program):
        """malloc_info names the allocator that answers."""
        self.assertIn("tiermalloc", self.run_program(program))

    def can_link_statically(self, compiler, language, option="-static"):
        probe = self.folder / f"probe.{language}"
        probe.write_text("int main() { return 0; }\n")
        return run([*compiler, option, "-o", str(self.folder / "probe"), str(probe)]).returncode == 0


class StaticLibrary(InTemporaryFolder):
    def test_without_it_the_test_fails(self):
        """The proof of use is one: a program without the library does not pass it."""
        self.assertNotIn("tiermalloc", self.run_program(self.build(PLAIN_C_PROGRAM, CC)))

    def test_in_a_c_program(self):
        self.check_in_use(self.build(C_PROGRAM, CC, "-D_GNU_SOURCE", STATIC, "-pthread"))

    def test_in_a_c_program_that_does_not_name_it(self):
        self.check_in_use(self.build(PLAIN_C_PROGRAM, CC, STATIC, "-pthread"))

    def test_in_a_position_dependent_program(self):
        self.check_in_use(self.build(PLAIN_C_PROGRAM, CC, "-no-pie", STATIC, "-pthread"))

    def test_in_a_static_c_program(self):
        if not self.can_link_statically(CC, "c"):
            self.skipTest("no static C library")
        program = self.build(C_PROGRAM, CC, "-D_GNU_SOURCE", "-static", STATIC, "-pthread")
        self.check_in_use(program)
        self.assertNotIn("INTERP", run([READELF, "-lW", str(program)]).stdout)

    def test_in_a_static_position_independent_program(self):
        if not self.can_link_statically(CC, "c", "-static-pie"):
            self.skipTest("no static-pie start files")
        self.check_in_use(self.build(PLAIN_C_PROGRAM, CC, "-static-pie", STATIC, "-pthread"))

    def test_in_a_cplusplus_program(self):
        self.check_in_use(self.build(CXX_PROGRAM, CXX, "-std=c++17", STATIC, "-pthread", language="cc"))

    def test_in_a_static_cplusplus_program(self):
        if not self.can_link_statically(CXX, "cc"):
            self.skipTest("no static C++ library")
        self.check_in_use(self.build(CXX_PROGRAM, CXX, "-std=c++17", "-static", STATIC, "-pthread", language="cc"))

    def test_with_a_static_cplusplus_library(self):
        if not self.can_link_statically(CXX, "cc", "-static-libstdc++"):
            self.skipTest("no static C++ library")
        self.check_in_use(
            self.build(CXX_PROGRAM, CXX, "-std=c++17", "-static-libstdc++", STATIC, "-pthread", language="cc")
        )

    def test_static_program_without_threads(self):
        """The library does not bring threads into it, but for a background thread that is asked for."""
        if not self.can_link_statically(CC, "c"):
            self.skipTest("no static C library")
        program = self.build(BACKGROUND_PROGRAM, CC, "-static", STATIC, "-pthread")
        self.assertNotIn(" pthread_create\n", run([NM, str(program)]).stdout)
        self.assertEqual(self.run_program(program), "not here\n")
        program = self.build(BACKGROUND_PROGRAM, CC, "-static", "-Wl,-u,pthread_create", STATIC, "-pthread")
        self.assertEqual(self.run_program(program), "on\n")

    def test_operators_come_from_it(self):
        """The C++ library's own operators are not pulled in beside ours."""
        program = self.build(CXX_PROGRAM, CXX, "-std=c++17", STATIC, "-pthread", language="cc")
        defined = run([NM, "--defined-only", str(program)]).stdout.split()
        missing = {"malloc", "free", "_Znwm", "_ZdlPv", "_ZdlPvm"} - set(defined)
        self.assertEqual(missing, set(), "names that the program does not define")


class Header(InTemporaryFolder):
    def test_as_c(self):
        for standard in ("c11", "gnu11", "c17"):
            with self.subTest(standard=standard):
                self.build(HEADER_PROGRAM, CC, f"-std={standard}", *WARNINGS, STATIC, "-pthread")

    def test_as_cplusplus(self):
        for standard in ("c++17", "gnu++17", "c++20"):
            with self.subTest(standard=standard):
                self.build(HEADER_PROGRAM, CXX, f"-std={standard}", *CXX_WARNINGS, STATIC, "-pthread", language="cc")

    def test_beside_the_standard_headers(self):
        """Declarations agree with the C library's where it has them."""
        source = "#define _GNU_SOURCE\n#include <stdlib.h>\n#include <malloc.h>\n" + HEADER_PROGRAM
        self.build(source, CC, "-std=c11", *WARNINGS, STATIC, "-pthread")
        self.build("#include <cstdlib>\n#include <malloc.h>\n" + HEADER_PROGRAM, CXX, *CXX_WARNINGS, STATIC, "-pthread",
                   language="cc")


class Installed(InTemporaryFolder):
    def setUp(self):
        super().setUp()
        for tool in ("meson", "pkg-config"):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is not there")
        self.root = self.folder / "root"
        # The library must not be preloaded into meson itself.
        result = run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(self.root)])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        found = list(self.root.rglob("tiermalloc.pc"))
        self.assertEqual(len(found), 1, "one tiermalloc.pc")
        self.environment = dict(os.environ, PKG_CONFIG_PATH=str(found[0].parent),
                                PKG_CONFIG_SYSROOT_DIR=str(self.root))

    def pkg_config(self, *arguments):
        result = run(["pkg-config", *arguments, "tiermalloc"], env=self.environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return shlex.split(result.stdout)

    def installed(self, pattern):
        found = list(self.root.rglob(pattern))
        self.assertTrue(found, f"no {pattern} was installed")
        return found[0]

    def test_shared_library_by_pkg_config(self):
        source = self.folder / "installed.c"
        source.write_text(C_PROGRAM)
        program = self.folder / "installed"
        result = run([*CC, "-D_GNU_SOURCE", str(source), "-o", str(program), *self.pkg_config("--cflags", "--libs")])
        self.assertEqual(result.returncode, 0, result.stderr)
        library = self.installed("libtiermalloc.so")
        environment = dict(os.environ, LD_LIBRARY_PATH=str(library.parent))
        self.assertIn("tiermalloc", self.run_program(program, env=environment))
        self.assertIn("libtiermalloc.so.", run([READELF, "-dW", str(program)]).stdout)

    def test_static_library_by_pkg_config(self):
        if not self.can_link_statically(CC, "c"):
            self.skipTest("no static C library")
        source = self.folder / "installed.c"
        source.write_text(C_PROGRAM)
        program = self.folder / "installed"
        flags = self.pkg_config("--static", "--cflags", "--libs")
        result = run([*CC, "-D_GNU_SOURCE", "-static", str(source), "-o", str(program), *flags])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.check_in_use(program)

    def test_version_is_the_librarys(self):
        version = self.pkg_config("--modversion")[0]
        self.assertIn(version, self.run_program(self.build(C_PROGRAM, CC, "-D_GNU_SOURCE", STATIC, "-pthread")))

    def test_installed_files(self):
        for pattern in ("libtiermalloc.so", "libtiermalloc.so.[0-9]*", "libtiermalloc.a", "tiermalloc/tiermalloc.h"):
            with self.subTest(pattern=pattern):
                self.installed(pattern)
        internal = [path.name for path in self.root.rglob("*.[ah]")]
        self.assertEqual(sorted(internal), ["libtiermalloc.a", "tiermalloc.h"])


if __name__ == "__main__":
    unittest.main()

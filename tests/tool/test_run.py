"""run: the program runs on the library, as if it had been started by itself."""

import os
import signal
import unittest

import support


class Run(support.ToolTest):
    def run_program(self, *arguments, options=(), **others):
        return self.run_tool("run", "--library", support.library(), *options, *arguments, **others)

    def variable(self, name, options=(), environment=None):
        result = self.run_program("sh", "-c", f'printf %s "${name}"', options=options, environment=environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_the_status_is_the_programs(self):
        for status in (0, 1, 2, 77, 255):
            self.assertEqual(self.run_program("sh", "-c", f"exit {status}").returncode, status)

    def test_so_is_a_signal(self):
        """Python itself ignores SIGPIPE and SIGXFSZ, which a program must not inherit."""
        for number in (signal.SIGKILL, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.assertEqual(self.run_program("sh", "-c", f"kill -{int(number)} $$").returncode, -number)

    def test_standard_streams_are_the_programs(self):
        path = self.write("input", "some input\n")
        with path.open(encoding="utf-8") as given:
            result = self.run_program("sh", "-c", "cat; echo error >&2", stdin=given)
        self.assertEqual((result.stdout, result.stderr), ("some input\n", "error\n"))

    def test_the_library_serves_it(self):
        result = self.run_program("sh", "-c", "cat /proc/$$/maps")
        self.assertIn(os.path.realpath(support.library()), result.stdout)

    def test_statistics(self):
        result = self.run_program("true", options=("--stats",))
        self.assertIn("tiermalloc statistics, bytes", result.stderr)

    def test_a_preload_that_is_there_stays(self):
        other = self.compile_library("fake_recorder.c", "other.so")
        self.assertEqual(self.variable("LD_PRELOAD", environment={"LD_PRELOAD": str(other)}),
                         f"{support.library()}:{other}")

    def test_options_of_the_library(self):
        """What the caller has set stands first: the last one counts."""
        options = ("--conf", "retain:1M,deepbind:true", "--stats", "--conf", "thread_cache_size:2M")
        self.assertEqual(self.variable("TIERMALLOC_CONF", options, {"TIERMALLOC_CONF": "retain:8M"}),
                         "retain:8M,stats_print:true,retain:1M,deepbind:true,thread_cache_size:2M")

    def test_options_that_are_none(self):
        for value in ("", "retain", ":1", "a:", "a:1,"):
            with self.subTest(value=value):
                self.check_refused("run", "--library", support.library(), f"--conf={value}", "true", says="--conf: ")

    def test_programs_that_cannot_run(self):
        self.write("file", "no program")
        result = self.run_program("./absent")
        self.assertEqual((result.returncode, result.stderr),
                         (127, "tiermalloc: ./absent: cannot be run: No such file or directory\n"))
        result = self.run_program("./file")
        self.assertEqual((result.returncode, result.stderr), (126, "tiermalloc: ./file: cannot be run: Permission denied\n"))

    def test_libraries_that_cannot_be_preloaded(self):
        self.check_refused("run", "--library", "absent.so", "true", says="--library: absent.so: there is no such file")
        (self.folder / "with space").mkdir()
        library = self.compile_library("fake_recorder.c", "with space/x.so")
        self.check_refused("run", "--library", library, "true", says="takes no preload from a path with a space or a colon")


if __name__ == "__main__":
    unittest.main()

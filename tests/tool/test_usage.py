"""The command line as a whole: help, exit statuses, errors, interruption, output that nobody reads."""

import os
import signal
import unittest

import support
from support import make_histogram, make_row

COMMANDS = ("run", "record", "merge", "report", "classes", "compare", "build", "pgo", "trace")


class Help(support.ToolTest):
    def test_the_tool(self):
        text = self.succeed("--help")
        for word in (*COMMANDS, "examples:", "Exit status"):
            self.assertIn(word, text)

    def test_each_command(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.succeed(command, "--help")
                self.assertTrue(text.startswith(f"usage: tiermalloc {command} "), text)
                self.assertIn(f"  tiermalloc {command} ", text.partition("examples:")[2])

    def test_programs_are_named_in_the_usage(self):
        for command in ("run", "record", "pgo", "trace"):
            self.assertIn("PROGRAM [ARGUMENT ...]", self.succeed(command, "--help").partition("\n\n")[0])

    def test_options_of_the_program_are_its_own(self):
        result = self.run_tool("run", "--library", support.library(), "echo", "--help", "-o", "--", "x")
        self.assertEqual((result.returncode, result.stdout), (0, "--help -o -- x\n"))


class WrongUsage(support.ToolTest):
    def check(self, *arguments):
        result = self.run_tool(*arguments)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertTrue(result.stderr.startswith("usage: tiermalloc"), result.stderr)
        return result.stderr

    def test_all_kinds(self):
        for arguments in ((), ("unknown",), ("run",), ("run", "--"), ("run", "--unknown", "true"), ("record", "true"),
                          ("record", "-o", "x"), ("record", "-o", "x", "--period", "0", "true"), ("merge", "-o", "x"),
                          ("merge", "a"), ("report",), ("report", "a", "b"), ("report", "a", "--top", "-1"),
                          ("classes", "a"), ("classes", "a", "-o", "b", "--objective", "fast"),
                          ("classes", "a", "-o", "b", "--max-step", "wide"), ("compare", "a"),
                          ("compare", "a", "b", "--histogram", "c", "--profile", "d"), ("build",), ("pgo",),
                          ("pgo", "--runs", "0", "true"), ("trace", "true"),
                          ("trace", "-o", "x")):
            with self.subTest(arguments=arguments):
                self.check(*arguments)

    def test_the_value_is_named(self):
        self.assertIn("--top: x: must be a whole number from 0 on", self.check("report", "a", "--top", "x"))


class Refusals(support.ToolTest):
    """Each command says no to what it can't use, with the file's name, and writes nothing."""

    def test_absent_files(self):
        for arguments in (("merge", "absent", "-o", "out"), ("report", "absent", "--svg", "out"),
                          ("classes", "absent", "-o", "out"), ("compare", "absent", "absent"),
                          ("build", "absent", "-o", "out")):
            with self.subTest(arguments=arguments):
                self.check_refused(*arguments, says="absent: cannot be read: No such file or directory")

    def test_profiles_are_checked(self):
        self.write("a.histogram", make_histogram(make_row(24, 1, 1)))
        self.write("bad.toml", "classes = [16, 20]\n")
        says = "bad.toml: classes[1]: 20: must be a multiple of 8"
        for arguments in (("report", "a.histogram", "--profile", "bad.toml"),
                          ("report", "a.histogram", "--against", "bad.toml", "--html", "out"),
                          ("classes", "a.histogram", "-o", "out", "--base", "bad.toml"),
                          ("compare", "bad.toml", "bad.toml", "--histogram", "a.histogram"),
                          ("compare", "a.histogram", "a.histogram", "--against", "bad.toml"),
                          ("build", "bad.toml", "-o", "out")):
            with self.subTest(arguments=arguments):
                self.check_refused(*arguments, says=says)

    def test_output_that_cannot_be_written(self):
        self.write("a.histogram", make_histogram(make_row(24, 1, 1)))
        for arguments in (("merge", "a.histogram", "-o", "absent/out"), ("classes", "a.histogram", "-o", "absent/out"),
                          ("report", "a.histogram", "--svg", "absent/out"), ("report", "a.histogram", "--html", "absent/out")):
            with self.subTest(arguments=arguments):
                self.check_refused(*arguments, says="absent/out: cannot be written: No such file or directory")


class Ends(support.ToolTest):
    def test_a_reader_that_goes_away(self):
        path = self.write("a.histogram", make_histogram(*(make_row(8 * size, 1, 1) for size in range(1, 20000))))
        with self.start("report", path, "--top", "0") as process:
            process.stdout.read(10)
            process.stdout.close()
            errors = process.stderr.read()
        self.assertEqual((process.returncode, errors), (-signal.SIGPIPE, ""))

    def test_interruption(self):
        """In the middle of the loop: the program ends, and so does the tool, with one line."""
        with self.start("pgo", "--runs", "1", "-o", "out", "--source", support.SOURCE, "sleep", "100",
                        start_new_session=True) as process:
            for line in process.stderr:
                if "building" in line:
                    break
            # Its own session, so its group is of the same number; the tool and what it has started, nothing else.
            self.assertEqual(os.getpgid(process.pid), process.pid)
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=support.COMMAND_LIMIT)
        self.assertEqual((process.returncode, output, errors), (128 + signal.SIGINT, "", "tiermalloc: interrupted\n"))


if __name__ == "__main__":
    unittest.main()

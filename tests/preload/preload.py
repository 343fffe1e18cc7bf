"""What the tests of this folder share: a program is run twice, without and with the preload, and must behave the same.

A scenario is a function that takes a Session and runs commands in it. compare() calls it twice, each time in an empty directory
of the same name and with the same small environment, and compares everything the session has written down: standard output,
standard error and exit status of each command, and whatever the scenario noted itself. prove() runs a scenario with the dynamic
linker's own report of what it bound to what, and so shows that malloc came from the library in every process that was started.

Relies on TIERMALLOC_SHARED naming the shared object, and on glibc's LD_DEBUG.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

SEARCH_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'
PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'programs')
SKIPPED = 77  # the exit status by which Meson knows a test that could not run

# A hang is found by this limit. It is far above what any command here takes, also on a loaded machine.
COMMAND_LIMIT = 150


def library():
    """Path of the shared object under test."""
    path = os.environ.get('TIERMALLOC_SHARED')
    if not path:
        sys.exit('TIERMALLOC_SHARED is not set: it names the shared object under test')
    if not os.path.exists(path):
        sys.exit(f'TIERMALLOC_SHARED: {path}: no such file')
    return os.path.abspath(path)


def real_library():
    """Its path as /proc/PID/maps shows it."""
    return os.path.realpath(library())


def find(name):
    """Path of a program of this machine, or None. Looks where packages install, not in the caller's PATH."""
    return shutil.which(name, path=SEARCH_PATH)


def program_file(name):
    """Path of a script or source file from the folder `programs`."""
    return os.path.join(PROGRAMS, name)


def kill_group(process):
    """Ends a command and everything it started. Its session is its own, so the group is too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Session:
    """One of the runs that are compared: a directory, an environment, and a log of all that was seen."""

    def __init__(self, directory, preload=None, report=None):
        self.directory = directory
        self.log = []
        self.environment = {
            'PATH': SEARCH_PATH, 'HOME': directory, 'TMPDIR': directory, 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC',
        }
        if preload:
            self.environment['LD_PRELOAD'] = preload
        if report:
            self.environment['LD_DEBUG'] = 'bindings,libs'
            self.environment['LD_DEBUG_OUTPUT'] = report
            # All functions are bound before a program's first instruction, so that its part of the report is complete there.
            self.environment['LD_BIND_NOW'] = '1'
        self.preload = preload

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content):
        """Writes a file into the session's directory and returns its path."""
        mode = 'wb' if isinstance(content, bytes) else 'w'
        with open(self.path(name), mode) as file:
            file.write(content)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read()

    def note(self, label, value):
        """Adds something to what is compared."""
        self.log.append((label, value))

    def start(self, *arguments, environment=None, executable=None, **options):
        """Starts a command in the session's directory and environment; the caller ends it."""
        return subprocess.Popen(arguments, executable=executable, cwd=self.directory, start_new_session=True,
                                env={**self.environment, **(environment or {})}, **options)

    def run(self, *arguments, input=b'', status=0, environment=None, compare_output=True, compare_errors=True):
        """Runs a command to its end, writes down what it did, and returns its standard output (bytes)."""
        process = self.start(*arguments, environment=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        label = ' '.join(arguments)[:200]
        try:
            output, errors = process.communicate(input, timeout=COMMAND_LIMIT)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.communicate()
            raise AssertionError(f'{self.name()}: hangs: {label}') from None
        if process.returncode != status:
            raise AssertionError(f'{self.name()}: exit status {process.returncode}, expected {status}: {label}\n'
                                 + errors.decode(errors='replace')[-4000:])
        self.note(f'{label}: exit status', process.returncode)
        if compare_output:
            self.note(f'{label}: standard output', output)
        if compare_errors:
            self.note(f'{label}: standard error', errors)
        return output

    def name(self):
        return 'with the preload' if self.preload else 'without the preload'


def started_programs(report_folder):
    """Yields (program, malloc came from the library) for each program in the dynamic linker's reports.

    A process writes one file; if it executes another program, that one's report follows in the same file. Relocation
    comes before the line `initialize program`. Any reference to malloc that was bound to the library will do: all look it up
    in the same order (but for an executable that takes the address of malloc, where the others are bound to its entry for it).
    """
    binding = re.compile(rb"to " + re.escape(os.fsencode(library())) + rb" \[0\]: normal symbol `malloc'")
    for name in sorted(os.listdir(report_folder)):
        bound = False
        with open(os.path.join(report_folder, name), 'rb') as file:
            for line in file:
                if binding.search(line):
                    bound = True
                elif b'initialize program:' in line:
                    yield os.path.basename(line.split(b'program:')[1].strip().decode()), bound
                    bound = False


def describe_difference(label, plain, preloaded):
    """A short text that shows where two observations part."""
    if not isinstance(plain, bytes) or not isinstance(preloaded, bytes):
        return f'{label}\n  without: {plain!r}\n  with:    {preloaded!r}'
    position = next((at for at, (one, other) in enumerate(zip(plain, preloaded)) if one != other),
                    min(len(plain), len(preloaded)))
    begin = max(0, position - 60)
    return (f'{label}: differs at byte {position} (of {len(plain)} without, {len(preloaded)} with)\n'
            f'  without: {plain[begin:position + 200]!r}\n  with:    {preloaded[begin:position + 200]!r}')


class PreloadTest(unittest.TestCase):
    """Base of the tests of one program. `needs` names the programs without which they are skipped."""

    needs = ()

    @classmethod
    def setUpClass(cls):
        missing = [name for name in cls.needs if not find(name)]
        if missing:
            raise unittest.SkipTest(f'not installed: {", ".join(missing)}')

    def in_fresh_directory(self, scenario, **options):
        """Calls the scenario in an empty directory of its own; returns the session."""
        directory = os.path.join(self.scratch, 'work')
        os.mkdir(directory)
        session = Session(directory, **options)
        try:
            scenario(session)
        finally:
            shutil.rmtree(directory)
        return session

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='tiermalloc-preload-')
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def compare(self, scenario):
        """Runs the scenario without and with the preload; all that was seen must be equal."""
        plain = self.in_fresh_directory(scenario)
        preloaded = self.in_fresh_directory(scenario, preload=library())
        self.assertTrue(plain.log, 'the scenario observed nothing')
        self.assertEqual([label for label, _ in plain.log], [label for label, _ in preloaded.log])
        for (label, expected), (_, seen) in zip(plain.log, preloaded.log):
            if expected != seen:
                self.fail(describe_difference(label, expected, seen))

    def prove(self, scenario, *programs):
        """Runs a (small) scenario and shows that the library served malloc in all its processes, `programs` among them."""
        report = os.path.join(self.scratch, 'report')
        os.mkdir(report)
        self.in_fresh_directory(scenario, preload=library(), report=os.path.join(report, 'linker'))
        started = list(started_programs(report))
        shutil.rmtree(report)
        self.assertEqual([name for name, bound in started if not bound], [], 'ran without the library')
        self.assertLessEqual(set(programs), {name for name, _ in started})


def main():
    """Runs the tests of the calling module; ends with Meson's status for a skip if not one of them could run."""
    library()
    result = unittest.main(module='__main__', exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    # A class skipped as a whole is one of `skipped`, but none of the tests that ran.
    skipped_tests = sum(isinstance(test, unittest.TestCase) for test, _ in result.skipped)
    sys.exit(SKIPPED if result.skipped and result.testsRun == skipped_tests else 0)

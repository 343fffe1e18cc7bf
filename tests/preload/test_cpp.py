"""A C++ program with threads, exceptions and containers, compiled here, under the preload."""

import os
import shlex
import subprocess
import tempfile
import unittest

import preload


class Cpp(preload.PreloadTest):
    @classmethod
    def setUpClass(cls):
        compiler = shlex.split(os.environ.get('CXX', 'c++'))
        folder = tempfile.TemporaryDirectory(prefix='tiermalloc-preload-')
        cls.addClassCleanup(folder.cleanup)
        cls.executable = os.path.join(folder.name, 'workload')
        try:
            subprocess.run([*compiler, '-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread',
                            preload.program_file('workload.cc'), '-o', cls.executable], check=True)
        except FileNotFoundError:
            raise unittest.SkipTest(f'not installed: {compiler[0]}') from None

    def test_is_loaded(self):
        self.prove(lambda session: session.run(self.executable, 'containers'), 'workload')

    def workload(self, part):
        def scenario(session):
            session.run(self.executable, part)
        return scenario

    def test_containers(self):
        self.compare(self.workload('containers'))

    def test_exceptions(self):
        self.compare(self.workload('exceptions'))

    def test_threads(self):
        self.compare(self.workload('threads'))

    def test_queue(self):
        self.compare(self.workload('queue'))

    def test_aligned(self):
        self.compare(self.workload('aligned'))


if __name__ == '__main__':
    preload.main()

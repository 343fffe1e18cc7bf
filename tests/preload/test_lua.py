"""lua under the preload: tables, strings, closures and coroutines, all of which it keeps in malloc and moves with realloc."""

import unittest

import preload


class Lua(preload.PreloadTest):
    names = ('lua5.4', 'lua5.3', 'lua')

    @classmethod
    def setUpClass(cls):
        cls.program = next(filter(preload.find, cls.names), None)
        if not cls.program:
            raise unittest.SkipTest(f'not installed: any of {", ".join(cls.names)}')

    def test_is_loaded(self):
        self.prove(lambda session: session.run(self.program, '-e', 'print(1)'), self.program)

    def test_workload(self):
        self.compare(lambda session: session.run(self.program, preload.program_file('workload.lua')))


if __name__ == '__main__':
    preload.main()

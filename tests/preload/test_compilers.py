"""Compilers under the preload: large files compiled; assembly, object code, diagnostics and the linked program equal.

The argument names the compiler: gcc, g++, clang or clang++.
"""

import sys

import preload
import sources


class Compiler(preload.PreloadTest):
    # What the compiler starts; clang compiles and assembles in its own process.
    helpers = {'gcc': ['cc1', 'as', 'collect2', 'ld'], 'g++': ['cc1plus', 'as', 'collect2', 'ld'], 'clang': ['ld'], 'clang++': ['ld']}
    # With gcc the program is optimised while linking: more processes, and large ones.
    link_options = {'gcc': ['-flto=2'], 'g++': [], 'clang': [], 'clang++': []}

    def compile(self, session, *arguments, **options):
        standard = '-std=c++17' if self.compiler.endswith('++') else '-std=c11'
        session.run(self.compiler, standard, *arguments, **options)

    def source(self, session, size):
        if self.compiler.endswith('++'):
            return session.write('large.cc', sources.cxx_source(size // 50))
        return session.write('large.c', sources.c_source(size))

    def test_is_loaded(self):
        def scenario(session):
            self.compile(session, self.source(session, 50), '-o', 'program')
        self.prove(scenario, self.compiler, *self.helpers[self.compiler])

    def test_object_code(self):
        def scenario(session):
            self.compile(session, '-O1', '-g', '-c', self.source(session, 1000), '-o', 'large.o')
            session.note('object code', session.read('large.o'))
        self.compare(scenario)

    def test_program(self):
        def scenario(session):
            self.compile(session, '-O2', *self.link_options[self.compiler], self.source(session, 100), '-o', 'program')
            session.note('program', session.read('program'))
            session.run('./program')
        self.compare(scenario)

    def test_diagnostics(self):
        def scenario(session):
            source = self.source(session, 50)
            with open(source, 'a', encoding='ascii') as file:
                file.writelines(f'int broken_{n}(int x) {{ int unused; return missing_{n}(x, "{n}") + y; }}\n' for n in range(40))
            self.compile(session, '-Wall', '-Wextra', '-fsyntax-only', source, status=1)
        self.compare(scenario)


if __name__ == '__main__':
    Compiler.compiler = sys.argv.pop(1)
    Compiler.needs = (Compiler.compiler, 'ld')
    preload.main()

"""perl under the preload: hashes, regular expressions, sorting, strings that grow, fork and interpreter threads."""

import preload


class Perl(preload.PreloadTest):
    needs = ('perl',)

    def workload(self, part):
        def scenario(session):
            session.run('perl', preload.program_file('workload.pl'), part)
        return scenario

    def test_is_loaded(self):
        self.prove(lambda session: session.run('perl', '-e', 'print `perl -e "print 1"`'), 'perl')

    def test_data(self):
        self.compare(self.workload('data'))

    def test_text(self):
        self.compare(self.workload('text'))

    def test_fork(self):
        self.compare(self.workload('fork'))

    def test_threads(self):
        self.compare(self.workload('threads'))


if __name__ == '__main__':
    preload.main()

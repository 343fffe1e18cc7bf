"""tar and the compressors under the preload, those that can with two threads: archives equal, and unpacked again."""

import preload


class Archives(preload.PreloadTest):
    needs = ('tar', 'gzip')

    def setUp(self):
        super().setUp()
        # Text that compresses in part: the numbers are those of a small generator.
        state, lines = 1, []
        for _ in range(150_000):
            state = (state * 1103515245 + 12345) % 2**31
            lines.append(f'line {state % 977} {state:x}')
        self.text = '\n'.join(lines).encode()

    def compress_and_back(self, program, *options):
        if not preload.find(program):
            self.skipTest(f'not installed: {program}')

        def scenario(session):
            packed = session.run(program, *options, '-c', input=self.text)
            session.run(program, '-d', '-c', input=packed)
            # A damaged file is an error that has to be told alike.
            session.run(program, '-t', input=packed[:len(packed) // 2], status=2 if program == 'bzip2' else 1)
        self.compare(scenario)

    def test_is_loaded(self):
        def scenario(session):
            session.write('file', self.text[:1000])
            session.run('tar', 'czf', 'archive', 'file')
        self.prove(scenario, 'tar', 'gzip')

    def test_tar(self):
        def scenario(session):
            for number in range(300):
                session.write(f'file{number:03}', self.text[number * 100:number * 1000])
            session.run('bash', '-c', 'tar --sort=name --mtime=@0 --owner=0 --group=0 --mode=644 -cvzf archive.tgz file*')
            session.note('archive', session.read('archive.tgz'))
            session.run('tar', 'tzf', 'archive.tgz')
            session.run('bash', '-c', 'mkdir copy && tar xzf archive.tgz -C copy && cat copy/* | sha256sum')
        self.compare(scenario)

    def test_gzip(self):
        self.compress_and_back('gzip', '-n')

    def test_bzip2(self):
        self.compress_and_back('bzip2')

    def test_xz_two_threads(self):
        self.compress_and_back('xz', '-T2', '-1', '--block-size=1MiB')

    def test_zstd_two_threads(self):
        self.compress_and_back('zstd', '-T2', '-q', '-9')


if __name__ == '__main__':
    preload.main()

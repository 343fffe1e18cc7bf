"""php under the preload, as Debian builds it: its modules are opened with RTLD_DEEPBIND, which would bind them to libc's malloc."""

import preload


class Php(preload.PreloadTest):
    needs = ('php',)

    def workload(self, part, **environment):
        def scenario(session):
            session.run('php', preload.program_file('workload.php'), part, environment=environment)
        return scenario

    def test_is_loaded(self):
        self.prove(lambda session: session.run('php', '-r', 'echo 1;'), 'php')

    def test_modules(self):
        self.compare(lambda session: session.run('php', '-m'))

    def test_data(self):
        self.compare(self.workload('data'))

    def test_modules_work(self):
        self.compare(self.workload('modules'))

    def test_everything_through_malloc(self):
        def scenario(session):
            for part in ('data', 'modules'):
                self.workload(part, USE_ZEND_ALLOC='0')(session)
        self.compare(scenario)


if __name__ == '__main__':
    preload.main()

"""python3 under the preload: threads, json, multiprocessing, and everything through malloc (PYTHONMALLOC=malloc).

The interpreter is the one that the distribution installed, not the one that runs this test.
"""

import preload


class Python(preload.PreloadTest):
    needs = ('python3',)

    def compare_workload(self, *arguments, **environment):
        def scenario(session):
            session.run('python3', '-I', preload.program_file('workload.py'), *arguments, environment=environment)
        self.compare(scenario)

    def test_is_loaded(self):
        def scenario(session):
            session.run('python3', preload.program_file('workload.py'), 'spawn')
        self.prove(scenario, 'python3')

    def test_threads(self):
        self.compare_workload('threads')

    def test_json(self):
        self.compare_workload('json')

    def test_growing(self):
        self.compare_workload('growing')

    def test_fork_pool(self):
        self.compare_workload('fork')

    def test_spawn_pool(self):
        self.compare_workload('spawn')

    def test_subprocesses_from_threads(self):
        self.compare_workload('subprocesses')

    def test_everything_through_malloc(self):
        # -I would make the interpreter ignore PYTHONMALLOC.
        def scenario(session):
            for part in ('threads', 'json', 'growing', 'fork'):
                session.run('python3', preload.program_file('workload.py'), part, environment={'PYTHONMALLOC': 'malloc'})
        self.compare(scenario)

    def test_debug_allocator(self):
        def scenario(session):
            session.run('python3', preload.program_file('workload.py'), 'json', environment={'PYTHONMALLOC': 'malloc_debug'})
        self.compare(scenario)


if __name__ == '__main__':
    preload.main()

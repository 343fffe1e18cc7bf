"""node under the preload: buffers, JSON, compression in the thread pool, worker threads and a child process."""

import preload


class Node(preload.PreloadTest):
    needs = ('node',)

    def workload(self, part):
        def scenario(session):
            session.run('node', preload.program_file('workload.js'), part)
        return scenario

    def test_is_loaded(self):
        self.prove(lambda session: session.run('node', '-e', 'console.log(1)'), 'node')

    def test_buffers(self):
        self.compare(self.workload('buffers'))

    def test_json(self):
        self.compare(self.workload('json'))

    def test_thread_pool(self):
        self.compare(self.workload('threadPool'))

    def test_workers(self):
        self.compare(self.workload('workers'))

    def test_child(self):
        self.compare(self.workload('child'))


if __name__ == '__main__':
    preload.main()

"""redis-server under the preload, with redis-cli and redis-benchmark under it too: the digest of all keys is equal.

The server listens on a socket in the session's directory only. Its package is not needed, and with it no service that it would
start on this machine: redis-tools brings the same executable under the name of the checker and looks at the name it is called by.
"""

import subprocess

import preload

LUA = ("for i = 1, tonumber(ARGV[1]) do local k = 'lua:' .. i % 500 "
       "redis.call('APPEND', k, string.rep(tostring(i), i % 50)) redis.call('HSET', 'hash:' .. i % 90, k, cjson.encode({i, k})) end "
       "return redis.call('DBSIZE')")


def commands():
    """Deterministic commands, as redis-cli reads them, over all kinds of values and many sizes."""
    for i in range(12_000):
        yield f'SET string:{i % 3000} {"v" * (i * 7919 % 900)}'
        yield f'RPUSH list:{i % 200} {i} {"w" * (i % 120)}'
        yield f'ZADD sorted:{i % 50} {i * 31 % 1000} member:{i % 700}'
        yield f'SADD set:{i % 40} {i * 104729 % 9973}'
        if i % 3 == 0:
            yield f'DEL string:{i * 13 % 3000}'
        if i % 5 == 0:
            yield f'LTRIM list:{i * 3 % 200} 0 40'
        if i % 7 == 0:
            yield f'XADD stream:{i % 9} {i + 1}-1 field {"z" * (i % 300)}'
        if i % 1000 == 0:
            yield f'SETRANGE big:{i} {i * 300 + 100} end'
            yield f'UNLINK big:{i - 3000}'


class Redis(preload.PreloadTest):
    needs = ('redis-cli', 'redis-benchmark', 'redis-check-rdb')

    def look(self, session, *arguments):
        """Asks the server something outside the comparison, and without the preload: for what takes a different time in each run."""
        return subprocess.run([preload.find('redis-cli'), '-s', session.path('socket'), *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False, timeout=preload.COMMAND_LIMIT).stdout

    def start_server(self, session):
        server = session.start(
            'redis-server', '--port', '0', '--unixsocket', session.path('socket'), '--dir', session.directory, '--save', '',
            '--appendonly', 'yes', '--enable-debug-command', 'local', '--daemonize', 'no', '--io-threads', '2',
            '--logfile', session.path('log'), '--hz', '50',
            executable=preload.find('redis-server') or preload.find('redis-check-rdb'), stdin=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(preload.kill_group, server)
        while server.poll() is None:
            if self.look(session, 'PING') == b'PONG\n':
                return server
        self.fail(f'{session.name()}: redis-server ended with {server.returncode}:\n{session.read("log").decode()}')

    def stop_server(self, session, server):
        session.run('redis-cli', '-s', session.path('socket'), 'SHUTDOWN', 'NOSAVE')
        session.note('exit status of the server', server.wait(preload.COMMAND_LIMIT))

    def ask(self, session, *arguments, **options):
        return session.run('redis-cli', '-s', session.path('socket'), *arguments, **options)

    def test_is_loaded(self):
        def scenario(session):
            server = self.start_server(session)
            with open(f'/proc/{server.pid}/maps', encoding='utf-8') as maps:
                self.assertIn(preload.real_library(), maps.read())
            self.ask(session, 'PING')
            session.run('redis-benchmark', '-s', session.path('socket'), '-q', '-n', '100', '-t', 'ping', compare_output=False)
            self.stop_server(session, server)
        self.prove(scenario, 'redis-server', 'redis-cli', 'redis-benchmark')

    def test_digest(self):
        def scenario(session):
            server = self.start_server(session)
            script = '\n'.join(commands()).encode() + b'\n'
            self.ask(session, input=script)
            self.ask(session, 'EVAL', LUA, '0', '20000')
            before = self.ask(session, 'DEBUG', 'DIGEST')
            # A forked child writes; then all is freed and read again.
            self.ask(session, 'BGREWRITEAOF')
            while b'aof_rewrite_in_progress:0' not in self.look(session, 'INFO', 'persistence'):
                self.assertIsNone(server.poll(), 'redis-server ended')
            self.ask(session, 'DEBUG', 'RELOAD')
            self.assertEqual(self.ask(session, 'DEBUG', 'DIGEST'), before)
            self.ask(session, 'SORT', 'set:7', 'DESC')
            self.ask(session, 'ZRANGE', 'sorted:7', '0', '-1', 'WITHSCORES')
            # Another thread frees what this one allocated.
            self.ask(session, 'FLUSHALL', 'ASYNC')
            self.ask(session, 'DEBUG', 'DIGEST')
            self.stop_server(session, server)
        self.compare(scenario)

    def test_benchmark(self):
        def scenario(session):
            server = self.start_server(session)
            # Its rates differ, and so do its random keys: only what it leaves behind without them is compared.
            session.run('redis-benchmark', '-s', session.path('socket'), '-q', '-n', '5000', '-d', '300', '-P', '8',
                        '-t', 'set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,mset,lrange_100', compare_output=False)
            self.ask(session, 'DEBUG', 'DIGEST')
            session.run('redis-benchmark', '-s', session.path('socket'), '-q', '-n', '20000', '-r', '100000', '-d', '2000', '-P', '16',
                        '--threads', '2', '-t', 'set,lpush,hset', compare_output=False)
            self.ask(session, 'DEBUG', 'RELOAD')
            self.stop_server(session, server)
        self.compare(scenario)


if __name__ == '__main__':
    preload.main()

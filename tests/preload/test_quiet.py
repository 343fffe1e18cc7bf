"""The preload prints nothing unless asked, and what is asked for it prints on standard error, beginning with its name."""

import subprocess

import preload


class Quiet(preload.PreloadTest):
    needs = ('true', 'sh', 'env', 'sort')

    def run_with(self, *arguments, environment=None, status=0):
        """Runs a command preloaded, with nothing else in its environment; returns (standard output, standard error)."""
        result = subprocess.run([preload.find(arguments[0]), *arguments[1:]], capture_output=True, check=False, cwd=self.scratch,
                                env={'LD_PRELOAD': preload.library(), **(environment or {})}, timeout=preload.COMMAND_LIMIT)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stdout, result.stderr

    def test_prints_nothing(self):
        self.assertEqual(self.run_with('true'), (b'', b''))

    def test_prints_nothing_with_an_empty_option_string(self):
        self.assertEqual(self.run_with('true', environment={'TIERMALLOC_CONF': ''}), (b'', b''))

    def test_prints_nothing_when_processes_start_processes(self):
        script = 'for i in 1 2 3; do (echo $i | sort) & done | sort; exit 4'
        self.assertEqual(self.run_with('sh', '-c', script, environment={'PATH': preload.SEARCH_PATH}, status=4), (b'1\n2\n3\n', b''))

    def test_prints_what_is_asked_for(self):
        output, errors = self.run_with('true', environment={'TIERMALLOC_CONF': 'stats_print:true'})
        self.assertEqual(output, b'')
        self.assertRegex(errors, rb'\A[^\n]*tiermalloc')

    def test_names_what_it_does_not_know(self):
        output, errors = self.run_with('true', environment={'TIERMALLOC_CONF': 'no_such_key:1'})
        self.assertEqual((output, errors), (b'', b'tiermalloc: TIERMALLOC_CONF: unknown key "no_such_key"\n'))


if __name__ == '__main__':
    preload.main()

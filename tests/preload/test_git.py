"""git under the preload: a repository made with fixed dates is imported, cloned, merged, repacked, checked and read."""

import hashlib

import preload

WHO = 'A Person <person@example.org>'
DAY = 86_400


def stream(commits, files):
    """A fast-import stream: a main line that edits files in turn, and a side branch from the middle of it."""
    parts = []

    def text(number, revision):
        lines = [f'line {line} of file {number}, {"edited" if line % (revision + 3) == 0 else "first"} in revision {revision}'
                 for line in range(40 + number % 60)]
        return '\n'.join(lines) + '\n'

    def data(content):
        parts.append(f'data {len(content)}\n{content}\n')

    for commit in range(commits):
        branch = 'side' if commit > commits - 20 else 'main'
        parts.append(f'commit refs/heads/{branch}\nmark :{commit + 1}\ncommitter {WHO} {1_600_000_000 + commit * DAY} +0000\n')
        data(f'Commit {commit}\n\nWith a body that says a little more about commit {commit}.')
        if branch == 'side' and commit == commits - 19:
            parts.append(f'from :{commits // 2}\n')
        for number in range(files) if commit == 0 else {commit * 7 % files, commit * 13 % files}:
            parts.append(f'M 100644 inline folder{number % 9}/file{number}.txt\n')
            data(text(number, commit))
        if branch == 'side':
            parts.append(f'M 100644 inline side/{commit}.txt\n')
            data(text(commit, commit))
    parts.append(f'tag v1\nfrom :{commits // 2}\ntagger {WHO} 1700000000 +0000\n')
    data('The first release')
    return ''.join(parts).encode()


class Git(preload.PreloadTest):
    needs = ('git',)
    settings = {
        'GIT_AUTHOR_NAME': 'A Person', 'GIT_AUTHOR_EMAIL': 'person@example.org', 'GIT_AUTHOR_DATE': '1700000000 +0000',
        'GIT_COMMITTER_NAME': 'A Person', 'GIT_COMMITTER_EMAIL': 'person@example.org',
        'GIT_COMMITTER_DATE': '1700000000 +0000', 'GIT_CONFIG_NOSYSTEM': '1', 'GIT_PAGER': 'cat',
    }

    def git(self, session, *arguments, **options):
        # Two threads wherever git can use them; nothing detached that could outlive the test.
        return session.run('git', '-c', 'pack.threads=2', '-c', 'index.threads=2', '-c', 'gc.autoDetach=false',
                           '-c', 'maintenance.auto=false', '-c', 'protocol.file.allow=always', *arguments, environment=self.settings,
                           **options)

    def make_repository(self, session, commits, files):
        self.git(session, 'init', '--quiet', '--initial-branch=main', 'origin')
        # fast-import prints its own memory statistics, which depend on the run.
        self.git(session, '-C', 'origin', 'fast-import', '--quiet', input=stream(commits, files))
        self.git(session, '-C', 'origin', 'reset', '--quiet', '--hard', 'main')

    def test_is_loaded(self):
        def scenario(session):
            self.make_repository(session, 60, 20)
            self.git(session, 'clone', '--quiet', f'file://{session.path("origin")}', 'copy')
        self.prove(scenario, 'git')

    def test_clone_gc_fsck_log(self):
        def scenario(session):
            self.make_repository(session, 300, 150)
            self.git(session, 'clone', '--quiet', f'file://{session.path("origin")}', 'copy')
            self.git(session, '-C', 'copy', 'gc', '--quiet', '--aggressive', '--prune=now')
            self.git(session, '-C', 'copy', 'fsck', '--full', '--strict', '--no-progress')
            self.git(session, '-C', 'copy', 'log', '--all', '--stat', '-p', '-M')
            self.git(session, '-C', 'copy', 'rev-list', '--all', '--objects')
            self.git(session, '-C', 'copy', 'cat-file', '--batch-check', '--batch-all-objects')
        self.compare(scenario)

    def test_merge_rebase_blame(self):
        def scenario(session):
            self.make_repository(session, 120, 60)
            self.git(session, '-C', 'origin', 'merge', '--quiet', '-X', 'ours', '-m', 'Merge the side branch', 'side')
            self.git(session, '-C', 'origin', 'branch', 'copy', 'main~5')
            self.git(session, '-C', 'origin', 'rebase', '--quiet', '-X', 'theirs', 'v1', 'copy')
            self.git(session, '-C', 'origin', 'blame', 'folder3/file3.txt')
            self.git(session, '-C', 'origin', 'grep', '-n', '-E', 'line [0-9]*7 .*edited')
            self.git(session, '-C', 'origin', 'diff', '--stat', '-C', 'v1', 'main')
            self.git(session, '-C', 'origin', 'status', '--porcelain')
            archive = self.git(session, '-C', 'origin', 'archive', '--format=tar', 'main', compare_output=False)
            session.note('archive', hashlib.sha256(archive).hexdigest())
        self.compare(scenario)


if __name__ == '__main__':
    preload.main()

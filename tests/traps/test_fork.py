"""Fork, vfork and exit in processes whose threads allocate."""

import unittest

from support import FORK, OF_THIS_MACHINE, TrapTest, not_emulated


class Fork(TrapTest):
    def test_fork_while_threads_allocate(self):
        self.run_trap("fork_threads", 500, 1)

    def test_linked_program(self):
        self.run_trap("linked_fork_threads", 100, 1, preload=None)

    def test_two_threads_fork_at_once(self):
        self.run_trap("fork_threads", 250, 2)

    @not_emulated(OF_THIS_MACHINE)
    def test_fork_in_signal_handler_that_interrupted_malloc(self):
        self.run_trap("fork_signal", "leave", 500)

    def test_child_of_such_a_handler_allocates(self):
        self.run_trap("fork_signal", "allocate", 500)


class ForkAgainstStdio(TrapTest):
    @not_emulated(FORK)
    def test_fopen_fprintf_fclose(self):
        self.run_trap("fork_stdio", "files", 300)

    def test_getline_on_a_shared_file(self):
        self.run_trap("fork_stdio", "lines", 300)

    def test_memory_streams(self):
        self.run_trap("fork_stdio", "streams", 300)

    @not_emulated(OF_THIS_MACHINE)
    def test_popen(self):
        self.run_trap("fork_stdio", "pipes", 300)


class OtherChildren(TrapTest):
    @not_emulated(OF_THIS_MACHINE)
    def test_vfork_posix_spawn_system(self):
        self.run_trap("spawn", 60)


class Exit(TrapTest):
    def test_exit_while_threads_allocate(self):
        for seed in range(25):
            with self.subTest(seed=seed):
                self.run_trap("exit_threads", seed)


if __name__ == "__main__":
    unittest.main()

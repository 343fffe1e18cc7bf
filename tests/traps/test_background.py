"""The background thread: idle programs' memory goes back, and nothing else changes."""

import unittest

from support import PROCESS, TrapTest, not_emulated


@not_emulated(PROCESS)
class Background(TrapTest):
    def test_idle_program(self):
        self.run_trap("background", "idle", options="background:true,decay_ms:500")

    def test_caches_that_belong_to_nobody(self):
        self.run_trap("background", "caches", options="background:true")

    def test_nothing_to_do(self):
        self.run_trap("background", "quiet", options="background:true,decay_ms:500")

    def test_fork(self):
        self.run_trap("background", "fork", options="background:true,decay_ms:500")

    def test_fork_while_threads_allocate(self):
        self.run_trap("background", "threads", options="background:true")

    def test_no_further_thread_allowed(self):
        self.run_trap("background", "no-more", options="background:true")

    def test_end_of_the_main_thread(self):
        self.run_trap("background", "main", options="background:true")

    def test_off(self):
        self.run_trap("background", "off")

    def test_exit_while_threads_allocate(self):
        for seed in range(10):
            with self.subTest(seed=seed):
                self.run_trap("exit_threads", seed, options="background:true,retain:0")

    def test_fork_in_signal_handler_that_interrupted_malloc(self):
        self.run_trap("fork_signal", "allocate", 200, options="background:true,retain:0")


if __name__ == "__main__":
    unittest.main()

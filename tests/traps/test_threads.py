"""Threads that come, go, exchange blocks and are interrupted."""

import os
import tempfile
import unittest

from support import RESIDENT, TrapTest, not_emulated


class ThreadExit(TrapTest):
    @not_emulated(RESIDENT)
    def test_destructors_of_thread_specific_data(self):
        self.run_trap_both_ways("thread_exit", 2000)

    def test_destructors_of_thread_local_objects(self):
        self.run_trap_both_ways("thread_local_exit", 300)


class Turnover(TrapTest):
    @not_emulated(RESIDENT)
    def test_ten_thousand_short_threads(self):
        self.run_trap("short_threads", 10000)

    @not_emulated(RESIDENT)
    def test_two_hundred_live_threads(self):
        self.run_trap("live_threads")

    @not_emulated("counts the kernel's threads")
    def test_threads_that_never_allocate(self):
        self.run_trap("silent_threads", 1000, os.devnull)

    @not_emulated(RESIDENT)
    def test_first_action_of_a_thread_is_a_free(self):
        self.run_trap("first_free", 1000)


class Exchange(TrapTest):
    def test_objects_freed_by_another_thread_come_back(self):
        self.run_trap_both_ways("cross_thread", 300000)


class Signals(TrapTest):
    def test_many_signals(self):
        self.run_trap("signals", 5000)

    @not_emulated("takes minutes")
    def test_statistics_in_between(self):
        self.run_trap("signals_report")


class Cancellation(TrapTest):
    def test_while_a_file_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            self.run_trap("cancelled", options=f"trace_pages:{folder}/file")


if __name__ == "__main__":
    unittest.main()

"""Memory comes to an end, goes back to the system, and does not need a mapping for each object."""

import unittest

from support import LIMITS, RESIDENT, TrapTest, not_emulated


class Mappings(TrapTest):
    def test_hundred_thousand_objects(self):
        self.run_trap("many_objects")


@not_emulated(LIMITS)
class OutOfMemory(TrapTest):
    def test_limited_address_space(self):
        self.run_trap("out_of_memory", "space")

    def test_limited_address_space_with_threads(self):
        self.run_trap("out_of_memory", "threads")

    def test_limited_data(self):
        self.run_trap("out_of_memory", "data")

    def test_limit_from_outside(self):
        shell = ["/bin/sh", "-c", 'ulimit -v 320000 && exec "$0" "$@"']
        self.run_trap("out_of_memory", "outside", wrap=shell)

    def test_strict_overcommit(self):
        with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as file:
            mode = file.read().strip()
        if mode != "2":
            self.skipTest(f"vm.overcommit_memory is {mode} here; only a machine with 2 shows this")
        self.run_trap("quiet")


@not_emulated(RESIDENT)
class GiveBack(TrapTest):
    def test_large_blocks(self):
        self.run_trap("give_back", "large")

    def test_shrunk_block(self):
        self.run_trap("give_back", "shrink")

    def test_many_shrunk_blocks(self):
        self.run_trap("give_back", "shrink-many")

    def test_peak_of_medium_objects(self):
        self.run_trap("give_back", "medium")

    def test_peak_of_small_objects(self):
        self.run_trap("give_back", "small")


if __name__ == "__main__":
    unittest.main()

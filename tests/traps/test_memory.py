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

    def test_realloc_to_less(self):
        self.run_trap("shrink")

    def test_limit_from_outside(self):
        shell = ["/bin/sh", "-c", 'ulimit -v 320000 && exec "$0" "$@"']
        self.run_trap("out_of_memory", "outside", wrap=shell)

    def test_hard_limit(self):
        self.run_trap("out_of_memory", "outside", options="hard_limit:300M")

    def test_hard_limit_with_threads(self):
        self.run_trap("out_of_memory", "outside-threads", options="hard_limit:300M")


class Limits(TrapTest):
    @not_emulated(RESIDENT)
    def test_resident_memory_below_the_soft_limit(self):
        self.run_trap("memory_limits", "soft", 60, options="soft_limit:60M,retain:1G")

    def test_caches_above_the_soft_limit(self):
        self.run_trap("memory_limits", "caches", 60, options="soft_limit:60M")

    @not_emulated(RESIDENT)
    def test_resident_memory_below_the_hard_limit(self):
        self.run_trap("memory_limits", "hard", 100, options="hard_limit:100M,retain:1G")

    def test_beside_a_release(self):
        self.run_trap("limits_beside", "release", options="hard_limit:200M")

    @not_emulated("it loses track of memory that is moved, so that nothing is")
    def test_beside_a_move(self):
        self.run_trap("limits_beside", "move", 20, options="hard_limit:150M")

    def test_operator_new(self):
        self.run_trap("memory_limits_new", options="hard_limit:100M")

    def test_operator_new_of_the_program(self):
        self.run_trap("own_new")


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

    def test_all_of_a_peak_of_mixed_sizes(self):
        self.run_trap("residue", "all")

    def test_all_but_one_in_a_hundred_with_trim(self):
        self.run_trap("residue", "trim")

    def test_all_but_one_in_a_hundred_with_little_to_do(self):
        self.run_trap("residue", "light")


def huge_page_setting():
    """always, madvise or never; never where the kernel has no huge pages of 2 MiB."""
    folder = "/sys/kernel/mm/transparent_hugepage/"
    try:
        with open(folder + "hpage_pmd_size", encoding="ascii") as file:
            if file.read().strip() != "2097152":
                return "never"
        with open(folder + "enabled", encoding="ascii") as file:
            return file.read().split("[")[1].split("]")[0]
    except OSError:
        return "never"


@not_emulated(RESIDENT)
class HugePages(TrapTest):
    def test_small_heap(self):
        if huge_page_setting() == "always":
            self.skipTest("this kernel gives huge pages to everybody")
        self.run_trap("huge_pages", "small")

    def test_as_they_pay(self):
        self.run_trap("huge_pages", "any")

    def test_always(self):
        if huge_page_setting() == "never":
            self.skipTest("this kernel has no huge pages")
        self.run_trap("huge_pages", "wanted", options="thp:always")

    def test_never(self):
        self.run_trap("huge_pages", "unwanted", options="thp:never")


if __name__ == "__main__":
    unittest.main()

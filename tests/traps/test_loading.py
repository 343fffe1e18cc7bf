"""Start-up before main, libraries that come by dlopen, blocks of another allocator."""

import json
import shutil
import unittest

from support import LIBRARY, OF_THIS_MACHINE, TrapTest, environment, not_emulated, program

MODULE = program("libtrap_module.so")


class BeforeMain(TrapTest):
    def test_preinit_and_constructors(self):
        self.run_trap_both_ways("before_main")

    def test_constructor_of_a_library_preloaded_after_ours(self):
        self.run_trap("before_main", MODULE, preload=f"{LIBRARY} {MODULE}")

    def test_constructor_of_a_library_preloaded_before_ours(self):
        self.run_trap("before_main", MODULE, preload=f"{MODULE} {LIBRARY}")

    def test_resolver_of_an_indirect_function(self):
        self.run_trap_both_ways("resolver")

    def test_resolver_bound_at_once(self):
        self.run_trap("resolver_now")


class Modules(TrapTest):
    def test_constructors_of_loaded_modules(self):
        self.run_trap("load_module", "plain", MODULE)

    def test_module_that_brings_the_cxx_library(self):
        self.run_trap("late_new", program("libtrap_module_new.so"))

    def test_runpath_of_the_program_counts(self):
        self.run_trap("load_private", "private", "libtrap_nested.so")

    def test_runpath_of_the_calling_module_counts(self):
        self.run_trap("load_module", "caller", MODULE)


class Deepbind(TrapTest):
    def test_flag_is_dropped(self):
        self.run_trap("load_module", "deepbind", MODULE)

    def test_flag_is_dropped_when_linked(self):
        self.run_trap("linked_load_module", "deepbind", MODULE, preload=None)

    def test_flag_kept_on_request(self):
        self.run_trap("load_module", "kept", MODULE, options="deepbind:true")

    @not_emulated(OF_THIS_MACHINE)
    def test_php(self):
        php = shutil.which("php")
        if not php:
            self.skipTest("php is not installed")
        script = "echo json_encode(array_map('strtoupper', str_split('deepbind')));"
        result = self.run_command([php, "-r", script], environment())
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(json.loads(result.stdout), list("DEEPBIND"))


class LoadedLate(TrapTest):
    def test_allocator_comes_by_dlopen(self):
        self.run_trap("load_allocator", LIBRARY, "local", preload=None)

    def test_allocator_comes_by_global_dlopen(self):
        self.run_trap("load_allocator", LIBRARY, "global", preload=None)


class Foreign(TrapTest):
    def test_blocks_of_another_allocator(self):
        self.run_trap_both_ways("foreign")


if __name__ == "__main__":
    unittest.main()

"""The library prints nothing, starts no thread, leaves no descriptor open."""

import unittest

from support import PROCESS, TrapTest, not_emulated


@not_emulated(PROCESS)
class Quiet(TrapTest):
    def test_nothing_is_to_be_seen(self):
        self.assert_silent(self.run_trap("quiet"))

    def test_linked(self):
        self.assert_silent(self.run_trap("linked_quiet", preload=None))

    def test_standard_descriptors_closed(self):
        shell = ["/bin/sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']
        self.run_trap("quiet", "closed", wrap=shell)

    def test_unset_environment(self):
        shell = ["/bin/sh", "-c", 'exec env -i LD_PRELOAD="$LD_PRELOAD" "$0" "$@"']
        self.assert_silent(self.run_trap("quiet", wrap=shell))

    def assert_silent(self, result):
        self.assertEqual(result.stdout, b"")
        self.assertEqual(result.stderr, b"")


if __name__ == "__main__":
    unittest.main()

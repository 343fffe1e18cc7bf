"""A program that is recorded with the options of TIERMALLOC_CONF: when there is a file, under which name, and what is in it."""

import os
import signal
import unittest

from support import LIBRARY, PROGRAM, RecordTest, frees

# What the program allocates, see program.c.
SIZE, OF_CHILD, IN_HANDLER, IN_DESTRUCTOR = 1234, 4321, 2345, 3456

# As the rows say: 5 million bytes, 400 million.
LARGE, LARGEST = 5242880, 402653184


class Ends(RecordTest):
    def check(self, how):
        self.record("end", how, status=3)
        self.assertEqual(self.files(), ["file"])
        row = self.row(SIZE)
        self.assertEqual((row.allocations, row.live, frees(row), row.remote_frees), (11, 1, 10, 0))
        self.assertEqual((row.peak_live, row.most_live), (1, 1))
        self.assertEqual(self.read().totals["processes"], 1)
        self.assertEqual(self.read().totals["threads"], 1)

    def test_exit(self):
        self.check("exit")

    def test_quick_exit(self):
        self.check("quick_exit")

    def test_exit_without_destructors(self):
        self.record("end", "_exit", status=3)
        self.assertEqual(self.files(), [])

    def test_killed(self):
        self.record("end", "abort", status=-signal.SIGABRT)
        self.assertEqual(self.files(), [])

    def test_freed_twice(self):
        self.record("end", "twice", status=-signal.SIGABRT, errors=None)
        self.assertRegex(self.complaint, r"free\(0x[0-9a-f]+\): object is already free \(double free\)")

    def test_period(self):
        self.record("period", 2500, options="record:{folder}/file,record_period:1")
        self.assertEqual(self.files(), ["file"])
        self.assertGreater(self.row(SIZE).allocations, 1000)
        self.assertGreaterEqual(self.read().totals["milliseconds"], 1000)

    def test_off(self):
        self.record("end", "exit", status=3, options="stats_print:false")
        self.assertEqual(self.files(), [])


class Statistics(RecordTest):
    LINES = ("recorded: requested of classes", "given for it", "left behind it by realloc")

    def test_on(self):
        self.record("end", "exit", options="record:{folder}/file,stats_print:true", status=3, errors=None)
        for line in self.LINES:
            self.assertIn(line, self.complaint)
        totals = self.read().totals
        self.assertIn(f" {totals['live_small_given']}    given for it\n", self.complaint)
        self.assertIn(f" {totals['live_small_given'] + totals['live_small_room']}  in use\n", self.complaint)

    def test_off(self):
        self.record("end", "exit", options="stats_print:true", status=3, errors=None)
        for line in self.LINES:
            self.assertNotIn(line, self.complaint)


class Names(RecordTest):
    def test_parts(self):
        self.record("end", "exit", status=3, options="record:{folder}/a%%b-%e-%p-%q%")
        self.assertEqual(self.files(), [f"a%b-{os.path.basename(PROGRAM)}-{self.last_pid}-%q%"])

    def test_relative(self):
        self.record("end", "exit", status=3, options="record:here")
        self.assertEqual(self.files(), ["here"])


class Failures(RecordTest):
    """The program goes on, and ends as it would have."""

    def complains(self, what, *arguments, path="{folder}/no/file"):
        path = path.format(folder=self.folder)
        message = f"tiermalloc: recording into {path} cannot be written: {what}\n"
        self.record(*arguments, options=f"record:{path}", status=3, errors=message.encode())
        self.assertEqual(self.files(), [])

    def test_no_such_folder(self):
        self.complains("No such file or directory", "end", "exit")

    def test_at_quick_exit(self):
        self.complains("No such file or directory", "end", "quick_exit")

    def test_not_a_folder(self):
        self.complains("Not a directory", "end", "exit", path="/dev/null/file")

    def test_no_room(self):
        self.complains("File too large", "limit-files", path="{folder}/file")

    def test_name_too_long(self):
        self.complains("File name too long", "end", "exit", path="{folder}/" + 256 * "x")

    def test_too_little_memory(self):
        """With too few addresses for the process's counters there is a message; with too few for a thread's, an empty file."""
        shell = ["/bin/sh", "-c", "", PROGRAM, "end", "exit"]
        complaints = 0
        for limit in (14000, 16000, 20000, 24000, 28000, 32000, 40000):
            with self.subTest(limit=limit):
                shell[2] = f'ulimit -v {limit} && LD_PRELOAD={LIBRARY} exec "$0" "$@"'
                self.run_command(shell, f"record:{self.path('file')}", status=3, errors=None, variables={"LD_PRELOAD": ""})
                if self.complaint:
                    complaints += 1
                    self.assertEqual(
                        self.complaint, f"tiermalloc: recording into {self.path('file')} cannot be started: Cannot allocate memory\n"
                    )
                    self.assertEqual(self.files(), [])
                else:
                    self.read()
                    os.unlink(self.path("file"))
        self.assertGreater(complaints, 0)


class Children(RecordTest):
    def check_both(self, own, of_child):
        row = self.row(SIZE, own)
        self.assertEqual((row.allocations, row.live), (8, 1))
        self.assertNotIn((4328, 1), self.read(own).rows)
        row = self.row(OF_CHILD, of_child)
        self.assertEqual((row.allocations, row.live), (5, 0))
        self.assertNotIn((1240, 1), self.read(of_child).rows)
        self.assertEqual(self.read(of_child).totals["threads"], 1)
        self.assertEqual(self.files(), sorted((own, of_child)))

    def test_fork(self):
        child = int(self.record("fork"))
        self.check_both("file", f"file.{child}")

    def test_child_past_the_handlers_of_fork(self):
        child = int(self.record("clone"))
        row = self.row(SIZE, "file")
        self.assertEqual((row.allocations, row.live), (8, 0))
        self.assertEqual(self.files(), ["file", f"file.{child}"])

    def test_fork_with_number_in_name(self):
        child = int(self.record("fork", options="record:{folder}/%p"))
        self.check_both(str(self.last_pid), str(child))

    def test_fork_while_threads_allocate(self):
        self.record("fork-many", 60)
        files = self.files()
        self.assertEqual(len(files), 61)
        for name in files:
            self.read(name)
            if name != "file":
                row = self.row(LARGE, name)
                self.assertEqual((row.allocations, row.live), (5, 0))
                self.assertEqual(self.row(LARGEST, name).peak_live, 1)
                self.assertGreaterEqual(self.read(name).totals["peak_bytes"], LARGEST)

    def test_exec(self):
        """The new program writes its file; what the old one did is gone with it."""
        self.record("exec", options="record:{folder}/%e.%p", status=3)
        self.assertEqual(self.files(), [f"another-name.{self.last_pid}"])
        self.assertEqual(self.row(SIZE, self.files()[0]).allocations, 11)


class Threads(RecordTest):
    def test_many(self):
        growth = int(self.record("threads", 200))
        row = self.row(SIZE)
        self.assertEqual((row.allocations, row.live, row.remote_frees), (2000, 0, 0))
        self.assertEqual(self.read().totals["threads"], 201)
        # Less than the counters of three more threads.
        self.assertLess(growth, 3 * 16 << 20)

    def test_realloc_in_destructors(self):
        live = int(self.record("resize-in-destructors", 200, options="stats_print:false"))
        growth = int(self.record("resize-in-destructors", 200))
        self.assertEqual(self.row(IN_DESTRUCTOR).live, 0)
        self.assertEqual(self.row(2 * IN_DESTRUCTOR).live, 200)
        # Less than the counters of three more threads, beyond what is live, which is much with few classes, and its records'
        # addresses: two for each of the heap's.
        self.assertLess(growth - 3 * live, 3 * 16 << 20)

    def test_destructors(self):
        self.record("destructors", 20)
        row = self.row(IN_DESTRUCTOR)
        # Three by the thread, four by destructors for the next time, and two by each of six calls of them.
        self.assertEqual((row.allocations, row.live, row.remote_frees), (20 * 19, 20, 0))
        self.assertEqual(self.read().totals["threads"], 21)


class Signals(RecordTest):
    OPTIONS = f"record:{{folder}}/file,record_signal:{int(signal.SIGUSR1)}"

    def test_once(self):
        self.record("toggle", 1, options=self.OPTIONS)
        row = self.row(SIZE)
        self.assertEqual((row.allocations, row.live), (10, 0))

    def test_from_nothing_each_time(self):
        self.record("toggle", 5, options=self.OPTIONS)
        self.assertEqual(self.row(SIZE).allocations, 14)
        self.assertEqual(self.read().totals["threads"], 1)

    def test_no_signal(self):
        self.record("toggle", 0, options=self.OPTIONS)
        self.assertEqual(self.files(), [])

    def test_in_the_middle_of_malloc(self):
        self.record("toggle-fast", 2000, options=self.OPTIONS)
        self.assertEqual(self.files(), ["file"])
        row = self.row(SIZE)
        self.assertEqual((row.allocations, row.live), (10, 0))

    def test_handler_that_allocates(self):
        self.record("handler", 2000)
        row = self.row(IN_HANDLER)
        # What is served from mappings, in the middle of the allocator, is not counted; the program may ask for some, too.
        self.assertGreater(row.allocations, 100)
        self.assertLessEqual(row.allocations, 2100)

    def test_program_with_its_own_handler(self):
        message = f"tiermalloc: recording into {self.path('file')} is not started: the program handles the signal itself\n"
        self.record("own-handler", options=self.OPTIONS, errors=message.encode())
        self.assertEqual(self.files(), [])


if __name__ == "__main__":
    unittest.main()

"""Real programs, recorded: they print what they print without, and every process leaves a well-formed file."""

import shutil
import unittest

from support import RecordTest

SQL = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO person SELECT i, printf('name %x', i * 2654435761 % 4294967296), i * 37 % 90 FROM n;
CREATE INDEX person_name ON person (name);
SELECT age, count(*), group_concat(id % 7) FROM person GROUP BY age;
SELECT a.name, b.name FROM person a JOIN person b ON b.id = a.id * 31 % 20000 WHERE a.age = 17 ORDER BY 1, 2;
"""

PYTHON = """
import json, re, threading
table = {f"key {i}": [str(i)] * (i % 20) for i in range(20000)}
def work():
    text = json.dumps(table)
    assert json.loads(text) == table
    print(len(re.findall("key [0-9]*7", text)))
work()
threads = [threading.Thread(target=lambda: sorted(table, key=lambda k: k[::-1])) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

SHELL = """
for i in 1 2 3 4 5 6 7 8 9 10; do x=$(echo $i | sed s/1/one/ | tr a-z A-Z); echo "$x"; (exit 3); echo $?; done
seq 1 20000 | sort -R --random-source=/dev/zero | sort -n | tail -n 3
"""

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
struct node { struct node *next; int value; };
int main(void) { struct node *list = NULL; for (int i = 0; i < 100; i++) { struct node *node = malloc(sizeof *node);
  node->next = list; node->value = i; list = node; } int sum = 0; for (; list; list = list->next) sum += list->value;
  printf("%d\\n", sum); return 0; }
"""


class Programs(RecordTest):
    def compare(self, command, variables=None, stdin=b"", least_files=1):
        """Runs the command without and with recording; both print the same. Its files, all of them read."""
        if not shutil.which(command[0]):
            self.skipTest(f"not installed: {command[0]}")
        expected = self.run_command(command, None, variables=variables, stdin=stdin)
        output = self.run_command(command, f"record:{self.folder}/%e.%p.histogram", variables=variables, stdin=stdin)
        self.assertEqual(output, expected)
        histograms = [self.read(name) for name in self.files() if name.endswith(".histogram")]
        self.assertGreaterEqual(len(histograms), least_files)
        for histogram in histograms:
            self.assertGreater(histogram.totals["allocated_bytes"], 0)
        self.assertEqual([name for name in self.files() if ".writing." in name], [])
        return histograms

    def test_sqlite(self):
        self.compare(["sqlite3", ":memory:"], stdin=SQL.encode())

    def test_python(self):
        (histogram,) = self.compare(["python3", "-c", PYTHON], variables={"PYTHONMALLOC": "malloc"})
        self.assertEqual(histogram.totals["threads"], 6)
        self.assertGreater(sum(row.allocations for row in histogram.rows.values()), 100000)

    def test_shell(self):
        self.compare(["bash", "-c", SHELL], least_files=20)

    def test_compiler(self):
        self.compare(["gcc", "-O2", "-S", "-x", "c", "-o", "-", "-"], stdin=SOURCE.encode(), least_files=2)


if __name__ == "__main__":
    unittest.main()

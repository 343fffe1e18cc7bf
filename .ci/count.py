"""Adds up the results of several test runs of Meson, and prints what failed and one line `N passed, N failed, N skipped`.

Counts what each test program reports of its own tests where that can be told (TAP, Python's unittest), else the program as one
test. Relies on the log that `meson test` leaves in a build folder: one JSON object per test program in meson-logs/testlog*.json.
"""

import argparse
import collections
import glob
import json
import os
import re
import sys

TAP_PLAN = re.compile(r'^1\.\.\d+', re.MULTILINE)
TAP_TEST = re.compile(r'^(not )?ok\b[^#\n]*(#\s*skip)?', re.MULTILINE | re.IGNORECASE)
UNITTEST_RAN = re.compile(r'^Ran (\d+) tests? in', re.MULTILINE)
UNITTEST_SUMMARY = re.compile(r'^(?:OK|FAILED) \((.*)\)$', re.MULTILINE)
# What happens to a class or module as a whole is in unittest's summary, but no test of it is among those that ran.
UNITTEST_WHOLE_SKIPPED = re.compile(r"^setUp(?:Class|Module) \(.*skipped", re.MULTILINE)
UNITTEST_WHOLE_FAILED = re.compile(r'^(?:ERROR|FAIL): (?:setUp|tearDown)(?:Class|Module) \(', re.MULTILINE)

# What names a failure in the output of cmocka and of unittest, or says with which seed it can be had again.
FAILURE = re.compile(r'^(?:not ok\b|ERROR:|FAIL:|# (?!not tested).*(?:failed|error:|seed))', re.IGNORECASE)
# Lines of one program that are shown: so many that name its failures, and so many of its last ones on standard error.
NAMED_LINES = 20
LAST_LINES = 10
LINE_LENGTH = 200

# Meson's words for a test program as a whole.
PASSED = {'OK', 'EXPECTEDFAIL'}
SKIPPED = {'SKIP'}


def count_tap(output):
    counts = collections.Counter()
    for failed, skipped in TAP_TEST.findall(output):
        counts['skipped' if skipped else 'failed' if failed else 'passed'] += 1
    return counts


def count_unittest(output):
    numbers = collections.Counter()
    for summary in UNITTEST_SUMMARY.findall(output):
        for word, number in re.findall(r'([a-z ]+)=(\d+)', summary):
            numbers[word.strip()] += int(number)
    failed = numbers['failures'] + numbers['errors'] + numbers['unexpected successes']
    ran = sum(map(int, UNITTEST_RAN.findall(output)))
    whole_skipped = len(UNITTEST_WHOLE_SKIPPED.findall(output))
    whole_failed = len(UNITTEST_WHOLE_FAILED.findall(output))
    passed = ran - (failed - whole_failed) - (numbers['skipped'] - whole_skipped)
    # One test with several failing subtests counts each of them as failed.
    return collections.Counter(passed=max(passed, 0), failed=failed, skipped=numbers['skipped'])


def count_program(record):
    """Counts of one test program from its record in the log."""
    output = record.get('stdout', '')
    errors = record.get('stderr', '')
    if UNITTEST_RAN.search(errors):
        counts = count_unittest(errors)
    elif TAP_PLAN.search(output):
        counts = count_tap(output)
    else:
        counts = collections.Counter()
    result = record['result']
    failed = result not in PASSED | SKIPPED
    if not counts.total():
        counts['failed' if failed else 'skipped' if result in SKIPPED else 'passed'] += 1
    elif failed and not counts['failed']:
        # It crashed, or ran into its limit, after what it had reported.
        counts['failed'] += 1
    return counts


def show_failure(folder, record):
    """What is wanted first of a test program that failed: the rest may be far above, or not be kept at all."""
    output = record.get('stdout', '').splitlines()
    errors = [line for line in record.get('stderr', '').splitlines() if line.strip()]
    named = [line for line in output + errors if FAILURE.match(line)]
    print(f'{folder}: {record["name"]}: {record["result"]}')
    for line in [*named[-NAMED_LINES:], *errors[-LAST_LINES:]]:
        print(f'    {line[:LINE_LENGTH]}')


def count_folder(folder):
    """Counts of all runs that left a log in the build folder; shows those programs that failed."""
    counts = collections.Counter()
    for path in sorted(glob.glob(os.path.join(folder, 'meson-logs', 'testlog*.json'))):
        with open(path, encoding='utf-8') as log:
            for line in log:
                record = json.loads(line)
                counted = count_program(record)
                counts += counted
                if counted['failed']:
                    show_failure(folder, record)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folders', nargs='+', required=True, help='build folders whose runs are counted')
    parser.add_argument('--broken', nargs='*', default=[], help='names of steps that failed')
    arguments = parser.parse_args()

    total = collections.Counter()
    for folder in arguments.folders:
        counts = count_folder(folder)
        total += counts
        print(f'{folder}: passed {counts["passed"]}, failed {counts["failed"]}, skipped {counts["skipped"]}')
        if not counts.total():
            # Every build has tests: none at all means that it did not come so far.
            total['failed'] += 1
    if arguments.broken:
        print('steps that failed:', *arguments.broken)
        total['failed'] = max(total['failed'], 1)
    print(f'{total["passed"]} passed, {total["failed"]} failed, {total["skipped"]} skipped')
    sys.exit(1 if total['failed'] else 0)


if __name__ == '__main__':
    main()

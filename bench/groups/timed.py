"""Rows of which one run is one process of the driver `micro` or `threads`: time per operation and peak memory.

Relies on the drivers' command line `ROW MILLISECONDS` and their line `ns NUMBER`.
"""

import functools

from harness.rows import Metric, Row

MIB = 1024 * 1024

METRICS = (Metric("ns", "ns", "time"), Metric("peak_rss", "MiB", "memory"))


def measure(driver, name, session, allocator):
    run = session.run(allocator, [session.drivers / driver, name, session.milliseconds])
    return {"ns": run.values["ns"], "peak_rss": run.values["peak_rss_bytes"] / MIB}


def threads_of(name):
    """The number of threads, which is behind the name's @."""
    return int(name.partition("@")[2] or 1)


def timed_rows(driver, names, quick_names):
    """Rows of the group that is called like its driver."""
    return [Row(driver, name, METRICS, functools.partial(measure, driver, name), quick=name in quick_names,
                threads=threads_of(name)) for name in names]

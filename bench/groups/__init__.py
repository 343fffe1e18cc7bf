"""The benchmark groups. Relies on each module's function `rows()`; see harness/rows.py."""

import importlib

from harness.rows import GROUPS


def collect_rows():
    """The rows of all groups, in the order in which they are measured and shown."""
    return [row for group in GROUPS for row in importlib.import_module(f"groups.{group}").rows()]

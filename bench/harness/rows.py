"""What a benchmark group hands to the harness: rows, and the metrics that each of them measures. Relies on nothing.

Each module of bench/groups has a function `rows()` that returns its rows in the order in which they are shown.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable

if typing.TYPE_CHECKING:
    from harness.allocators import Allocator
    from harness.launch import Session

GROUPS = ("micro", "threads", "memory", "programs", "tail")


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number that a run yields. Less is better in every metric that is judged."""

    key: str
    unit: str  # as it is shown: "ns", "s", "MiB"
    kind: str  # "time" or "memory" says which goals apply; "info" is shown and not judged
    main: bool = True  # counts in the geometric mean of its kind; at most one time metric of a row does
    goal: float | Callable[[float], float] | None = None  # the most it may be, in place of the goals of its kind;
    # a function gets glibc's value


@dataclasses.dataclass(frozen=True)
class Row:
    """Something to measure: `measure` makes one run under one allocator and returns its numbers by the metrics' keys,
    and besides them maybe "series", a list of [seconds, MiB resident], or "histogram", a list of [ns, count]."""

    group: str
    name: str  # with @N behind it for N threads
    metrics: tuple[Metric, ...]
    measure: Callable[[Session, Allocator], dict[str, object]]
    quick: bool = True  # part of --quick
    threads: int = 1

"""The results file: what it holds, writing it, reading it.

    ours, peers    names: whose values are judged, and against whom
    allocators     {name: library, package, sha256, whether it is linked into the drivers}
    machine, repository, run
    rows           group, name, threads, metrics, samples {allocator: [{metric: value} or null for each repetition]},
                   series and histogram {allocator: the last run's}, skipped and failed {allocator: reason}
"""

import dataclasses
import json
import os
import pathlib

from harness import summary
from harness.allocators import BASELINE

FILE_NAME = "results.json"
FORMAT = 1


class ResultsError(Exception):
    """A file that is no results file."""


def metric_entry(metric, metrics, samples):
    """A metric as it is written. A goal that is a function of glibc's value is written as its present value."""
    entry = dataclasses.asdict(metric) | {"alone": sum(other.kind == metric.kind for other in metrics) == 1}
    if callable(metric.goal):
        baseline = summary.median_of({"samples": samples}, BASELINE, metric.key)
        entry["goal"] = metric.goal(baseline) if baseline is not None else None
    return entry


def row_entry(measured):
    row = measured.row
    return {"group": row.group, "name": row.name, "threads": row.threads,
            "metrics": [metric_entry(metric, row.metrics, measured.samples) for metric in row.metrics],
            "samples": measured.samples, "series": measured.extras.get("series", {}),
            "histogram": measured.extras.get("histogram", {}), "skipped": measured.skipped, "failed": measured.failed}


def write(folder, results):
    """Writes the file whole or not at all: a run may be interrupted at any time."""
    path = pathlib.Path(folder) / FILE_NAME
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read(path):
    """Reads a results file, or that of a results folder."""
    path = pathlib.Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: {error}") from error
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise ResultsError(f"{path}: not a results file of format {FORMAT}")
    return results

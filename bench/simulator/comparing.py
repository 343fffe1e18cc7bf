"""Two runs of the same traces, of two policies or two versions, as ratios."""

import json

from harness import table
from simulator import figures
from simulator.runs import SimulatorError

# Name, and the value of a result; less is better, but for intact bytes.
VALUES = (
    ("mean resident", lambda result: result["average"]["resident"]),
    ("end resident", lambda result: result["end"]["resident"]),
    ("worst excess", lambda result: result["worst_excess"]),
    ("mean occupied", lambda result: result["average"]["occupied"]),
    ("mean intact", lambda result: result["average"]["intact"]),
    ("faulted again", lambda result: result["faulted_again"]),
    ("system", lambda result: result["system_ns"]),
    ("allocate", lambda result: result["own_ns"]["allocate"]["mean"]),
    ("free", lambda result: result["own_ns"]["free"]["mean"]),
)


def read(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SimulatorError(f"{path}: {error}") from error
    if not isinstance(found, dict) or found.get("format") != 1 or "results" not in found:
        raise SimulatorError(f"{path}: not what `run --json` writes")
    return {(figures.short_name(result["trace"]), result["heap"]): result for result in found["results"]}


def ratio(before, after):
    if before == after:
        return "1.000"
    return f"{after / before:.3f}" if before else "new"


def text(before, after, markdown):
    first, second = read(before), read(after)
    both = [key for key in first if key in second]
    if not both:
        raise SimulatorError(f"{before} and {after} have no trace in common")
    head = ["trace", "heap", *(name for name, _ in VALUES)]
    lines = [[*key, *(ratio(value(first[key]), value(second[key])) for _, value in VALUES)] for key in both]
    print_lines = table.markdown_lines if markdown else table.text_lines
    return "\n".join([f"after to before; {len(both)} runs are in both", "", *print_lines(head, lines)])

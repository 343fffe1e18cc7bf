"""From a recorded histogram to a size-class profile: the exact optimum of the cost in cost.py within the limits of
candidates.py, found by class_plan.py; spans, batches and capacities from span_choice.py.

Relies on a base profile that profile_rules.py has accepted. docs/optimiser.md says what is optimal in which sense.
"""

import bisect
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import candidates
import class_plan
import cost
import derivation
import limits
import profile_rules
import span_choice
import waste
from profile_reader import Entry, Profile

SUGGESTION_PATH = "suggestion"

# How often sizes may be added for aligned requests, and how many at a time.
MOST_ROUNDS = 4
MOST_STRAYS = 8


class SettingsError(Exception):
    """Settings that no profile can meet; the text is one line to print."""


@dataclass(frozen=True)
class Settings:
    objective: str = "balanced"
    max_classes: int = 128
    max_step: float | str | Fraction = 1.25
    alignment: int | None = None  # of requests above 8 bytes; None: the base profile's

    @property
    def step(self):
        """max_step exactly as it is written: 1.1 is eleven tenths."""
        return Fraction(str(self.max_step))


@dataclass(frozen=True)
class Plan:
    """Classes of least stated cost among all profiles that have the `required` sizes; the tables have derived spans."""

    tables: derivation.Tables
    required: tuple
    cost: int


@dataclass(frozen=True)
class SuggestedClass:
    """One class: its numbers, which of them the derivation would choose otherwise, and why it is there.

    `lowest` is the smallest request that takes it. `waste_before` and `waste_after` are the bytes that the requests which
    take it now lose by rounding at the peak, under the base profile and under the suggestion.
    """

    size: int
    pages: int
    batch: int
    capacity: int
    lowest: int
    use: span_choice.Use
    chosen: tuple
    waste_before: int
    waste_after: int


@dataclass(frozen=True)
class Suggestion:
    """`required` are the sizes that had to be classes. `before` and `after` are the predicted Waste at the peak; `cost` is
    the stated cost, in 1/cost.COST_UNIT bytes."""

    settings: Settings
    profile: Profile
    tables: derivation.Tables
    classes: tuple
    required: tuple
    total_allocations: int
    total_peak_bytes: int
    before: waste.Waste
    after: waste.Waste
    cost: int


def suggest(histogram, base_profile, settings):
    """The best profile for what was recorded; raises SettingsError."""
    check_settings(settings)
    base = derivation.derive_tables(base_profile)
    config = replace(base.config, alignment=settings.alignment or base.config.alignment)
    plan = best_plan(histogram, config, base.largest_size, settings)
    uses = collect_uses(histogram.rows, plan.tables)
    total = sum(row.allocations for row in histogram.rows)
    processes = max(histogram.totals["processes"], 1)
    entries = tuple(make_entry(number, entry.size, use, total, processes, settings.objective, config)
                    for number, (entry, use) in enumerate(zip(plan.tables.classes, uses)))
    profile = Profile(SUGGESTION_PATH, config, entries)
    profile_rules.check_profile(profile)
    tables = derivation.derive_tables(profile)
    return Suggestion(
        settings=settings,
        profile=profile,
        tables=tables,
        classes=suggested_classes(histogram.rows, base, tables, uses),
        required=plan.required,
        total_allocations=total,
        total_peak_bytes=sum(row.size * row.peak_live for row in histogram.rows),
        before=waste.predicted_waste(base, histogram.rows),
        after=waste.predicted_waste(tables, histogram.rows),
        cost=plan.cost,
    )


def best_plan(histogram, config, largest_size, settings):
    """The optimum; raises SettingsError if no profile keeps the limits.

    The stated cost takes an aligned request for one of its size rounded up to the alignment. If its class turns out not to
    be a multiple of that, the request goes to a later one. Then the sizes that it would need are required as well, and the
    optimum with those is tried: of all tried the one with the least predicted waste is taken.
    """
    required = candidates.required_powers(largest_size, settings.max_classes)
    plans = []
    for _ in range(MOST_ROUNDS):
        choice = candidates.make_candidates(config, largest_size, settings.step, required)
        least = candidates.least_class_count(choice)
        if least > settings.max_classes:
            break
        plans.append(solve(histogram, choice, config, required, settings))
        strays = stray_sizes(histogram.rows, plans[-1].tables, choice.sizes)
        if not strays:
            break
        required = sorted({*required, *strays})
    if not plans:
        raise SettingsError(infeasible_line(least, largest_size, settings))
    return min(plans, key=lambda plan: waste.predicted_waste(plan.tables, histogram.rows).total)


def solve(histogram, choice, config, required, settings):
    """The plan of least stated cost over the candidates."""
    holders = cost.count_holders(histogram.totals)
    prices = [0] + [cost.class_price(size, holders, settings.objective) for size in choice.sizes[1:]]
    requests = cost.requests_of(histogram.rows, settings.objective, config, choice.sizes[-1])
    requests += cost.background_requests(choice.sizes)
    problem = class_plan.make_problem(choice, requests, prices, cost.BYTE_UNIT)
    chain = class_plan.best_chain(problem, settings.max_classes)
    entries = tuple(Entry(f"class[{number}]", choice.sizes[index]) for number, index in enumerate(chain))
    tables = derivation.derive_tables(Profile(SUGGESTION_PATH, config, entries))
    return Plan(tables, tuple(required), class_plan.chain_cost(problem, chain))


def stray_sizes(rows, tables, sizes):
    """The sizes that the aligned requests need which lose most by getting a class that is not the first large enough."""
    lost = {}
    for row in rows:
        if row.alignment <= limits.SIZE_STEP or row.alignment > tables.config.page_size:
            continue
        needed = next((size for size in sizes[bisect.bisect_left(sizes, row.size):] if size % row.alignment == 0), None)
        excess = needed and row.peak_live * (waste.given_bytes(tables, row.size, row.alignment)
                                             - waste.given_bytes(tables, needed))
        if excess:
            lost[needed] = lost.get(needed, 0) + excess
    return sorted(lost, key=lambda size: (-lost[size], size))[:MOST_STRAYS]


def check_settings(settings):
    if settings.objective not in cost.OBJECTIVES:
        raise SettingsError(f"objective: {settings.objective}: must be {', '.join(cost.OBJECTIVES)}")
    if type(settings.max_classes) is not int or not 1 <= settings.max_classes <= limits.MAX_CLASSES:
        raise SettingsError(f"max_classes: {settings.max_classes}: must be 1 to {limits.MAX_CLASSES}")
    if settings.alignment not in (None, 8, 16):
        raise SettingsError(f"alignment: {settings.alignment}: must be 8 or 16")
    try:
        step = settings.step
    except (ValueError, ZeroDivisionError):
        step = 0
    if not 1 < step <= limits.MAX_STEP:
        raise SettingsError(f"max_step: {settings.max_step}: must be a number above 1, at most {limits.MAX_STEP}")


def infeasible_line(least, largest_size, settings):
    line = (f"no profile of {settings.max_classes} classes up to {largest_size} bytes keeps steps within "
            f"{settings.max_step}; that takes {least}")
    if settings.max_classes >= candidates.CLASSES_FOR_ALIGNED:
        line += f", with the powers of two that profiles of {candidates.CLASSES_FOR_ALIGNED} classes or more have"
    return line


def class_numbers(rows, tables):
    return [waste.class_number(tables, row.size, row.alignment) for row in rows]


def collect_uses(rows, tables):
    """A Use for each class, from the requests that take it."""
    uses = [[0] * len(fields(span_choice.Use)) for _ in range(tables.class_count)]
    for row, number in zip(rows, class_numbers(rows, tables)):
        numbers = (row.allocations, row.peak_live, row.most_live, row.size * row.peak_live, row.remote_frees,
                   sum(row.lifetimes))
        uses[number] = list(map(int.__add__, uses[number], numbers))
    return [span_choice.Use(*numbers) for numbers in uses[1:]]


def make_entry(number, size, use, total_allocations, processes, objective, config):
    """Only what differs from the derivation is written into the profile."""
    pages = span_choice.choose_pages(size, use, total_allocations, processes, config)
    capacity = span_choice.choose_capacity(size, use, objective, config)
    batch = span_choice.choose_batch(size, use, capacity)
    key = f"class[{number}]"
    derived_batch = min(derivation.derive_batch(size), capacity)
    return Entry(key, size, size_key=f"{key}.size",
                 pages=pages if pages != derivation.derive_pages(size, config) else None,
                 batch_size=batch if batch != derived_batch else None,
                 capacity=capacity if capacity != derivation.derive_capacity(size, config) else None)


def suggested_classes(rows, base, tables, uses):
    before = [0] * tables.class_count
    after = [0] * tables.class_count
    for row, number in zip(rows, class_numbers(rows, tables)):
        before[number] += row.peak_live * (waste.given_bytes(base, row.size, row.alignment) - row.size)
        after[number] += row.peak_live * (waste.given_bytes(tables, row.size, row.alignment) - row.size)
    return tuple(SuggestedClass(entry.size, entry.pages, entry.batch, entry.capacity, entry.lowest, use,
                                chosen_keys(entry, tables.config), before[number], after[number])
                 for number, (entry, use) in enumerate(zip(tables.classes, uses), 1))


def chosen_keys(entry, config):
    """The names of what was chosen against the derivation."""
    derived = (("pages", entry.pages, derivation.derive_pages(entry.size, config)),
               ("batch_size", entry.batch, min(derivation.derive_batch(entry.size), entry.capacity)),
               ("capacity", entry.capacity, derivation.derive_capacity(entry.size, config)))
    return tuple(name for name, value, expected in derived if value != expected)

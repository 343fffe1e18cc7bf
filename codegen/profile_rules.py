"""What has to hold between the values of a profile: order, step, alignment, spans, batches.

Relies on profile_reader.py having checked each value by itself.
"""

import derivation
import limits
from profile_reader import Problems


def check_profile(profile):
    """Raises ProfileError with every rule that the profile breaks."""
    problems = Problems(profile.path)
    check_config(problems, profile.config)
    check_order(problems, profile.entries)
    # The rules below speak about neighbours and spans, and would only repeat what is already said.
    problems.raise_if_any()
    check_alignment(problems, profile)
    check_steps(problems, profile)
    for entry in profile.entries:
        check_span(problems, profile.config, entry)
        check_batch(problems, profile.config, entry)
    problems.raise_if_any()


def check_config(problems, config):
    if config.min_per_thread_cache > config.thread_cache_size:
        allowed = f"must be at most thread_cache_size ({config.thread_cache_size})"
        problems.add("config.min_per_thread_cache", config.min_per_thread_cache, allowed)


def check_order(problems, entries):
    for before, entry in zip(entries, entries[1:]):
        if entry.size <= before.size:
            problems.add(entry.size_key, entry.size, f"must be greater than the size before it ({before.size})")


def check_alignment(problems, profile):
    """Requests of 16 bytes and more need a class whose size keeps its objects aligned."""
    alignment = profile.config.alignment
    if not any(entry.size % alignment == 0 for entry in profile.entries):
        last = profile.entries[-1]
        problems.add(last.size_key, last.size, f"at least one size must be a multiple of alignment ({alignment})")


def check_steps(problems, profile):
    """Compares each class with the one that serves the requests just below, which has to be aligned as well."""
    before = limits.FREE_STEP_SIZE
    for entry in profile.entries:
        if entry.size % profile.config.alignment:
            continue
        most = limits.MAX_STEP * before
        if entry.size > most:
            allowed = f"must be at most {most}, {limits.MAX_STEP} times the class that serves smaller requests ({before})"
            problems.add(entry.size_key, entry.size, allowed)
        before = max(before, entry.size)


def check_span(problems, config, entry):
    room = config.max_pages * config.page_size
    if entry.size > room:
        allowed = f"must be at most {room}, max_pages ({config.max_pages}) pages of {config.page_size}"
        problems.add(entry.size_key, entry.size, allowed)
        return
    derived = derivation.derive_pages(entry.size, config)
    if entry.pages is not None:
        allowed = pages_problem(config, entry, derived)
        if allowed:
            problems.add(f"{entry.key}.pages", entry.pages, allowed)
    elif derived is None:
        allowed = f"no span of 1 to {config.max_span_pages} pages of {config.page_size} leaves at most 12.5 % unused"
        problems.add(entry.size_key, entry.size, allowed)


def pages_problem(config, entry, derived):
    """What is allowed for a number of pages that the profile gives, if it is not; else None."""
    span_bytes = entry.pages * config.page_size
    if span_bytes < entry.size:
        return f"must be at least {derivation.pages_for(entry.size, config)}, to hold one object of {entry.size}"
    if entry.pages > config.max_span_pages:
        return f"must be at most {config.max_span_pages} (max_pages, and {limits.MAX_SPAN_BYTES} bytes)"
    if span_bytes // entry.size > limits.MAX_OBJECTS:
        return f"makes {span_bytes // entry.size} objects; must make at most {limits.MAX_OBJECTS}"
    if not limits.tail_is_allowed(entry.size, span_bytes):
        waste = 100 * limits.tail_waste(entry.size, span_bytes) / span_bytes
        advice = f", as {derived} would" if derived else ""
        return f"leaves {waste:.2f} % of the span unused; must leave at most 12.5 %{advice}"
    return None


def check_batch(problems, config, entry):
    if entry.capacity is None:
        return
    if entry.capacity > config.max_free_list_length:
        allowed = f"must be at most max_free_list_length ({config.max_free_list_length})"
        problems.add(f"{entry.key}.capacity", entry.capacity, allowed)
        return
    capacity = derivation.stack_capacity(entry.capacity)
    if entry.batch_size is not None and entry.batch_size > capacity:
        problems.add(f"{entry.key}.batch_size", entry.batch_size, f"must be 1 to {capacity}, what its stack can hold")

"""Writes a suggestion as a profile (TOML) that says why each class is there.

The text depends on the suggestion alone: no dates, no paths, the same bytes each time.
"""

from dataclasses import fields

import limits

REASONS = {
    "pages": "the span that wastes least for so many objects",
    "batch_size": "many are freed by another thread",
    "capacity": "few of them lived at once",
}


def percent(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else "-"


def profile_text(suggestion):
    """The whole file."""
    parts = [head_lines(suggestion), config_lines(suggestion.profile.config)]
    parts += [class_lines(suggestion, entry, suggested)
              for entry, suggested in zip(suggestion.profile.entries, suggestion.classes)]
    return "\n".join("\n".join(lines) + "\n" for lines in parts)


def head_lines(suggestion):
    settings = suggestion.settings
    before, after = suggestion.before, suggestion.after
    requested = before.requested
    return [
        "# Size classes for one program, made by `tiermalloc classes` from its allocation histogram. The format is described",
        "# in docs/profiles.md, what is optimal about it in docs/optimiser.md.",
        "#",
        f"# Objective {settings.objective}, at most {settings.max_classes} classes, "
        f"steps of at most {settings.max_step}.",
        f"# Recorded: {suggestion.total_allocations} allocations, {suggestion.total_peak_bytes} bytes requested at the peak.",
        "# Predicted for the peak, against the profile that it started from:",
        f"#   lost by rounding up to a class      {before.small_rounding} -> {after.small_rounding} bytes, "
        f"{percent(before.small_rounding, requested)} -> {percent(after.small_rounding, requested)} of what was requested",
        f"#   lost behind last objects of spans   {before.tails} -> {after.tails} bytes, "
        f"{percent(before.tails, requested)} -> {percent(after.tails, requested)}",
        "#",
        "# Behind each class: the requests that take it, their share of all allocations and of the bytes at the peak, and",
        "# what they lose by rounding, in percent of what they requested, before and after.",
    ]


def config_lines(config):
    return ["[config]"] + [f"{field.name} = {getattr(config, field.name)}" for field in fields(config)]


def class_lines(suggestion, entry, suggested):
    lines = ["[[class]]", f"size = {entry.size}".ljust(16) + f" # {reason(suggestion, suggested)}"]
    for name, why in REASONS.items():
        value = getattr(entry, name)
        if value is not None:
            lines.append(f"{name} = {value}".ljust(16) + f" # {why}")
    return lines


def reason(suggestion, suggested):
    # A request is counted by the 8 bytes it is rounded up to.
    lowest = -(-suggested.lowest // limits.SIZE_STEP) * limits.SIZE_STEP
    requests = f"{suggested.size}" if lowest == suggested.size else f"{lowest} to {suggested.size}"
    use = suggested.use
    if not use.allocations:
        return f"{requests}: not recorded; keeps the steps small"
    text = (f"{requests}: {percent(use.allocations, suggestion.total_allocations)} of allocations, "
            f"{percent(use.peak_requested, suggestion.total_peak_bytes)} of bytes")
    if use.peak_requested:
        text += (f"; waste {percent(suggested.waste_before, use.peak_requested)} -> "
                 f"{percent(suggested.waste_after, use.peak_requested)}")
    return text

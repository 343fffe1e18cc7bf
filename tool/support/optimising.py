"""The optimiser's part of the command line, which `classes` and `pgo` share, and what it predicts."""

import argparse

import cost
import optimiser
from support import figures, places, profiles

DEFAULTS = optimiser.Settings()


def step(text):
    """A ratio, kept as it is written: the optimiser takes 1.1 for eleven tenths exactly."""
    try:
        float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: must be a number such as {DEFAULTS.max_step}") from None
    return text


def add_options(parser):
    parser.add_argument("--objective", choices=cost.OBJECTIVES, default=DEFAULTS.objective,
                        help=f"what counts (default {DEFAULTS.objective}; docs/optimiser.md says how each weighs)")
    parser.add_argument("--max-classes", metavar="N", type=int, default=DEFAULTS.max_classes,
                        help=f"at most so many classes (default {DEFAULTS.max_classes})")
    parser.add_argument("--max-step", metavar="R", type=step, default=str(DEFAULTS.max_step),
                        help=f"no class is more than R times the one below it (default {DEFAULTS.max_step})")
    parser.add_argument("--alignment", type=int, choices=(8, 16),
                        help="of requests above 8 bytes; 8 saves what 16 costs objects of 24, 40, 56 bytes, in programs that can do "
                             "with it (docs/pgo.md); the base profile's if it is left out")
    parser.add_argument("--base", metavar="PROFILE", default=str(places.DEFAULT_PROFILE),
                        help="the profile to start from: its [config] is kept, its largest class is covered, and the gain is "
                             "told against it; the default profile if it is left out")


def suggest(options, histogram):
    """The optimiser's suggestion for a histogram, as the options want it."""
    settings = optimiser.Settings(options.objective, options.max_classes, options.max_step, options.alignment)
    return optimiser.suggest(histogram, profiles.load(options.base).profile, settings)


def gain_lines(options, suggestion):
    """The predicted gain as a table."""
    before, after = suggestion.before, suggestion.after
    rows = [["classes", str(len(profiles.load(options.base).tables.classes)), str(len(suggestion.classes)), ""]]
    for name, value in (("lost by rounding up to a class", lambda one: one.small_rounding),
                        ("lost at the ends of spans", lambda one: one.tails),
                        ("lost by rounding up to pages", lambda one: one.large_rounding),
                        ("lost in all", lambda one: one.total)):
        rows.append([name, str(value(before)), str(value(after)), figures.change_text(value(before), value(after))])
        rows.append(["  of what was requested", figures.percent_text(value(before), before.requested),
                     figures.percent_text(value(after), after.requested), ""])
    return figures.table_lines(["predicted, bytes at the peak", "before", "after", "change"], rows, left=(0,))

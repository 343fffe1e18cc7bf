"""`tiermalloc compare`: two histograms, or two profiles on one histogram."""

import histogram
from support import comparing, parsers, places, profiles


def add_parser(subparsers):
    parser = parsers.add_command(
        subparsers, "compare", execute,
        summary="compare two histograms, or two profiles on one histogram",
        description="Without --histogram, BEFORE and AFTER are histograms of the same program: what changed in its\n"
                    "allocations, its peak and its waste, measured and predicted, by ranges of sizes. If they were recorded\n"
                    "on libraries with different profiles, name these with --profile and --against, so that each side is\n"
                    "predicted under its own. With --histogram, BEFORE and AFTER are profiles: what each would waste on\n"
                    "what was recorded.",
        examples=("before.histogram after.histogram --against app.toml",
                  "classes/default.toml app.toml --histogram app.histogram"))
    parser.add_argument("before", metavar="BEFORE", help="a histogram; with --histogram a profile")
    parser.add_argument("after", metavar="AFTER", help="the same")
    parser.add_argument("--histogram", metavar="FILE", help="compare two profiles on this histogram")
    parser.add_argument("--profile", metavar="PROFILE",
                        help="the profile that BEFORE was recorded under; the default profile if it is left out")
    parser.add_argument("--against", metavar="PROFILE",
                        help="the profile that AFTER was recorded under; the same as for BEFORE if it is left out")


def execute(options):
    if options.histogram is not None and (options.profile or options.against):
        options.parser.error("--profile and --against are for histograms; with --histogram, BEFORE and AFTER are profiles")
    before, after = sides_of(options)
    measured = options.histogram is None
    print(f"before: {options.before}\nafter:  {options.after}\n")
    print("\n".join(comparing.total_lines(before, after, measured)))
    print()
    print("\n".join(comparing.range_lines(before, after, measured)))
    return 0


def sides_of(options):
    if options.histogram is not None:
        recorded = histogram.read_histogram(options.histogram)
        return [comparing.Side(recorded, profiles.load(path)) for path in (options.before, options.after)]
    own = options.profile or str(places.DEFAULT_PROFILE)
    return [comparing.Side(histogram.read_histogram(path), profiles.load(profile))
            for path, profile in ((options.before, own), (options.after, options.against or own))]

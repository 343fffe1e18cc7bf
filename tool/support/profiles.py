"""Reading a profile as the build does."""

from dataclasses import dataclass

import derivation
import profile_rules
from profile_reader import Profile, read_profile


@dataclass(frozen=True)
class Layout:
    """A profile that the build would accept, and what the build makes of it; `name` is how the user calls it."""

    name: str
    profile: Profile
    tables: derivation.Tables


def load(path):
    """Raises ProfileError with all that is wrong."""
    profile = read_profile(str(path))
    profile_rules.check_profile(profile)
    return Layout(str(path), profile, derivation.derive_tables(profile))

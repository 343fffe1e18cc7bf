"""Reads a size-class profile (TOML) and checks its shape: keys, types, and the range of each value by itself.

What has to hold between values is checked in profile_rules.py. Every problem is one line that names the file, the key
with its index, the value, and what is allowed; all problems of a stage are reported together.
"""

import json
import re
import tomllib
from dataclasses import dataclass

import limits


class ProfileError(Exception):
    """A profile that is refused; `problems` are the lines to print."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """Collects the problems of one profile, so that a person sees all of them at once."""

    def __init__(self, path):
        self.path = path
        self.lines = []

    def add(self, key, value, allowed):
        self.lines.append(f"{self.path}: {key}: {shown(value)}: {allowed}")

    def add_missing(self, key, allowed):
        self.lines.append(f"{self.path}: {key}: missing: {allowed}")

    def raise_if_any(self):
        if self.lines:
            raise ProfileError(self.lines)


@dataclass(frozen=True)
class Config:
    """The [config] table with its defaults filled in."""

    page_size: int
    thread_cache_size: int
    min_per_thread_cache: int
    steal_amount: int
    max_free_list_length: int
    max_overages: int
    max_transfer_slots: int
    max_pages: int
    alignment: int

    @property
    def max_span_pages(self):
        """Pages of the longest span: max_pages, but never more than the page heap shares out."""
        return min(self.max_pages, limits.MAX_SPAN_BYTES // self.page_size)


@dataclass(frozen=True)
class Entry:
    """One class as the profile gives it; None stands for what is to be derived."""

    key: str
    size: int
    pages: int | None = None
    batch_size: int | None = None
    capacity: int | None = None
    size_key: str = ""


@dataclass(frozen=True)
class Profile:
    path: str
    config: Config
    entries: tuple


@dataclass(frozen=True)
class Key:
    """An integer key: its default (None: no default), and the least and greatest value allowed."""

    default: int | None
    least: int
    greatest: int

    def problem(self, value):
        """What is allowed, if `value` is not; else None."""
        if type(value) is not int:
            return f"must be an integer, {self.least} to {self.greatest}"
        if not self.least <= value <= self.greatest:
            return f"must be {self.least} to {self.greatest}"
        return None


TEBIBYTE = 1 << 40
COUNT_LIMIT = (1 << 32) - 1

CONFIG_KEYS = {
    "page_size": Key(8192, 4096, 65536),
    "thread_cache_size": Key(32 * limits.MIB, 1, TEBIBYTE),
    "min_per_thread_cache": Key(512 * limits.KIB, 1, TEBIBYTE),
    "steal_amount": Key(64 * limits.KIB, 1, TEBIBYTE),
    "max_free_list_length": Key(8192, 1, COUNT_LIMIT),
    "max_overages": Key(3, 1, COUNT_LIMIT),
    "max_transfer_slots": Key(64, 1, 4096),
    "max_pages": Key(128, 1, 65535),
    "alignment": Key(16, 8, 16),
}

CLASS_KEYS = {
    "size": Key(None, limits.SIZE_STEP, limits.MAX_CLASS_SIZE),
    "pages": Key(None, 1, 65535),
    "batch_size": Key(None, 1, limits.MAX_BATCH),
    "capacity": Key(None, 1, limits.MAX_CAPACITY),
}

TOP_KEYS = ("classes", "class", "config")

LONGEST_SHOWN = 60

CLASSES_WANTED = "give either classes = [8, 16, ...] or [[class]] tables, and one of the two only"


def shown(value):
    """A value as a person would find it in the file, short enough for one line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, (str, bool)):
        text = json.dumps(value)
        return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return str(value)


def shown_key(key):
    """A key as it would be written: quoted if it has to be."""
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else shown(key)


def read_profile(path):
    """The profile in the file at `path`; raises ProfileError."""
    document = read_document(path)
    problems = Problems(path)
    report_unknown_keys(problems, "", document, TOP_KEYS)
    config = read_config(problems, document.get("config", {}))
    entries = read_classes(problems, document)
    problems.raise_if_any()
    return Profile(path, Config(**config), tuple(entries))


def read_document(path):
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ProfileError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        # Wrong TOML and wrong UTF-8 are ValueErrors, and so are integers of thousands of digits.
        raise ProfileError([f"{path}: not valid TOML: {error}"]) from error


def report_unknown_keys(problems, prefix, table, allowed):
    for key, value in table.items():
        if key not in allowed:
            problems.add(prefix + shown_key(key), value, f"unknown key; allowed are {', '.join(allowed)}")


def read_config(problems, table):
    values = {name: key.default for name, key in CONFIG_KEYS.items()}
    if not isinstance(table, dict):
        problems.add("config", table, "must be a table, [config]")
        return values
    if "classes" in table:
        # TOML takes everything below a table's header for the table's own.
        problems.add("config.classes", table["classes"], "must stand above the line [config], not below it")
        table = {name: value for name, value in table.items() if name != "classes"}
    report_unknown_keys(problems, "config.", table, tuple(CONFIG_KEYS))
    for name, key in CONFIG_KEYS.items():
        if name in table:
            values[name] = table[name]
            check_config_value(problems, name, key, table[name])
    return values


def check_config_value(problems, name, key, value):
    allowed = key.problem(value)
    if name == "page_size" and (allowed or value & (value - 1)):
        allowed = "must be a power of two, 4096 to 65536"
    if name == "alignment" and (allowed or value not in (8, 16)):
        allowed = "must be 16 or 8"
    if allowed:
        problems.add(f"config.{name}", value, allowed)


def read_classes(problems, document):
    if "classes" in document and "class" in document:
        problems.add("class", document["class"], f"classes is there as well; {CLASSES_WANTED}")
        return []
    if "classes" in document:
        return read_list(problems, "classes", document["classes"], read_short_entry)
    if "class" in document:
        return read_list(problems, "class", document["class"], read_full_entry)
    config = document.get("config")
    # Classes below the line [config] are reported there already.
    if not (isinstance(config, dict) and "classes" in config):
        problems.add_missing("classes", CLASSES_WANTED)
    return []


def read_list(problems, key, items, read_entry):
    if not isinstance(items, list):
        wanted = "[[class]] tables" if key == "class" else "an array of sizes"
        problems.add(key, items, f"must be {wanted}")
        return []
    if not 1 <= len(items) <= limits.MAX_CLASSES:
        problems.add(key, items, f"must have 1 to {limits.MAX_CLASSES} entries")
        return []
    return [read_entry(problems, f"{key}[{index}]", item) for index, item in enumerate(items)]


def read_short_entry(problems, key, size):
    check_size(problems, key, size)
    return Entry(key, size, size_key=key)


def read_full_entry(problems, key, table):
    if not isinstance(table, dict):
        problems.add(key, table, "must be a [[class]] table")
        return None
    report_unknown_keys(problems, f"{key}.", table, tuple(CLASS_KEYS))
    size_key = f"{key}.size"
    if "size" in table:
        check_size(problems, size_key, table["size"])
    else:
        problems.add_missing(size_key, size_rule())
    optional = {name: table[name] for name in CLASS_KEYS if name != "size" and name in table}
    for name, value in optional.items():
        allowed = CLASS_KEYS[name].problem(value)
        if allowed:
            problems.add(f"{key}.{name}", value, allowed)
    return Entry(key, table.get("size"), size_key=size_key, **optional)


def size_rule():
    return f"must be a multiple of {limits.SIZE_STEP}, {limits.SIZE_STEP} to {limits.MAX_CLASS_SIZE} (half a hugepage)"


def check_size(problems, key, size):
    if CLASS_KEYS["size"].problem(size) or size % limits.SIZE_STEP:
        problems.add(key, size, size_rule())

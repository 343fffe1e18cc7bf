"""The bounds that every size-class profile has to keep, in one place.

The checks (profile_rules.py), the derivation (derivation.py) and the printed comments all take them from here; the
C code learns them from the generated header, where static assertions repeat what it relies on.
"""

KIB = 1024
MIB = 1024 * KIB

# Classes are numbered in one byte, and 0 means "no class".
MAX_CLASSES = 255

# All sizes are multiples of this, so that one table entry stands for this many request sizes.
SIZE_STEP = 8

# The page heap serves up to half a hugepage from shared hugepages; a class, and a span of a class, ends there.
MAX_CLASS_SIZE = 1 * MIB
MAX_SPAN_BYTES = 1 * MIB

# At most one part in this many of a span may be left over behind its last object (12.5 %).
TAIL_WASTE_PART = 8

# Above this size a class may be at most MAX_STEP times the class before it: the widest step that a suggestion of
# rtmalloc's can have, which looks at requests of up to 4096 bytes. Beyond WIDE_STEP --check says so.
FREE_STEP_SIZE = 128
MAX_STEP = 32
WIDE_STEP = 2

# Up to this size the lookup is exact to 8 bytes; above it the steps are as coarse as the classes allow.
SMALL_SIZE = 64 * KIB

# Fields of the generated table are 16 bits wide.
MAX_OBJECTS = 65535
MAX_BATCH = 1024
MAX_CAPACITY = 32767

# index = (offset * ceil(2^RECIPROCAL_SHIFT / size)) >> RECIPROCAL_SHIFT for all offsets below 2^OFFSET_BITS.
RECIPROCAL_SHIFT = 44
OFFSET_BITS = 23
# The fraction of such a product, 2^RECIPROCAL_SHIFT for one: of a multiple of the size it is less than 2^OFFSET_BITS, which is how
# much rounding up may add; else a byte's share or more, 2^RECIPROCAL_SHIFT / size.
RECIPROCAL_REST = (1 << RECIPROCAL_SHIFT) - (1 << RECIPROCAL_SHIFT) // MAX_CLASS_SIZE


def tail_waste(size, span_bytes):
    """Bytes behind the last object of a span."""
    return span_bytes % size


def tail_is_allowed(size, span_bytes):
    """Whether the rest behind the last object keeps the bound; a span too small for one object does not."""
    return span_bytes >= size and tail_waste(size, span_bytes) * TAIL_WASTE_PART <= span_bytes

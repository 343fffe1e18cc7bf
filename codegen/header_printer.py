"""The generated C header: constants, tables, the comment table for people, and what the C code assumes.

The text depends on the profile's content and its file's name alone, so the same input gives the same bytes.
"""

import os

import limits
import table_printer

VALUES_PER_LINE = 24


def header_text(profile, tables):
    name = os.path.basename(profile.path).encode("ascii", "backslashreplace").decode("ascii")
    parts = [opening(name, tables), constants(tables), declarations(), definitions(tables), assertions(),
             "#endif\n"]
    return "\n".join(parts)


def comment_safe(text):
    """Text that cannot end a C comment, nor be taken for the start of another."""
    return text.replace("*/", "* /").replace("/*", "/ *")


def opening(name, tables):
    lines = [f"Size classes, generated from {name}; change the profile, not this file.", "",
             "Included wherever size classes are used. One C file defines SIZE_CLASSES_DEFINE before it includes",
             "this one, and so holds the tables.", ""]
    lines += table_printer.check_lines(tables)
    body = "\n".join(" *" + (f" {comment_safe(line)}" if line else "") for line in lines)
    return (f"/*\n{body}\n */\n"
            "#ifndef TIERMALLOC_SIZE_CLASSES_H\n#define TIERMALLOC_SIZE_CLASSES_H\n\n"
            "#include <stddef.h>\n#include <stdint.h>\n")


def constant_list(tables):
    """Each constant: its comment, its name, its value."""
    config = tables.config
    return (
        ("Log2 of PAGE_SIZE.", "PAGE_SHIFT", f"{tables.page_shift}"),
        ("The allocator's page in bytes, whatever the kernel's is.", "PAGE_SIZE", "((size_t)1 << PAGE_SHIFT)"),
        ('Number of classes, with class 0, which means "no class".', "CLASS_COUNT", f"{tables.class_count}"),
        ("Up to this request size small_class gives the class, exact to 8 bytes.", "SMALL_SIZE",
         f"((size_t){tables.small_size})"),
        ("Up to this request size there is a class; greater requests take pages of their own.", "LARGEST_CLASS_SIZE",
         f"((size_t){tables.largest_size})"),
        ("Log2 of the step of medium_class: divides SMALL_SIZE and every class above it that requests take.",
         "MEDIUM_SHIFT", f"{tables.medium_shift}"),
        ("Alignment of requests above 8 bytes.", "REQUEST_ALIGNMENT", f"((size_t){config.alignment})"),
        ("Bytes that all thread caches together may hold.", "THREAD_CACHE_SIZE",
         f"((size_t){config.thread_cache_size})"),
        ("Bytes that one thread's cache may hold in any case.", "MIN_PER_THREAD_CACHE",
         f"((size_t){config.min_per_thread_cache})"),
        ("Bytes of budget that a growing thread cache takes at a time.", "STEAL_AMOUNT",
         f"((size_t){config.steal_amount})"),
        ("Objects of one class that a thread's cache may hold at most.", "MAX_FREE_LIST_LENGTH",
         f"{config.max_free_list_length}u"),
        ("Overflows in a row after which a thread's stack of a class shrinks.", "MAX_OVERAGES",
         f"{config.max_overages}u"),
        ("Batches that the transfer cache of a class may hold.", "MAX_TRANSFER_SLOTS",
         f"{config.max_transfer_slots}u"),
        ("Pages of the longest span that may serve a class.", "MAX_SPAN_PAGES", f"{config.max_span_pages}u"),
        ("Rows of aligned_class: alignments of 16 bytes to one page.", "ALIGNED_CLASS_ROWS", "(PAGE_SHIFT - 4 + 1)"),
        ("index of an object = (offset in span * reciprocal) >> RECIPROCAL_SHIFT.", "RECIPROCAL_SHIFT",
         f"{limits.RECIPROCAL_SHIFT}"),
        ("Log2 of the offset up to which that is exact.", "RECIPROCAL_OFFSET_BITS", f"{limits.OFFSET_BITS}"),
        ("Bits of that product of which one is set unless the offset is a multiple of the size.", "RECIPROCAL_REST",
         f"{limits.RECIPROCAL_REST}u"),
    )


def constants(tables):
    return "\n".join(f"/* {comment} */\n#define {name} {value}\n" for comment, name, value in constant_list(tables))


def declarations():
    return """\
struct size_class {
	uint64_t reciprocal; /* see above; the error of rounding it up is below 1 / 2^44 per byte of offset, so for
	                        offsets below 2^23 it stays below 2^-21, while a byte makes 2^-20 or more of the index */
	uint32_t size;       /* bytes of an object */
	uint16_t pages;      /* pages of a span */
	uint16_t objects;    /* objects in a span */
	uint16_t batch;      /* objects moved at once between the tiers, at most capacity */
	uint16_t capacity;   /* objects that a thread's stack may hold, a power of two less one */
	uint32_t span_bytes; /* bytes of a span */
};

/* Hidden: so that position-independent code reaches the tables without a load from the global offset table. */
#pragma GCC visibility push(hidden)

/* Class of a request up to SMALL_SIZE, indexed by (size + 7) >> 3. */
extern const uint8_t small_class[SMALL_SIZE / 8 + 1];

/* Class of a request up to LARGEST_CLASS_SIZE, indexed by (size + (1 << MEDIUM_SHIFT) - 1) >> MEDIUM_SHIFT. For
   requests up to SMALL_SIZE the class is large enough, but small_class may know a smaller one. */
extern const uint8_t medium_class[(LARGEST_CLASS_SIZE >> MEDIUM_SHIFT) + 1];

/* By class; entry 0 is all zero. */
extern const struct size_class size_classes[CLASS_COUNT];

/* Row r stands for an alignment of 16 << r bytes: the first class, from the given one on, whose objects all have it;
   0 if there is none. */
extern const uint8_t aligned_class[ALIGNED_CLASS_ROWS][CLASS_COUNT];

#pragma GCC visibility pop
"""


def definitions(tables):
    rows = ",\n".join("\t{\n" + value_lines(row, "\t\t") + "\n\t}" for row in tables.aligned_class)
    return f"""\
#ifdef SIZE_CLASSES_DEFINE

const uint8_t small_class[SMALL_SIZE / 8 + 1] = {{
{value_lines(tables.small_class, chr(9))}
}};

const uint8_t medium_class[(LARGEST_CLASS_SIZE >> MEDIUM_SHIFT) + 1] = {{
{value_lines(tables.medium_class, chr(9))}
}};

const struct size_class size_classes[CLASS_COUNT] = {{
	{{0, 0, 0, 0, 0, 0, 0}},
{class_lines(tables.classes)}
}};

const uint8_t aligned_class[ALIGNED_CLASS_ROWS][CLASS_COUNT] = {{
{rows}
}};

#endif
"""


def value_lines(values, indent):
    return ",\n".join(indent + ", ".join(map(str, values[start:start + VALUES_PER_LINE]))
                      for start in range(0, len(values), VALUES_PER_LINE))


def class_lines(classes):
    return ",\n".join(f"\t{{UINT64_C({entry.reciprocal}), {entry.size}, {entry.pages}, {entry.objects}, {entry.batch}, "
                      f"{entry.capacity}, {entry.span_bytes}}}" for entry in classes)


def assertions():
    return f"""\
_Static_assert(sizeof(size_t) == 8, "sizes and addresses have 64 bits");
_Static_assert(CLASS_COUNT <= 256, "a class fits a byte");
_Static_assert(PAGE_SHIFT >= 12 && PAGE_SHIFT <= 16, "a page has 4 to 64 KiB");
_Static_assert(SMALL_SIZE % 8 == 0 && SMALL_SIZE <= {limits.SMALL_SIZE}, "small_class has steps of 8 bytes");
_Static_assert(SMALL_SIZE <= LARGEST_CLASS_SIZE, "medium_class goes on where small_class ends");
_Static_assert(LARGEST_CLASS_SIZE <= {limits.MAX_CLASS_SIZE}, "a class has at most half a hugepage");
_Static_assert(SMALL_SIZE % ((size_t)1 << MEDIUM_SHIFT) == 0, "steps of medium_class begin at SMALL_SIZE");
_Static_assert(LARGEST_CLASS_SIZE % ((size_t)1 << MEDIUM_SHIFT) == 0, "medium_class ends at the largest class");
_Static_assert(MAX_SPAN_PAGES >= 1 && MAX_SPAN_PAGES * PAGE_SIZE <= {limits.MAX_SPAN_BYTES}, "a span has at most half a hugepage");
_Static_assert(MAX_SPAN_PAGES * PAGE_SIZE <= (size_t)1 << RECIPROCAL_OFFSET_BITS, "reciprocals are exact in a span");
_Static_assert(MIN_PER_THREAD_CACHE <= THREAD_CACHE_SIZE, "one thread's share is within the budget");
_Static_assert(sizeof(struct size_class) == 24, "a class's entry has no padding");
"""

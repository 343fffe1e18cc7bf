"""The rules of docs/profiles.md once more, by brute force: slow, obvious, and sharing no code with the generator."""

KIB = 1024
MIB = 1024 * KIB


def span_is_allowed(size, span_bytes):
    objects = span_bytes // size
    return objects >= 1 and span_bytes - objects * size <= span_bytes / 8


def longest_span(config):
    return min(config["max_pages"] * config["page_size"], MIB)


def derived_pages(size, config):
    """Tries every span for every goal, in the order of the goals."""
    page_size = config["page_size"]
    for objects, span_limit in ((32, 64 * KIB), (8, 256 * KIB), (2, 512 * KIB), (1, MIB)):
        for pages in range(1, longest_span(config) // page_size + 1):
            span_bytes = pages * page_size
            if span_bytes <= span_limit and span_bytes // size >= objects and span_is_allowed(size, span_bytes):
                return pages
    return None


def round_capacity(objects):
    capacity = 1
    while 2 * capacity + 1 <= objects:
        capacity = 2 * capacity + 1
    return capacity


def expected_class(entry, config):
    """What the table has to say about one class; `entry` is the profile's own table for it."""
    size = entry["size"]
    pages = entry.get("pages") or derived_pages(size, config)
    limit = entry.get("capacity") or min(2047, config["max_free_list_length"], 256 * KIB // size)
    capacity = round_capacity(limit)
    batch = entry.get("batch_size") or max(4, min(32, 32 * KIB // size))
    span_bytes = pages * config["page_size"]
    return {
        "reciprocal": -(-2**44 // size),
        "size": size,
        "pages": pages,
        "objects": span_bytes // size,
        "batch": min(batch, capacity),
        "capacity": capacity,
        "span_bytes": span_bytes,
    }


def fits(size, request, alignment):
    """Whether a class of `size` may serve `request`: large enough, and aligned if the request is over 8 bytes."""
    return size >= request and (request <= 8 or size % alignment == 0)


def request_classes(sizes, alignment, requests):
    """For each of the ascending `requests`, the number of its class; 0 if there is none."""
    result = []
    number = 1
    for request in requests:
        while number <= len(sizes) and not fits(sizes[number - 1], request, alignment):
            number += 1
        result.append(number if number <= len(sizes) else 0)
    return result


def aligned_class(sizes, number, alignment):
    if number == 0:
        return 0
    for later in range(number, len(sizes) + 1):
        if sizes[later - 1] % alignment == 0:
            return later
    return 0

/*
 * A set of free extents that finds the lowest one that suffices, or the shortest, in logarithmic time. Numbers are pages
 * from the window's base on. Relies on the C library's allocator.
 *
 * It is a treap: a search tree whose nodes' random priorities form a heap. Every node knows the longest extent below it.
 */
#ifndef BENCH_SIMULATOR_EXTENTS_H
#define BENCH_SIMULATOR_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>

struct extent {
	size_t first;
	size_t count; /* 0: none */
};

enum extent_order {
	BY_ADDRESS,
	BY_LENGTH, /* and of the same length by address */
};

struct extent_node;

struct extents {
	struct extent_node *root;
	enum extent_order order;
};

void extents_insert(struct extents *extents, struct extent extent);

/* The extent is in the set. */
void extents_remove(struct extents *extents, struct extent extent);

/* The first in the set's order that has at least `count` pages. */
struct extent extents_find(const struct extents *extents, size_t count);

/* Of a set by address: the last extent that starts at `page` or below. */
struct extent extents_at_or_below(const struct extents *extents, size_t page);

#endif

/*
 * The index of free extents: the longest runs of free pages of a hugepage and more. They need not begin or end with a
 * hugepage: the free pages at the end of a partly used hugepage and those at the beginning of one belong to the extent
 * between them. Pages without addresses count as free, those of a foreign hugepage as used: the records' `used` bits
 * say it all.
 *
 * Relies on the hugepages' records, where its nodes are, and on base/number_set. The page heap's lock guards it. All
 * numbers are pages from the window's base on.
 */
#ifndef TIERMALLOC_PAGEHEAP_EXTENTS_H
#define TIERMALLOC_PAGEHEAP_EXTENTS_H

#include "base/common.h"

struct extent {
	size_t first;
	size_t pages; /* 0: there is none */
};

/* Pages have become free: their bits are clear already. `top`: hugepages from there on are nobody's yet. */
void extents_add(size_t page, size_t pages, size_t top);

/* Pages are taken that were free. */
void extents_take(size_t page, size_t pages);

/* The extent in the index that the page lies in. */
struct extent extents_at(size_t page);

/*
 * Where in the shortest extent that has room for them, and of those of the same length in the lowest, `pages` pages go
 * at a multiple of `alignment` pages. NO_NUMBER: nowhere. Among the extents that are too short to have room whatever
 * their alignment, only some are tried.
 */
size_t extents_fit(size_t pages, size_t alignment);

/* The first of the free pages that end with the page before this one; `page` itself if that is used. */
size_t extents_start_of(size_t page);

/* How many extents the index has. */
size_t extents_count(void);

#endif

/*
 * What mremap has moved lies in mappings of its own, of which a process may have 65530. It is remembered which hugepages
 * have been moved to, and where mappings may meet, so that moving ends in time and the mappings become one again when such
 * hugepages are given back. All under the page heap's lock.
 */
#ifndef TIERMALLOC_PAGEHEAP_MOVED_H
#define TIERMALLOC_PAGEHEAP_MOVED_H

#include "pageheap/hugepage.h"

/* Whether memory has been moved to a hugepage since it was mapped. */
static inline bool moved_to(size_t number)
{
	return hugepage_records[number].moved;
}

/* Whether a run of so many pages may be moved. */
bool moved_admits(size_t pages);

/* A run has been moved. */
void moved_note(size_t from, size_t to, size_t pages);

/* A hugepage has been mapped anew, or unmapped. */
void moved_forget(size_t number);

/* Whether the count of borders is right. */
bool moved_count_is_right(void);

#endif

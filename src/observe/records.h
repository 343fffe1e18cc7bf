/*
 * A word for each block of the heap that has been recorded: which row of the histogram it is counted in, which recorder
 * has counted it, and when. 0: none, it was allocated before recording began.
 *
 * Out of band, like all metadata: each hugepage of the heap has an area beside the heap, mapped when the first block in
 * it is recorded. Where in the area a block's word lies follows from its address and its class alone: objects of 64 to
 * 127 bytes are at least 64 bytes apart, so one word for each 64 bytes of heap serves them, and each power of two has a
 * row of words of its own. A word belongs to whoever owns the block, as the block's contents do; there is no lock.
 */
#ifndef TIERMALLOC_OBSERVE_RECORDS_H
#define TIERMALLOC_OBSERVE_RECORDS_H

#include "base/common.h"
#include "pageheap/page_map.h"
#include "size_classes.h"

/* Objects are at least 8 bytes apart; from 4 KiB on, the smallest page, one word for each 4 KiB will do. */
#define FINEST_SHIFT   3
#define COARSEST_SHIFT 12

/* The finest row of words is as long as the heap itself, each next one half of it, the last one and one more of its size left out. */
#define RECORD_AREA_BYTES (2 * HUGEPAGE_SIZE - ((HUGEPAGE_SIZE * sizeof(uint64_t)) >> COARSEST_SHIFT))

/* Where in an area the words of a class lie, and for how many bytes of heap there is one. By class; 0: large blocks. */
struct record_place {
	uint32_t start; /* bytes */
	uint32_t shift;
};
extern HIDDEN struct record_place record_places[CLASS_COUNT];

/* By number of hugepage; NULL where there is no area yet. The array itself is NULL until recording has been started. */
extern HIDDEN uintptr_t *record_areas;

/* Maps the array, and fills record_places. False: no memory. */
bool records_initialise(void);

/* Maps the area of a hugepage. False: no memory. */
COLD bool records_map_area(size_t hugepage);

/* Forgets all records: all words read 0. No other thread may be recording. */
void records_forget(void);

/* The area for the block at `address`, in the window, or 0. */
ALWAYS_INLINE uintptr_t record_area_of(uintptr_t address)
{
	return load_relaxed(&record_areas[(address - window.base) >> HUGEPAGE_SHIFT]);
}

/* The word of the block at `address` in its area, where its class (0: large) has its place. */
ALWAYS_INLINE uint64_t *record_in(uintptr_t area, uintptr_t address, const struct record_place *place)
{
	uintptr_t offset = address & (HUGEPAGE_SIZE - 1);

	return (uint64_t *)(area + place->start) + (offset >> place->shift);
}

#endif

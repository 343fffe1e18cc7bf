/*
 * The record of a class's central free list, as the files of the central tier see it. Internal to this tier.
 *
 * The list's lock guards all of it. `spans` and `free` are stored so that they may also be read without: of a moment each.
 */
#ifndef TIERMALLOC_CENTRAL_FREE_LIST_H
#define TIERMALLOC_CENTRAL_FREE_LIST_H

#include "base/lock.h"
#include "central/occupancy.h"

struct free_list {
	struct lock lock;
	struct occupancy occupancy;
	size_t spans; /* all spans of the class, full ones included */
	size_t free;  /* objects */
	size_t kept;  /* empty spans */
	size_t mark;  /* see residue.c */
} CACHE_ALIGNED;

extern HIDDEN struct free_list free_lists[CLASS_COUNT];

#endif

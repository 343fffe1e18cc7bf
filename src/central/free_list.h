/*
 * The record of a class's central free list, as the files of the central tier see it. Internal to this tier.
 *
 * The list's lock guards all of it. `spans`, `free` and `purged` are stored so that they may also be read without: of a
 * moment each. `mark` is an estimate that is written without, too.
 */
#ifndef TIERMALLOC_CENTRAL_FREE_LIST_H
#define TIERMALLOC_CENTRAL_FREE_LIST_H

#include "base/lock.h"
#include "central/occupancy.h"

/* Visits the spans of the buckets from the emptiest one down to `last`, each once. */
struct purge_pass {
	uint8_t bucket; /* OCCUPANCY_BUCKETS at the beginning */
	uint8_t last;
	size_t left; /* spans of this bucket to visit */
};

struct free_list {
	struct lock lock;
	struct occupancy occupancy;
	size_t spans;      /* all spans of the class, full ones included */
	size_t free;       /* objects */
	size_t least_free; /* since purge.c has looked at it */
	size_t kept;       /* empty spans */
	size_t mark;       /* see residue.c */

	/* See purge.c. */
	size_t purged;               /* bytes given back inside of spans */
	size_t unpurged;             /* bytes of free objects, all the same in memory, that the last pass has left */
	uint64_t calm_since;         /* milliseconds; 0: not calm */
	struct purge_pass pass;      /* of the ticks */
	struct span *away;           /* span that is out of its ring while it is purged */
	struct thread_state *purger; /* who is at that */
} CACHE_ALIGNED;

extern HIDDEN struct free_list free_lists[CLASS_COUNT];

/*
 * A span that was out of its ring goes back, as the last of its bucket. Returns it if it has become empty meanwhile and
 * leaves the list: the caller destroys it after the lock.
 */
struct span *free_list_reenter(struct free_list *list, struct span *span);

#endif

/*
 * Giving free pages back to the system without holding the page heap's lock during the system calls. Internal to this
 * tier.
 *
 * The pages of a batch are *in transit*: they count as used in their hugepages, so that nobody takes them, but are not
 * among those that are handed out (heap.transit). The thread that gives them back puts them into the batch, leaves the lock,
 * makes the calls, takes the lock again and returns them as released, or as they were. A child that was forked
 * meanwhile by another thread takes them back as they were.
 */
#ifndef TIERMALLOC_PAGEHEAP_GIVE_BACK_H
#define TIERMALLOC_PAGEHEAP_GIVE_BACK_H

#include "pageheap/hugepage.h"

/* So many at a time: the lock is left long enough for others between two batches, and few of them are kept from use. */
#define PARTS_IN_BATCH 32

/* Free pages of one hugepage, of which some are backed. */
struct part_in_transit {
	size_t number;
	size_t first;
	size_t count;
	uint64_t released[HUGEPAGE_WORDS]; /* those of the hugepage that were released before */
	bool given_back;
	size_t broken_first; /* hugepages that are not to be huge pages from now on, see huge_pages.h */
	size_t broken_count;
};

struct batch {
	struct batch *next;
	const void *owner; /* the thread */
	bool unmap;        /* whole hugepages, with their addresses */
	size_t count;
	struct part_in_transit parts[PARTS_IN_BATCH];
};

/* Takes free pages of a hugepage, of which some are backed, into a batch that is not full. With the lock. */
void batch_add(struct batch *batch, size_t number, size_t first, size_t count);

/* Gives them back; leaves the lock meanwhile. Returns how many pages are not backed any more. */
size_t batch_give_back(struct batch *batch);

/*
 * Waits until nobody else gives anything back: what has to be had from the system may be on its way there. Not for ever. With
 * the lock, which it lets go meanwhile.
 */
void batches_await(void);

#endif

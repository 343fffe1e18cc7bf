/*
 * What the files of the page heap share: its lock, its counters, and the sets of free hugepages. Internal to this
 * tier.
 */
#ifndef TIERMALLOC_PAGEHEAP_HEAP_STATE_H
#define TIERMALLOC_PAGEHEAP_HEAP_STATE_H

#include "base/lock.h"
#include "base/number_set.h"
#include "base/os.h"
#include "pageheap/hugepage.h"

/* The widest window (page_map.c) in hugepages. */
#define MAXIMUM_HUGEPAGES ((size_t)1 << (44 - HUGEPAGE_SHIFT))

_Static_assert(MAXIMUM_HUGEPAGES <= NUMBER_SET_END, "the sets have to have room for all hugepages");

struct heap_state {
	struct lock lock;
	size_t top;        /* hugepages below it have been looked at: mapped, given back, or found foreign */
	size_t mapped;     /* hugepages */
	size_t whole_free; /* mapped hugepages that are wholly free */
	size_t used;       /* pages, as the next ones */
	size_t transit;    /* of them on their way to the system (give_back.h) */
	size_t moving;     /* of them without memory, until that of another run has been moved there */
	size_t released;
	size_t whole_backed; /* backed pages in wholly free hugepages */
	uint64_t released_total;
	struct number_set available; /* wholly free hugepages below top, mapped or not */
	struct number_set backed;    /* those of them that have backed pages */
};

extern HIDDEN struct heap_state heap;

/* Free backed pages, in hugepages of both sorts. */
static inline size_t heap_backed_free(void)
{
	return heap.mapped * HUGEPAGE_PAGES - heap.used - heap.released;
}

extern HIDDEN page_observer *heap_observer;

static inline void heap_report(const struct page_event *event)
{
	if (unlikely(heap_observer != NULL))
		heap_observer(event);
}

/* A wholly free hugepage enters (leaves) the sets. */
void heap_enter_free(size_t number);
void heap_leave_free(size_t number);

/* Whether all hugepages that these pages lie in have addresses. They may lie beyond the top. */
bool mapping_covers(size_t page, size_t pages);

/*
 * Maps what of the hugepages that these pages lie in has no addresses. Lets the page heap's lock go meanwhile: see
 * mapping.c. OS_TAKEN: some of them are somebody else's, and marked as such. Between the other two, which are called with
 * the page heap's lock, and return with it.
 */
void mapping_begin(void);
enum os_result mapping_extend(size_t page, size_t pages);
void mapping_end(void);

/* Takes pages of one mapped hugepage. */
void heap_take(size_t number, size_t first, size_t count, enum page_kind kind);

/* Gives pages of one hugepage back to it; those in `released`, a set of the hugepage's pages, are not backed (NULL: all). */
void heap_return(size_t number, size_t first, size_t count, const uint64_t *released);

/* Gives memory back after a free, as the rule in release.c says. Leaves the lock while it calls the system. */
void release_after_free(void);

/* Told of each run that is taken (given back). */
void release_note_taken(size_t pages);
void release_note_freed(void);

/*
 * How many pages from the first of a run on to make resident at once, the run's own `count` ones first: those behind it
 * become backed free pages. 0: none. The caller does it after the lock.
 */
size_t populate_choose(size_t number, size_t first, size_t count);

/* Does it. */
void populate_perform(uintptr_t address, size_t bytes);

/* The pages of [first, first + count) in a hugepage that consist of whole pages of the kernel. */
struct page_slice {
	size_t first;
	size_t count;
};
struct page_slice kernel_slice(size_t first, size_t count);

size_t release_limit_bytes(void);
uint64_t release_purged_total(void);

/* What pageheap_set_retain has set, in pages. */
size_t release_base_pages(void);

#endif

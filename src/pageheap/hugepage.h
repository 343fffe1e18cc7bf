/*
 * One hugepage's record, and the filler: lists of the partly used hugepages, by their longest free range.
 *
 * A page is used (somebody has it) or free; a free page is backed (memory of ours that is not in use) or released
 * (the system has the memory, the page reads zero). Pages start out released. The page heap's lock guards all of
 * this.
 */
#ifndef TIERMALLOC_PAGEHEAP_HUGEPAGE_H
#define TIERMALLOC_PAGEHEAP_HUGEPAGE_H

#include "base/bits.h"
#include "base/number_set.h"
#include "pageheap/page_map.h"
#include "pageheap/pageheap.h"

#define HUGEPAGE_WORDS WORDS_FOR_BITS(HUGEPAGE_PAGES)

_Static_assert(HUGEPAGE_PAGES >= 32, "a hugepage has to have pages to share out");

enum hugepage_state {
	HUGEPAGE_UNMAPPED, /* no addresses: never mapped, or given back */
	HUGEPAGE_MAPPED,
	HUGEPAGE_FOREIGN, /* somebody else has taken addresses in it: all of its pages count as used */
};

struct hugepage {
	uint64_t used[HUGEPAGE_WORDS];
	uint64_t released[HUGEPAGE_WORDS]; /* free and not backed */
	uint32_t next;                     /* in the filler's list: hugepage number + 1, 0 ends it */
	uint32_t previous;
	uint32_t extent_children
		[2]; /* of the free extent that begins in here (extents.c): the shorter, and the longer ones */
	uint32_t extent_pages; /* its length ... */
	uint16_t extent_first; /* ... and first page in here */
	uint16_t used_count;
	uint16_t released_count;
	uint16_t longest; /* pages in the longest free range */
	uint16_t list;    /* the filler's list it is in, plus 1; 0: none */
	uint8_t state;    /* enum hugepage_state */
	uint8_t kind;     /* enum page_kind, while partly used */
	uint8_t advice;   /* enum huge_page_advice */
	bool moved;       /* memory has been moved to it (moved.h) */
	bool passed_over; /* what is backed shares pages of the kernel with what is in use */
	uint32_t mapping_borders;
};

/* Free pages that are backed. */
static inline size_t hugepage_backed_free(const struct hugepage *hugepage)
{
	return HUGEPAGE_PAGES - hugepage->used_count - hugepage->released_count;
}

/* Takes the hugepage out of its list, if it is in one. */
void filler_remove(size_t number);

/* Puts it into the list that fits its present state; nowhere if it is wholly free or full. */
void filler_insert(size_t number);

/* The same for one whose free pages have been backed or released while it was in a list. */
void filler_update(size_t number);

/* Nothing of this one, which is in a list, can be given back until pages of it are taken or freed. */
void filler_pass_over(size_t number);

/* Returned when there is none. */
#define NO_HUGEPAGE NO_NUMBER

/*
 * The hugepage of this kind with the tightest free range that holds `pages` pages at a multiple of `alignment`, of
 * those the fullest; *first is the range's first page in it.
 */
size_t filler_find(enum page_kind kind, size_t pages, size_t alignment, size_t *first);

/* The hugepage with the longest free range, if that has `pages` pages; *first is the range's first page in it. */
size_t filler_find_roomiest(enum page_kind kind, size_t pages, size_t *first);

/* The hugepage with the most free pages in one range, among those with backed free pages that may be given back. */
size_t filler_emptiest_backed(void);

#endif

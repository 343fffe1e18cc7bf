/*
 * The page heap: hands out runs of pages from hugepages, takes them back, and gives memory back to the system.
 *
 * Relies on base/os, base/bits and the window (page_map.h). One lock guards all of it, and one more is held while
 * hugepages are mapped; callers hold no other lock.
 * All sizes in pages unless a name says bytes; addresses are page-aligned.
 */
#ifndef TIERMALLOC_PAGEHEAP_PAGEHEAP_H
#define TIERMALLOC_PAGEHEAP_PAGEHEAP_H

#include "base/common.h"
#include "base/os.h"

struct bell;
struct lock;

/* Spans that live long because of their many objects stay away from the hugepages of spans that come and go. */
enum page_kind {
	PAGES_MANY_OBJECTS,
	PAGES_FEW_OBJECTS,
	PAGES_GROWING, /* what is `growing` has this kind, whatever else the request says */
	PAGE_KINDS,
};

struct page_request {
	size_t pages;
	size_t alignment; /* in pages, a power of two */
	enum page_kind kind;
	bool zeroed;  /* should read zero, if that can be had without touching it */
	bool growing; /* is likely to grow: placed where there is room behind it */
	size_t moved; /* pages of another run that will be moved here, and whose memory goes then */
	bool dense;   /* all of it will be written soon, and what is taken next in the same manner, too */
};

struct page_run {
	uintptr_t address;
	bool zeroed;   /* all of it is known to read zero */
	size_t backed; /* of its first pages that something will be moved to: those that have memory already */
};

/* Finds a run. False: out of memory, or more than the window holds. */
bool pageheap_allocate(const struct page_request *request, struct page_run *run);

/* Takes pages back. */
void pageheap_free(uintptr_t address, size_t pages);

/*
 * Adds the pages that follow a run to it, if they are free or beyond the heap's end. *zeroed: they are known to
 * read zero.
 */
bool pageheap_grow(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed);

/*
 * Moves the pages of a run over the first ones of another, which has been had for that, and takes the old run back. False: nothing
 * has changed; runs that have been moved are mappings of their own for the kernel, and there are enough of them.
 */
bool pageheap_move(uintptr_t from, const struct page_run *to, size_t pages);

/* Gives back free memory until at most `keep` bytes of it are left. Returns the bytes given back. */
size_t pageheap_release(size_t keep);

/* Called now and then from slow paths: lets the amount kept follow the time. */
void pageheap_tick(void);

/*
 * Whether free memory is kept that will be given back in time, by a tick, if nobody takes it. Without the lock.
 */
extern HIDDEN bool pageheap_waiting;

static inline bool pageheap_waits(void)
{
	return load_relaxed(&pageheap_waiting);
}

enum huge_page_policy {
	HUGE_PAGES_AUTO, /* asked for where they pay (huge_pages.c) */
	HUGE_PAGES_ALWAYS,
	HUGE_PAGES_NEVER, /* and kept away where the kernel gives them unasked */
};

/* Set from the options; nothing is asked for before. What has been measured is forgotten. */
void pageheap_set_huge_pages(enum huge_page_policy policy, enum os_huge_pages kernel);

/*
 * Limits on what the heap has, in bytes, 0 for none (limits.h says what counts): above the soft one no free memory is kept,
 * above the hard one pageheap_allocate and pageheap_grow fail. Without the lock, as all that follows. What is free
 * above one of them goes at once.
 */
void pageheap_set_soft_limit(size_t bytes);
void pageheap_set_hard_limit(size_t bytes);

/* What goes by itself is no more than so many bytes in a second; 0: no bound. */
void pageheap_set_release_rate(size_t bytes);

/* What the page heap asks of the tiers above; they clear the bits. Atomic. */
enum {
	PAGEHEAP_ASKS_CACHES = 1,     /* too much is in use: give up what is cached */
	PAGEHEAP_ASKS_BACKGROUND = 2, /* there may be something to do for the background thread, which does not run */
};
extern HIDDEN uint32_t pageheap_asks;

/* What the background thread sleeps on: rung when there is something to do for it. */
extern HIDDEN struct bell background_bell;
void pageheap_set_background(bool wanted, bool runs);

/* In a forked child, where it does not run: without the lock. */
void pageheap_forget_background(void);

/*
 * How much free memory is kept for reuse: always so many bytes, and what the demand of so many milliseconds calls for
 * (release.c). Set from the options of these names.
 */
void pageheap_set_retain(size_t bytes);
void pageheap_set_decay(uint32_t milliseconds);
void pageheap_set_peak(uint32_t milliseconds);
void pageheap_set_trend(uint32_t milliseconds);

/*
 * Empty spans that the central tier keeps count against what the page heap may keep, and are no demand. Add: false if
 * they would not fit. Remove: `reused`, or to be given back. Fits: whether they still do, as the amount changes. All
 * without the lock.
 */
bool pageheap_spare_add(size_t pages);
void pageheap_spare_remove(size_t pages, bool reused);
bool pageheap_spare_fits(void);

/* Whether so many pages would be kept if they were free. Without the lock. */
bool pageheap_would_keep(size_t pages);

/*
 * Gives back the memory behind a part of a run that somebody has, in whole pages of the kernel: it reads zero afterwards.
 * False: the system refuses, and nothing has changed. The system is called without the lock.
 */
bool pageheap_purge(uintptr_t address, size_t bytes);

/*
 * The central tier knows of so many bytes more (fewer) of the runs in use that they are without memory by this: they do not
 * count where the page heap keeps a share of what is in use. Without the lock.
 */
void pageheap_purged_add(size_t bytes);
void pageheap_purged_remove(size_t bytes);
/* Since the beginning, in hugepages. */
struct huge_page_statistics {
	uint64_t asked;       /* the kernel was asked to make them huge pages */
	uint64_t passed_over; /* not asked for because others had been dear */
	uint64_t dear;
	uint64_t broken; /* given back in part, and left to small pages since */
};

struct pageheap_statistics {
	size_t mapped;    /* bytes of address space in mapped hugepages = used + free + released */
	size_t used;      /* bytes in runs handed out */
	size_t purged;    /* bytes of them that have been given back all the same (pageheap_purge) */
	size_t free;      /* bytes free and backed */
	size_t released;  /* bytes free and not backed */
	size_t hugepages; /* mapped */
	size_t whole_free_hugepages;
	size_t map_bytes;        /* address space of the page map's arrays */
	uint64_t released_total; /* bytes ever given back */
	size_t counted;          /* bytes that count against the limits */
	size_t release_limit;    /* bytes kept at present before giving back */
	struct huge_page_statistics huge_pages;
};

void pageheap_read_statistics(struct pageheap_statistics *statistics);

/* Checks every record against the counters. Returns NULL, or what is wrong. */
const char *pageheap_validate(void);

/* What the page heap has done, for whoever records it. Pages are numbered from the heap's base. */
enum page_event_kind {
	PAGE_ALLOCATED,
	PAGE_FREED,
	PAGE_GROWN,    /* to `other` pages */
	PAGE_MOVED,    /* to the page `other` */
	PAGE_RELEASED, /* pageheap_release was asked to keep `pages` */
	PAGE_TICK,
	PAGE_LIMIT,  /* the release limit is `pages` */
	PAGE_PURGED, /* pageheap_purge, in PURGE_UNITs: `pages` of them, from the page's unit `other` on */
};

#define PURGE_UNIT ((size_t)4096)

struct page_event {
	enum page_event_kind kind;
	size_t page;
	size_t pages;
	size_t other;
	const struct page_request *request; /* of what was allocated */
};

typedef void page_observer(const struct page_event *event);

/*
 * From now on tells `observer` of each event, under the page heap's lock and so in their order; first of the limit and
 * of all that is in use, as if it were allocated now. NULL: nobody.
 */
void pageheap_observe(page_observer *observer);

/* Pages of kept spans (pageheap_spare_add), and bytes given back inside of runs (pageheap_purged_add). */
size_t pageheap_spare(void);
size_t pageheap_purged(void);

/* For fork, which takes every lock: the mapping lock (mapping.c) before the page heap's. */
struct lock *pageheap_mapping_lock(void);
struct lock *pageheap_lock(void);

/* In a child, with the lock: what other threads were giving back to the system is free again. */
void pageheap_adopt_in_child(void);

#endif

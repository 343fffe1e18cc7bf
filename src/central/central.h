/*
 * The central tier: spans, the central free list of each class, and the transfer caches in front of them.
 *
 * Relies on the page heap below. A span serves the objects of one class, or is one large block; its descriptor,
 * with a bit per free object, lives in the metadata arena. Each class has a lock for its free list and one for its
 * transfer cache. No two locks are ever held together: spans are made and unmade outside.
 */
#ifndef TIERMALLOC_CENTRAL_CENTRAL_H
#define TIERMALLOC_CENTRAL_CENTRAL_H

#include "base/bits.h"
#include "base/common.h"
#include "base/lock.h"
#include "pageheap/page_map.h"
#include "size_classes.h"

struct span {
	struct span *next; /* in a list of its class by occupancy, a ring */
	struct span *previous;
	uintptr_t start;
	uint32_t pages;
	uint32_t bucket_factor; /* free * bucket_factor >> 16 is the occupancy bucket */
	uint16_t objects;       /* 0: a large block */
	uint16_t free;          /* objects free in here */
	uint16_t first_word;    /* no free object lies in a word below */
	uint16_t touched;       /* objects from this one on were never handed out */
	uint16_t turn;          /* with so many free objects it may belong in another list (occupancy.h) */
	uint16_t purged;        /* pages of the kernel in here that have been given back; forgotten when one is taken */
	uint8_t class;
	uint8_t bucket;
	bool kept : 1;   /* empty, and counted as spare */
	bool zeroed : 1; /* was known to read zero when it was made: its untouched objects do */
	uint64_t free_objects[];
};

/* With two words of bitmap, that is for spans of up to 128 objects, it is one cache line. */
_Static_assert(sizeof(struct span) <= 48, "most spans' descriptors have to fit into a cache line");

/* The span whose first page holds this address and that is a large block; NULL otherwise. */
static inline struct span *large_span_of(uintptr_t address)
{
	struct span *span = page_span(page_of(address));

	return span != NULL && span->objects == 0 ? span : NULL;
}

static inline size_t span_bytes(const struct span *span)
{
	return (size_t)span->pages << PAGE_SHIFT;
}

/* Makes a span of `class`, all objects free, and enters it into the page map. NULL: out of memory. */
struct span *span_create(unsigned class);

/* What is wanted of a large block. */
struct large_request {
	size_t pages;
	size_t alignment; /* in pages, a power of two */
	bool zeroed;      /* it will be cleared: zeroed pages are preferred */
	bool growing;     /* it is likely to grow: with room behind it */
};

/* Makes a large block. NULL: out of memory. */
struct span *span_create_large(const struct large_request *request);

/* Gives the pages and the descriptor back. */
void span_destroy(struct span *span);

/*
 * Shortens (lengthens) a large block in place. Shortening always works; lengthening if the pages that follow are
 * free.
 */
void span_shrink(struct span *span, size_t pages);
bool span_grow(struct span *span, size_t pages);

/*
 * Moves a large block to where it has `pages` pages and room to grow: its pages, or its contents if
 * there is memory already. Returns its new span; the old one is gone. NULL: not possible, nothing has changed.
 */
struct span *span_move(struct span *span, size_t pages);

/*
 * Takes up to `count` objects of a class: end[-1] becomes the lowest address, and so on downward, so that a stack
 * with `end` as its top hands out neighbours in order. Returns how many; fewer than asked for only when out of
 * memory.
 */
size_t central_take(unsigned class, void **end, size_t count);

/* Takes one object; *zeroed: it is known to read zero. NULL: out of memory. */
void *central_take_one(unsigned class, bool *zeroed);

/*
 * Takes objects back. Stops the process with a message if one is not an object of this class, is not the start of
 * one, or is free already. `function` is named in the message.
 */
void central_return(unsigned class, void **objects, size_t count, const char *function);

/*
 * The same through the class's transfer cache, which exists only while `transfer_enabled`: with one thread there is
 * nobody to exchange with.
 */
extern HIDDEN bool transfer_enabled;
size_t transfer_take(unsigned class, void **end, size_t count);
void transfer_return(unsigned class, void **objects, size_t count, const char *function);

/* Empties the transfer caches into the free lists, or one of them. Returns the number of objects. */
size_t transfer_flush(void);
size_t transfer_flush_class(unsigned class);

/*
 * Whether a cache that holds `held` objects of the class should give them all back, and the class's transfer cache with
 * them: few others are out, and they hold spans that would go. Does not say so again before more have come back. Takes the
 * page heap's lock at most.
 */
bool central_wants_back(unsigned class, size_t held);

/* Gives empty spans that were kept back to the page heap: all, or until it is content (pageheap_spare_fits). */
void central_give_back_empty(bool all);

/*
 * Gives back the kernel's pages in partly used spans on which nothing but free objects lies. The first does it for all
 * spans, at once. The second is called now and then from slow paths, and does a part of what is to be done: of classes
 * of which much has stayed free for some seconds, if that is more than the page heap would keep. `now`: milliseconds.
 */
void central_purge(void);
void central_tick(uint64_t now);

/* Whether the second has something to do soon. Without a lock. */
extern HIDDEN bool central_waiting;

static inline bool central_waits(void)
{
	return load_relaxed(&central_waiting);
}

struct class_statistics {
	size_t spans;
	size_t pages;
	size_t objects;       /* in all spans */
	size_t central_free;  /* of those, free in the central list */
	size_t transfer_free; /* waiting in the transfer cache */
	size_t purged;        /* bytes given back inside of spans */
};

void central_read_statistics(unsigned class, struct class_statistics *statistics);

/* Large blocks at present. */
struct large_statistics {
	size_t blocks;
	size_t bytes;
};
void central_read_large_statistics(struct large_statistics *statistics);

/* Checks each span of each class. NULL, or what is wrong. */
const char *central_validate(void);

/* In a forked child, which has all locks: a span that another thread was about to purge goes back to its list. */
void central_adopt_in_child(void);

/* For fork, which takes every lock: the locks of the tier, by number, until NULL. */
struct lock *central_lock(size_t number);

#endif

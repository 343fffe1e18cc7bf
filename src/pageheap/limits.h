/*
 * Limits on the memory that the heap has, set by the options soft_limit and hard_limit, and what the page heap asks of those
 * above it for their sake.
 *
 * What counts is known without asking the kernel: pages in use, whether they have been written to or not; free pages with
 * memory behind them; metadata that has been handed out, and the page map of what is mapped. That is hardly less than the
 * heap's part of the resident memory. What recording and tracing map does not count, nor
 * do blocks of signal handlers (reentrant.h).
 *
 * Above the soft limit no free memory is kept: the growth that crosses it, and each free as long as too much is in use, gives
 * back what is free. Growth that would cross the hard limit fails; what is in use stays as it is, also if the limit has been set
 * below that, and no free memory is kept then either. The page heap can only give back its own free pages: the caches above are asked to give up theirs.
 *
 * Under the page heap's lock, but for what says otherwise. Relies on heap_state.h.
 */
#ifndef TIERMALLOC_PAGEHEAP_LIMITS_H
#define TIERMALLOC_PAGEHEAP_LIMITS_H

#include "pageheap/heap_state.h"

/* What is to be done without the lock. */
enum {
	LIMITS_RELEASE = 1, /* free memory has to go */
	LIMITS_RING = 2,    /* there is free memory that time alone will release */
};

struct limits {
	bool watched;      /* a limit or background is set: else nothing is looked at */
	bool background;   /* somebody sleeps on background_bell, or is to be started */
	bool unstarted;    /* the latter */
	uint32_t due;      /* atomic */
	size_t soft_bytes; /* 0: none, as in the next two */
	size_t hard_bytes;
	size_t lowest_bytes; /* of the two: above it no free memory is kept */
};

extern HIDDEN struct limits limits;

bool limits_admit_slow(size_t pages, size_t backed);
void limits_look_slow(void);
void limits_act_slow(void);

/*
 * Whether the hard limit lets `pages` more be in use, and `backed` more get memory for that. With 0 for the latter: whether they
 * could if all free memory were given back.
 */
static inline bool limits_admit(size_t pages, size_t backed)
{
	return likely(limits.hard_bytes == 0) || limits_admit_slow(pages, backed);
}

/* Pages that may become backed ahead of their use without crossing a limit. */
size_t limits_room(void);

/* After each change, under the lock: finds out what is to be done. */
static inline void limits_look(void)
{
	if (unlikely(limits.watched))
		limits_look_slow();
}

/* And without the lock: does it. */
static inline void limits_act(void)
{
	if (unlikely(load_relaxed(&limits.due) != 0))
		limits_act_slow();
}

/* Without the lock, after limits_admit has refused: gives back what keeps so many pages from being had. False: it can't. */
bool limits_make_room(size_t pages);

/* What counts, in bytes. */
size_t limits_counted(void);

/*
 * How many pages may go by themselves now, as the option release_rate bounds it, and that so many have gone. malloc_trim and
 * the limits do not ask.
 */
size_t release_rate_pages(void);
void release_rate_spend(size_t pages);

#endif

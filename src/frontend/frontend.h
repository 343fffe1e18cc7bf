/*
 * The frontend: each thread's cache, and the registry of all of them.
 *
 * Relies on the central tier. A cache belongs to one thread, which alone touches its stacks; the registry's lock
 * guards the list of caches. The functions here are called behind the door, where the thread's fast paths are
 * closed; they hold no lock when they call the central tier.
 */
#ifndef TIERMALLOC_FRONTEND_FRONTEND_H
#define TIERMALLOC_FRONTEND_FRONTEND_H

#include "base/common.h"

struct lock;

/*
 * An object of the class when the fast path found none: from the refilled stack, or from the central tier if this
 * thread has no cache. NULL: out of memory.
 */
void *frontend_allocate(unsigned class);

/* The same for one object whose contents matter: *zeroed tells whether it is known to read zero. */
void *frontend_allocate_zeroed(unsigned class, bool *zeroed);

/*
 * Takes an object that the fast path could not push. Stops the process if it is the one freed last. `function` is
 * named in messages.
 */
void frontend_free(unsigned class, void *object, const char *function);

/* Gives this thread a cache if it has none and is not exiting. */
void frontend_open_thread(void);

/* Takes this thread's cache away for good; its allocations are served by the central tier from now on. */
void frontend_close_thread(void);

/* Gives back everything that this thread's cache holds. Returns bytes. The thread goes on with an empty cache. */
size_t frontend_flush_thread(void);

/* In a forked child: the caches of threads that do not exist any more are dropped; what they hold is lost. */
void frontend_forget_other_threads(void);

struct frontend_limits {
	size_t total;      /* bytes that all caches may be grown to hold */
	size_t per_thread; /* bytes that each may hold in any case */
};
void frontend_set_limits(const struct frontend_limits *limits);

struct frontend_statistics {
	size_t caches;
	size_t capacity; /* bytes that the caches may hold as they have grown */
};
void frontend_read_statistics(struct frontend_statistics *statistics);

/* Objects of the class in all caches; exact if the other threads stand still. */
size_t frontend_cached(unsigned class);

/*
 * Sends every thread that has a cache to the door at its next call; one that is behind it at this moment may open its
 * fast paths once more.
 */
void frontend_close_fast_paths(void);

/* Checks the caches' bounds. NULL, or what is wrong. */
const char *frontend_validate(void);

/* For fork, which takes every lock. */
struct lock *frontend_lock(void);

#endif

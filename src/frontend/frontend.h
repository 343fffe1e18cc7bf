/*
 * The frontend: each thread's cache and the registry of all of them, or each CPU's slab. Which of the two serves is
 * decided once, at start-up.
 *
 * Relies on the central tier. A cache belongs to one thread, which alone touches its stacks; the registry's lock
 * guards the list of caches. A slab is worked on by restartable sequences, without locks (slab.h). The functions here are
 * called behind the door, where the thread's own fast paths are closed; they hold no lock when they call the central tier.
 */
#ifndef TIERMALLOC_FRONTEND_FRONTEND_H
#define TIERMALLOC_FRONTEND_FRONTEND_H

#include "base/common.h"

struct lock;

/* Values of the option, and of the build option that says which one the fast paths are made for. */
enum frontend_kind {
	FRONTEND_AUTO,
	FRONTEND_THREAD,
	FRONTEND_CPU,
};

/* Both can serve; the CPUs' behind the door unless the build is for them. */
#define PER_CPU_IS_POSSIBLE (FRONTEND_BUILT != FRONTEND_THREAD)

/*
 * Chooses: the CPUs' slabs if they are wanted and can be had, each for `bytes_per_cpu`, the threads' caches otherwise.
 * Once, at start-up.
 */
void frontend_begin(enum frontend_kind wanted, size_t bytes_per_cpu);

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

/* One object from the central tier. NULL: out of memory. */
void *frontend_allocate_directly(unsigned class);

COLD _Noreturn void frontend_freed_twice(unsigned class, void *object, const char *function);

/* Gives this thread a cache, or entry to the CPUs' slabs, if it has none and is not exiting. */
void frontend_open_thread(void);

/* Takes this thread's cache away for good; its allocations are served by the central tier from now on. */
void frontend_close_thread(void);

/*
 * Before this thread calls vfork: the child shares its memory, but the kernel does not tell it the CPU that it is on, so
 * it is not to touch the slabs.
 */
void frontend_before_vfork(void);

/* Lets the thread, which leaves the door, go past it from now on. */
void frontend_open_fast_paths(void);

/* Called now and then: what the tiers below have to do from time to time. */
void frontend_tick(void);

/*
 * For a thread that leaves the door while memory waits for its time to be given back: whether its fast paths are to stay
 * closed, so that it comes again. Those of a thread that does little do, since it may come to the door in no other way;
 * a busy thread is let go.
 */
bool frontend_watches(void);
/* The same without a program at work, for the background thread; also drains the CPUs that have nothing to do. */
void frontend_tick_idle(void);

/* Gives back everything that this thread's cache holds. Returns bytes. The thread goes on with an empty cache. */
size_t frontend_flush_thread(void);

/* The same, and what all CPUs' slabs hold. */
size_t frontend_flush(void);

/*
 * In a forked child: the caches of threads that do not exist any more are dropped; what they hold is lost. The CPUs' slabs
 * go on, and are put in order.
 */
void frontend_forget_other_threads(void);
void frontend_adopt_slabs(void);

struct frontend_limits {
	size_t total;      /* bytes that all caches may be grown to hold */
	size_t per_thread; /* bytes that each may hold in any case */
};
void frontend_set_limits(const struct frontend_limits *limits);

struct frontend_statistics {
	const char *kind; /* of what: threads or CPUs */
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

/* For a thread that leaves the door while they are closed: it may have opened the CPUs', which are all threads', just now. */
void frontend_keep_fast_paths_closed(void);

/* Checks the caches' bounds. NULL, or what is wrong. */
const char *frontend_validate(void);

/* For fork, which takes every lock. */
struct lock *frontend_lock(void);

#endif

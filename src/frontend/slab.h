/*
 * The CPUs' slabs: one for each CPU number (or mm_cid) that has missed once, and the table of all of them.
 *
 * A slab begins like a thread's cache, with the stacks. Behind it lie the arrays that they point into, at a fixed place for
 * each class, with room for the most slots it may ever have: address space, of which memory is behind what has been used. A
 * class's capacity is what its limit says, 0 at first.
 *
 * Rule: the words of a slab are written only by sections on its CPU (section.h), or by whoever has taken it away. All else
 * in here is sums, changed by atomic operations, and estimates (demand, the looks), which are plain: threads that were
 * preempted on their way to the central tier are many on one CPU, and an estimate that is lost costs a step too much or too few.
 */
#ifndef TIERMALLOC_FRONTEND_SLAB_H
#define TIERMALLOC_FRONTEND_SLAB_H

#include "base/closed_cache.h"
#include "base/common.h"
#include "base/rseq.h"
#include "base/thread_state.h"
#include "frontend/demand.h"
#include "frontend/section.h"

struct slab {
	struct cache_stacks stacks; /* first: the table's entries point to it */
	uint32_t number;
	uint32_t visits;
	uint32_t next_class; /* to be looked at next */
	uint32_t idle_looks; /* in a row that found nothing changed */
	uint32_t seen_visits;
	uintptr_t seen_mark;
	struct thread_state *taker; /* of the thread that has taken it away, or NULL */
	size_t grant;               /* bytes that it may be charged; others may lower it */
	size_t charged;             /* bytes of its capacities, and of those about to be */
	struct demand demand[CLASS_COUNT];
	void *slots[];
};

/* Entries for all numbers are the dummy from now on; `bytes` is each slab's grant. After rseq_begin. */
void slabs_begin(size_t bytes);

/* The slab of this number, made if there is none yet. NULL: no memory, or the number is beyond all. */
struct slab *slab_of(uint32_t number);

/* The same for one that is there already. */
struct slab *slab_made(uint32_t number);

/* Whether the sections of its CPU find it. */
static inline bool slab_is_there(const struct slab *slab)
{
	return __atomic_load_n(&slab_table[slab->number], __ATOMIC_RELAXED) == &slab->stacks;
}

/* Slots that a class can have at most. */
size_t slab_most_slots(unsigned class);

void **slab_bottom(const struct slab *slab, unsigned class);

static inline void **slab_limit(const struct slab *slab, unsigned class)
{
	return load_relaxed(&slab->stacks.limit[class]);
}

/* Of a moment: the slab may be in use. */
static inline size_t slab_capacity(const struct slab *slab, unsigned class)
{
	return (size_t)(slab_limit(slab, class) - slab_bottom(slab, class));
}

static inline size_t slab_held(const struct slab *slab, unsigned class)
{
	return (size_t)(load_relaxed(&slab->stacks.top[class]) - slab_bottom(slab, class));
}

/* Bytes of all capacities. */
size_t slab_sum(const struct slab *slab);

/*
 * Takes a slab away from its CPU: afterwards no section is at work on it, and the caller alone may read and write it, until
 * slab_put_back. False: somebody else has it, or the barrier is not to be had; nothing has changed.
 */
bool slab_take_away(struct slab *slab);
void slab_put_back(struct slab *slab);

/* Tries to charge the slab `bytes` more, or else whole `unit`s of them. Returns how many. */
size_t slab_charge(struct slab *slab, size_t bytes, size_t unit);
void slab_discharge(struct slab *slab, size_t bytes);

#endif

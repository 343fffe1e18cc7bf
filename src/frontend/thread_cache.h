/*
 * A thread's cache and the registry of all caches, as the files of the frontend see them. Internal to this tier.
 *
 * Only the owner touches a cache, except its grant (atomic) and its links (the registry's lock).
 */
#ifndef TIERMALLOC_FRONTEND_THREAD_CACHE_H
#define TIERMALLOC_FRONTEND_THREAD_CACHE_H

#include "base/closed_cache.h"
#include "base/common.h"
#include "frontend/demand.h"
#include "frontend/frontend.h"

struct thread_cache {
	struct cache_stacks stacks; /* first: the fast paths take its address for the cache's */
	struct thread_cache *next;
	struct thread_cache *previous;
	struct thread_state *state; /* the owner's */
	uint32_t owner;
	uint32_t visits;
	uint32_t next_class; /* to be looked at by the next tick */
	size_t grant;        /* bytes this cache may be charged; others may lower it */
	size_t charged;
	uint16_t capacity[CLASS_COUNT]; /* slots */
	struct demand demand[CLASS_COUNT];
};

_Static_assert(offsetof(struct thread_cache, stacks) == 0, "the fast paths find the stacks at the cache's address");

static inline void **bottom_of(const struct thread_cache *cache, unsigned class)
{
	return cache->stacks.limit[class] - cache->capacity[class];
}

static inline size_t held_by(const struct thread_cache *cache, unsigned class)
{
	return cache->capacity[class] == 0 ? 0 : (size_t)(cache->stacks.top[class] - bottom_of(cache, class));
}

/* As the frontend's functions of these names, for a thread that has this cache. */
void *thread_cache_allocate(struct thread_cache *cache, unsigned class);
void thread_cache_free(struct thread_cache *cache, unsigned class, void *object, const char *function);

/* Gives this thread a cache, if there is memory. */
void thread_cache_open(void);

/* Takes this thread's cache away; what it holds goes back. */
void thread_cache_close(void);

/* Gives back everything that the cache holds. Returns bytes. */
size_t thread_cache_flush(struct thread_cache *cache);

/* Enters a cache into the registry, with the grant that every cache has. */
void registry_add(struct thread_cache *cache);

/* Takes it out. Returns whether at most one cache is left. */
bool registry_remove(struct thread_cache *cache);

/* The cache of the thread with this id, if it is in the registry. */
struct thread_cache *registry_find(uint32_t owner);

/* Tries to have `more` bytes of the grant left. Returns how many there are, up to that. */
size_t registry_obtain_grant(struct thread_cache *cache, size_t more);

/* A CPU has got its slab: with more than one cache of any kind, the transfer caches are of use. */
void registry_count_slab(void);

/* As the frontend's functions of these names, for the threads' caches. */
void registry_read_statistics(struct frontend_statistics *statistics);
size_t registry_cached(unsigned class);
void registry_close_fast_paths(void);
const char *registry_validate(void);

#endif

/*
 * A thread's cache and the registry of all caches, as the files of the frontend see them. Internal to this tier.
 *
 * Only the owner touches a cache, except its grant (atomic) and its links (the registry's lock).
 */
#ifndef TIERMALLOC_FRONTEND_THREAD_CACHE_H
#define TIERMALLOC_FRONTEND_THREAD_CACHE_H

#include "base/closed_cache.h"
#include "base/common.h"

/* No stack grows beyond this: the array is 16 KiB then, and stays in the first-level cache with what it points to. */
#define PEAK_CAPACITY ((size_t)2047 < (size_t)MAX_FREE_LIST_LENGTH ? (size_t)2047 : (size_t)MAX_FREE_LIST_LENGTH)

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
	uint8_t swings[CLASS_COUNT];    /* turns since the stack last grew */
	int8_t streak[CLASS_COUNT];     /* how often it was found empty in a row, or (negative) full */
	uint8_t overages[CLASS_COUNT];  /* flushes since the last refill */
	bool visited[CLASS_COUNT];      /* has come here since the last look at the class, or has missed once */
	uint16_t seen[CLASS_COUNT];     /* objects held at the last look */
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

/* Enters a cache into the registry, with the grant that every cache has. */
void registry_add(struct thread_cache *cache);

/* Takes it out. Returns whether at most one cache is left. */
bool registry_remove(struct thread_cache *cache);

/* The cache of the thread with this id, if it is in the registry. */
struct thread_cache *registry_find(uint32_t owner);

/* Tries to have `more` bytes of the grant left. Returns how many there are, up to that. */
size_t registry_obtain_grant(struct thread_cache *cache, size_t more);

#endif

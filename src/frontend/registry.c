/*
 * The registry of all threads' caches, and the budget they share: what a cache may hold is charged against its
 * grant, and grants are drawn from the budget of all threads, or from another cache's grant, which then shrinks
 * when its owner next passes the door.
 */
#include "base/lock.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "frontend/thread_cache.h"

/* How many caches are asked for part of their grant at a time: with hundreds of threads, all of them have little. */
#define VICTIMS 4

static struct {
	struct lock lock;
	struct thread_cache *first;
	struct thread_cache *victim; /* where the next search for a grant to lower begins */
	size_t count;
	size_t slabs; /* CPUs that have one, beside these caches */
	struct frontend_limits limits;
	intptr_t
		pool; /* bytes of the budget that no cache has been granted; negative if the minimum per thread exceeds it */
} registry = {
	.limits = {THREAD_CACHE_SIZE, MIN_PER_THREAD_CACHE},
	.pool = THREAD_CACHE_SIZE,
};

/* Draws from what no cache has been granted, as much of `bytes` as there is. */
static void draw_from_pool(struct thread_cache *cache, size_t bytes)
{
	lock_acquire(&registry.lock);
	if (registry.pool > 0) {
		size_t drawn = minimum((size_t)registry.pool, bytes);

		registry.pool -= (intptr_t)drawn;
		__atomic_fetch_add(&cache->grant, drawn, __ATOMIC_RELAXED);
	}
	lock_release(&registry.lock);
}

/* Lowers the grant of another cache that has more than the minimum. */
static void steal_grant(struct thread_cache *cache, size_t bytes)
{
	bool stolen = false;

	lock_acquire(&registry.lock);
	for (size_t tries = minimum(registry.count, VICTIMS); tries > 0 && !stolen; tries--) {
		struct thread_cache *victim = registry.victim != NULL ? registry.victim : registry.first;

		registry.victim = victim->next;
		if (victim == cache || load_relaxed(&victim->grant) < registry.limits.per_thread + bytes)
			continue;
		__atomic_fetch_sub(&victim->grant, bytes, __ATOMIC_RELAXED);
		__atomic_fetch_add(&cache->grant, bytes, __ATOMIC_RELAXED);
		stolen = true;
	}
	lock_release(&registry.lock);
}

/* Bytes of the grant that are not charged. */
static size_t grant_left(const struct thread_cache *cache)
{
	size_t grant = load_relaxed(&cache->grant);

	return grant > cache->charged ? grant - cache->charged : 0;
}

size_t registry_obtain_grant(struct thread_cache *cache, size_t more)
{
	if (grant_left(cache) < more)
		draw_from_pool(cache, maximum(more - grant_left(cache), STEAL_AMOUNT));
	if (grant_left(cache) < more)
		steal_grant(cache, STEAL_AMOUNT);
	return minimum(grant_left(cache), more);
}

void registry_add(struct thread_cache *cache)
{
	lock_acquire(&registry.lock);
	cache->next = registry.first;
	if (cache->next != NULL)
		cache->next->previous = cache;
	registry.first = cache;
	registry.count++;
	cache->grant = registry.limits.per_thread;
	registry.pool -= (intptr_t)cache->grant;
	store_relaxed(&transfer_enabled, registry.count + registry.slabs > 1);
	lock_release(&registry.lock);
}

bool registry_remove(struct thread_cache *cache)
{
	bool one_left;

	lock_acquire(&registry.lock);
	if (cache->next != NULL)
		cache->next->previous = cache->previous;
	if (cache->previous != NULL)
		cache->previous->next = cache->next;
	else
		registry.first = cache->next;
	if (registry.victim == cache)
		registry.victim = cache->next;
	registry.count--;
	registry.pool += (intptr_t)load_relaxed(&cache->grant);
	one_left = registry.count + registry.slabs <= 1;
	store_relaxed(&transfer_enabled, !one_left);
	lock_release(&registry.lock);
	return one_left;
}

void registry_count_slab(void)
{
	lock_acquire(&registry.lock);
	registry.slabs++;
	store_relaxed(&transfer_enabled, registry.count + registry.slabs > 1);
	lock_release(&registry.lock);
}

struct thread_cache *registry_find(uint32_t owner)
{
	struct thread_cache *cache;

	lock_acquire(&registry.lock);
	for (cache = registry.first; cache != NULL && cache->owner != owner; cache = cache->next)
		;
	lock_release(&registry.lock);
	return cache;
}

void frontend_forget_other_threads(void)
{
	struct thread_cache *own = thread_state.cache;

	lock_acquire(&registry.lock);
	registry.first = own;
	registry.victim = NULL;
	registry.count = own != NULL ? 1 : 0;
	registry.pool = (intptr_t)registry.limits.total;
	if (own != NULL) {
		own->next = own->previous = NULL;
		own->owner = thread_id();
		registry.pool -= (intptr_t)own->grant;
	}
	transfer_enabled = registry.count + registry.slabs > 1;
	lock_release(&registry.lock);
}

void frontend_set_limits(const struct frontend_limits *limits)
{
	lock_acquire(&registry.lock);
	registry.pool += (intptr_t)limits->total - (intptr_t)registry.limits.total;
	registry.limits = *limits;
	lock_release(&registry.lock);
}

void registry_read_statistics(struct frontend_statistics *statistics)
{
	lock_acquire(&registry.lock);
	statistics->caches = registry.count;
	statistics->capacity = 0;
	for (const struct thread_cache *cache = registry.first; cache != NULL; cache = cache->next)
		statistics->capacity += cache->charged;
	lock_release(&registry.lock);
}

size_t registry_cached(unsigned class)
{
	size_t total = 0;

	lock_acquire(&registry.lock);
	for (const struct thread_cache *cache = registry.first; cache != NULL; cache = cache->next)
		total += held_by(cache, class);
	lock_release(&registry.lock);
	return total;
}

void registry_close_fast_paths(void)
{
	lock_acquire(&registry.lock);
	for (struct thread_cache *cache = registry.first; cache != NULL; cache = cache->next)
		close_fast_paths(cache->state);
	lock_release(&registry.lock);
}

static const char *check_cache(const struct thread_cache *cache)
{
	size_t charged = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t capacity = cache->capacity[class];

		if (held_by(cache, class) > capacity || capacity > maximum(PEAK_CAPACITY, size_classes[class].capacity))
			return "a thread's stack holds more than it may";
		if (capacity != 0 && bottom_of(cache, class)[-1] != NULL)
			return "the slot below a thread's stack is not empty";
		charged += capacity * size_classes[class].size;
	}
	return charged == cache->charged ? NULL : "a thread cache's charge is wrong";
}

const char *registry_validate(void)
{
	const char *wrong = NULL;

	lock_acquire(&registry.lock);
	for (const struct thread_cache *cache = registry.first; cache != NULL && wrong == NULL; cache = cache->next)
		wrong = check_cache(cache);
	lock_release(&registry.lock);
	return wrong;
}

struct lock *frontend_lock(void)
{
	return &registry.lock;
}

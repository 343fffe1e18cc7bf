/*
 * The transfer cache of each class: a bounded array of objects that one thread has flushed and another may refill
 * from, without the spans being touched. Last in, first out: what comes out is warm.
 */
#include <string.h>

#include "base/arena.h"
#include "central/central.h"
#include "central/transfer_cache.h"

/*
 * No class keeps more than this here, whatever max_transfer_slots allows: idle memory has to stay small beside the
 * thread caches.
 */
#define TRANSFER_BYTES ((size_t)256 << 10)

struct transfer_cache {
	struct lock lock;
	uint32_t count;
	void **slots; /* capacity_of(class) of them; NULL until the first return */
} CACHE_ALIGNED;

static struct transfer_cache transfer_caches[CLASS_COUNT];
bool transfer_enabled;

static size_t capacity_of(unsigned class)
{
	const struct size_class *info = &size_classes[class];

	return minimum((size_t)MAX_TRANSFER_SLOTS * info->batch, TRANSFER_BYTES / info->size);
}

static size_t take_cached(struct transfer_cache *cache, void **end, size_t count)
{
	size_t taken;

	lock_acquire(&cache->lock);
	taken = minimum(count, cache->count);
	store_relaxed(&cache->count, cache->count - (uint32_t)taken);
	if (taken != 0)
		memcpy(end - taken, cache->slots + cache->count, taken * sizeof(void *));
	lock_release(&cache->lock);
	return taken;
}

size_t transfer_take(unsigned class, void **end, size_t count)
{
	struct transfer_cache *cache = &transfer_caches[class];
	size_t taken = 0;

	/* A look without the lock may be wrong about the moment, never about the objects. */
	if (load_relaxed(&cache->count) != 0)
		taken = take_cached(cache, end, count);
	return taken == count ? count : taken + central_take(class, end - taken, count - taken);
}

/* The array is made outside the lock; whoever comes second gives his back. */
static bool provide_slots(struct transfer_cache *cache, size_t capacity)
{
	void **slots = arena_allocate(capacity * sizeof(void *));
	bool used;

	if (slots == NULL)
		return false;
	lock_acquire(&cache->lock);
	used = cache->slots == NULL;
	if (used)
		store_relaxed(&cache->slots, slots);
	lock_release(&cache->lock);
	if (!used)
		arena_free(slots, capacity * sizeof(void *));
	return true;
}

void transfer_return(unsigned class, void **objects, size_t count, const char *function)
{
	struct transfer_cache *cache = &transfer_caches[class];
	size_t capacity = capacity_of(class);
	size_t kept = 0;

	if (load_relaxed(&transfer_enabled) && capacity != 0 &&
	    (load_relaxed(&cache->slots) != NULL || provide_slots(cache, capacity))) {
		lock_acquire(&cache->lock);
		kept = minimum(count, capacity - cache->count);
		memcpy(cache->slots + cache->count, objects, kept * sizeof(void *));
		store_relaxed(&cache->count, cache->count + (uint32_t)kept);
		lock_release(&cache->lock);
	}
	central_return(class, objects + kept, count - kept, function);
}

size_t transfer_flush_class(unsigned class)
{
	enum { PART = 64 };
	void *objects[PART];
	size_t total = 0;
	size_t taken;

	if (load_relaxed(&transfer_caches[class].count) == 0)
		return 0;
	do {
		taken = take_cached(&transfer_caches[class], objects + PART, PART);
		central_return(class, objects + PART - taken, taken, "free");
		total += taken;
	} while (taken == PART);
	return total;
}

size_t transfer_flush(void)
{
	size_t total = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		total += transfer_flush_class(class);
	return total;
}

size_t transfer_count(unsigned class)
{
	return load_relaxed(&transfer_caches[class].count);
}

struct lock *transfer_lock(unsigned class)
{
	return &transfer_caches[class].lock;
}

/*
 * The per-thread cache: growing, refilling, flushing and shrinking its stacks, under a budget over all threads.
 *
 * A stack starts with no slots: the first object of a class comes from the central tier directly. Then it has 7,
 * 15, 31 ... slots (an array whose first word is the NULL below the bottom), doubling as long as refills or flushes
 * show that the present size is too small, up to the class's capacity. Beyond that it grows only for a thread whose
 * demand swings: that has emptied and filled the stack several times in turn. What a cache may hold (its slots
 * times the object size) is charged against its grant (registry.c).
 */
#include <string.h>

#include "base/arena.h"
#include "base/closed_cache.h"
#include "base/lock.h"
#include "base/message.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "frontend/thread_cache.h"
#include "pageheap/pageheap.h"

static size_t array_bytes(size_t capacity)
{
	return (capacity + 1) * sizeof(void *);
}

static void free_array(struct thread_cache *cache, unsigned class)
{
	if (cache->capacity[class] != 0)
		arena_free(bottom_of(cache, class) - 1, array_bytes(cache->capacity[class]));
}

/* Without an array the class is closed in this cache. */
static void set_no_array(struct thread_cache *cache, unsigned class)
{
	cache->stacks.top[class] = CLOSED_TOP;
	cache->stacks.limit[class] = CLOSED_TOP;
	cache->capacity[class] = 0;
}

/*
 * Replaces a class's array by one of another capacity, which holds at least what is in it. False: no memory,
 * nothing changed.
 */
static bool resize(struct thread_cache *cache, unsigned class, size_t capacity)
{
	size_t held = held_by(cache, class);
	size_t size = size_classes[class].size;
	void **array = NULL;

	if (capacity != 0) {
		array = arena_allocate(array_bytes(capacity));
		if (array == NULL)
			return false;
		if (held != 0)
			memcpy(array + 1, bottom_of(cache, class), held * sizeof(void *));
	}
	free_array(cache, class);
	cache->charged = cache->charged - cache->capacity[class] * size + capacity * size;
	if (capacity == 0) {
		set_no_array(cache, class);
		return true;
	}
	cache->capacity[class] = (uint16_t)capacity;
	cache->stacks.top[class] = array + 1 + held;
	cache->stacks.limit[class] = array + 1 + capacity;
	return true;
}

/* The next larger capacity, as far as the grant allows. False: not at all, or no memory. */
static bool grow(struct thread_cache *cache, unsigned class)
{
	size_t size = size_classes[class].size;
	size_t old = cache->capacity[class];
	size_t wanted = next_capacity(&cache->demand[class], class, old);
	size_t more;

	if (wanted <= old)
		return false;
	more = registry_obtain_grant(cache, (wanted - old) * size) / size;
	cache->demand[class].swings = 0;
	return more != 0 && resize(cache, class, old + more);
}

/* Gives the oldest `count` objects of a stack back. */
static void flush_bottom(struct thread_cache *cache, unsigned class, size_t count, const char *function)
{
	void **bottom = bottom_of(cache, class);
	size_t held = held_by(cache, class);

	transfer_return(class, bottom, count, function);
	memmove(bottom, bottom + count, (held - count) * sizeof(void *));
	cache->stacks.top[class] = bottom + held - count;
}

static void shrink(struct thread_cache *cache, unsigned class, size_t capacity)
{
	size_t held = held_by(cache, class);

	if (held > capacity)
		flush_bottom(cache, class, held - capacity, "free");
	resize(cache, class, capacity);
}

static void halve(struct thread_cache *cache, unsigned class)
{
	size_t capacity = cache->capacity[class];

	shrink(cache, class, capacity <= FIRST_CAPACITY ? 0 : capacity / 2);
}

/* Gives a stack up, which starts anew, if its objects hold spans that would go. False: they do not. */
static bool give_up(struct thread_cache *cache, unsigned class)
{
	size_t held = held_by(cache, class);

	if (held == 0 || likely(!central_wants_back(class, held)))
		return false;
	shrink(cache, class, 0);
	transfer_flush_class(class);
	return true;
}

/* A class that has neither come here nor changed since the last look has more than it needs. */
static void look_at(struct thread_cache *cache, unsigned class)
{
	if (demand_has_gone(&cache->demand[class], held_by(cache, class)) && cache->capacity[class] != 0 &&
	    !give_up(cache, class))
		halve(cache, class);
	cache->demand[class].seen = (uint16_t)held_by(cache, class);
}

/* Another thread has taken part of the grant. */
static void honour_grant(struct thread_cache *cache)
{
	for (unsigned class = CLASS_COUNT - 1; class > 0 && cache->charged > load_relaxed(&cache->grant); class --) {
		if (cache->capacity[class] != 0)
			halve(cache, class);
	}
}

static inline void count_visit(struct thread_cache *cache)
{
	if (++cache->visits % VISITS_PER_LOOK == 0) {
		cache->next_class = cache->next_class % (CLASS_COUNT - 1) + 1;
		look_at(cache, cache->next_class);
	}
	if (unlikely(cache->visits % VISITS_PER_TICK == 0))
		frontend_tick();
	if (unlikely(cache->charged > load_relaxed(&cache->grant)))
		honour_grant(cache);
}

/* Fills part of an empty stack and pops one object. */
static void *refill(struct thread_cache *cache, unsigned class)
{
	size_t capacity = cache->capacity[class];
	size_t wanted =
		minimum(maximum(demand_refill(&cache->demand[class], class, capacity), line_of(class)), capacity);
	void **bottom = bottom_of(cache, class);
	size_t taken = transfer_take(class, bottom + wanted, wanted);

	if (taken == 0)
		return NULL;
	if (taken < wanted)
		memmove(bottom, bottom + wanted - taken, taken * sizeof(void *));
	cache->stacks.top[class] = bottom + taken - 1;
	return bottom[taken - 1];
}

void *thread_cache_allocate(struct thread_cache *cache, unsigned class)
{
	bool first_time;
	bool wanting;

	/* A signal handler that came before the fast paths were open again finds the stack as it is; see also below. */
	if (unlikely(cache->stacks.top[class][-1] != NULL))
		return *--cache->stacks.top[class];
	count_visit(cache);
	first_time = cache->capacity[class] == 0 && !cache->demand[class].visited &&
		     !(load_relaxed(&transfer_enabled) && line_of(class) > 1);
	wanting = should_grow_for_refill(&cache->demand[class], class, cache->capacity[class]);
	if (first_time || (!(wanting && grow(cache, class)) && cache->capacity[class] == 0))
		return frontend_allocate_directly(class);
	return refill(cache, class);
}

/* Makes room in a full stack that has slots, or takes them all away. */
static void make_room(struct thread_cache *cache, unsigned class, const char *function)
{
	struct demand *demand = &cache->demand[class];

	if (should_shrink(demand, class, cache->capacity[class]))
		halve(cache, class);
	if (cache->capacity[class] != 0 && cache->stacks.top[class] == cache->stacks.limit[class])
		flush_bottom(cache, class, demand_step(demand, cache->capacity[class]), function);
}

void thread_cache_free(struct thread_cache *cache, unsigned class, void *object, const char *function)
{
	struct demand *demand = &cache->demand[class];

	if (unlikely(cache->stacks.top[class][-1] == object))
		frontend_freed_twice(class, object, function);
	/* The fast paths were closed for another reason than a full stack. */
	if (unlikely(cache->stacks.top[class] != cache->stacks.limit[class])) {
		*cache->stacks.top[class]++ = object;
		return;
	}
	count_visit(cache);
	note_free(demand);
	if (demand_is_freeing(demand))
		give_up(cache, class);
	if (!(should_grow_for_flush(demand, class, cache->capacity[class]) && grow(cache, class))) {
		if (cache->capacity[class] != 0)
			make_room(cache, class, function);
		if (cache->capacity[class] == 0) {
			transfer_return(class, &object, 1, function);
			return;
		}
	}
	*cache->stacks.top[class]++ = object;
}

void thread_cache_open(void)
{
	/*
	 * The main thread's TLS block is wiped once if malloc ran before the TLS image was copied (IRELATIVE
	 * resolvers): its cache is still in the registry then.
	 */
	struct thread_cache *cache = registry_find(thread_id());

	if (cache == NULL || cache->state != &thread_state) {
		cache = arena_allocate(sizeof(*cache));
		if (cache == NULL)
			return;
		cache->owner = thread_id();
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			set_no_array(cache, class);
		registry_add(cache);
	}
	cache->state = &thread_state;
	thread_state.cache = cache;
}

size_t thread_cache_flush(struct thread_cache *cache)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t held = held_by(cache, class);

		if (held != 0)
			flush_bottom(cache, class, held, "free");
		bytes += held * size_classes[class].size;
		if (cache->capacity[class] != 0)
			resize(cache, class, 0);
		cache->demand[class].visited = false;
	}
	return bytes;
}

void thread_cache_close(void)
{
	struct thread_cache *cache = thread_state.cache;
	bool one_left;

	thread_state.cache = NULL;
	thread_cache_flush(cache);
	one_left = registry_remove(cache);
	arena_free(cache, sizeof(*cache));
	if (one_left)
		transfer_flush();
}

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

/* Slots of a stack when it gets its first array: one cache line with the NULL. */
#define FIRST_CAPACITY 7

/* Turns from emptying to filling, or back, before a stack grows beyond its class's capacity. */
#define SWINGS_TO_GROW 4

/*
 * A stack whose thread only takes, or only frees, needs no more than a batch, or this many bytes: more of it would not be
 * used again by this thread. It costs memory in each class: 35 classes and two threads held 4.6 MiB when stacks grew to
 * their capacities, 1.5 with this.
 */
#define FLOW_BYTES ((size_t)8 << 10)

#define STREAK_LIMIT 3

/*
 * Flushes that count as one overage: a batch that is freed at once takes several, and the thread that allocates the
 * next one is not to find its stack halved (measured: 1000 objects of 1 KiB, 12 ns each with 1 here, 4.5 with 16).
 */
#define FLUSHES_PER_OVERAGE 16

/*
 * Each so many visits, one class is looked at. Stacks that are not used any more are the largest part of what a cache
 * wastes: looked at 32 times as rarely, two Python programs and sqlite of 50 MiB took 2 MiB more, and no less time.
 */
#define VISITS_PER_LOOK 4

/* Each so many visits, the page heap is told the time. */
#define VISITS_PER_TICK 512

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

/*
 * The objects of a cache line: fewer are not taken from the central tier, because another thread would get the others,
 * and the two would write to the same line.
 */
static size_t line_of(unsigned class)
{
	return CACHE_LINE / size_classes[class].size;
}

/* An array whose slots are one less than a power of two wastes none of the arena's memory. */
static size_t first_capacity(unsigned class)
{
	return line_of(class) > FIRST_CAPACITY ? 2 * FIRST_CAPACITY + 1 : FIRST_CAPACITY;
}

static size_t next_capacity(const struct thread_cache *cache, unsigned class)
{
	const struct size_class *info = &size_classes[class];
	size_t old = cache->capacity[class];

	if (old < info->capacity)
		return minimum(old == 0 ? first_capacity(class) : 2 * old + 1, info->capacity);
	return cache->swings[class] >= SWINGS_TO_GROW ? minimum(2 * old + 1, PEAK_CAPACITY) : old;
}

static size_t flow_capacity(unsigned class)
{
	return maximum(size_classes[class].batch, FLOW_BYTES / size_classes[class].size) - 1;
}

/* The next larger capacity, as far as the grant allows. False: not at all, or no memory. */
static bool grow(struct thread_cache *cache, unsigned class)
{
	size_t size = size_classes[class].size;
	size_t old = cache->capacity[class];
	size_t wanted = next_capacity(cache, class);
	size_t more;

	if (wanted <= old)
		return false;
	more = registry_obtain_grant(cache, (wanted - old) * size) / size;
	cache->swings[class] = 0;
	return more != 0 && resize(cache, class, old + more);
}

/* The stack has been found empty (direction 1) or full (-1). */
static void note_direction(struct thread_cache *cache, unsigned class, int direction)
{
	int streak = cache->streak[class];

	if (streak * direction > 0) {
		cache->streak[class] = (int8_t)(streak == direction * STREAK_LIMIT ? streak : streak + direction);
		return;
	}
	cache->streak[class] = (int8_t)direction;
	if (cache->swings[class] < UINT8_MAX)
		cache->swings[class]++;
}

/*
 * How many objects to refill or flush: an eighth of the stack after a turn, a quarter the next time in the same
 * direction, then half. A demand that swings by less than the stack holds so comes to rest: small steps find the
 * number of objects that neither runs out nor over.
 */
static size_t step(const struct thread_cache *cache, unsigned class)
{
	int streak = cache->streak[class];
	size_t slots = cache->capacity[class] + 1u;

	return maximum(slots >> (STREAK_LIMIT + 1 - (streak < 0 ? -streak : streak)), 1);
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

static void halve(struct thread_cache *cache, unsigned class)
{
	size_t capacity = cache->capacity[class] / 2;
	size_t held = held_by(cache, class);

	if (cache->capacity[class] <= FIRST_CAPACITY)
		capacity = 0;
	if (held > capacity)
		flush_bottom(cache, class, held - capacity, "free");
	resize(cache, class, capacity);
}

/* A class that has neither come here nor changed since the last look has more than it needs. */
static void look_at(struct thread_cache *cache, unsigned class)
{
	if (cache->capacity[class] != 0 && !cache->visited[class] && held_by(cache, class) == cache->seen[class])
		halve(cache, class);
	cache->visited[class] = false;
	cache->seen[class] = (uint16_t)held_by(cache, class);
}

static void tick(void)
{
	pageheap_tick();
	if (!pageheap_spare_fits())
		central_give_back_empty(false);
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
		tick();
	if (unlikely(cache->charged > load_relaxed(&cache->grant)))
		honour_grant(cache);
}

static void *allocate_directly(unsigned class)
{
	bool zeroed;

	return central_take_one(class, &zeroed);
}

/* Fills part of an empty stack and pops one object. */
static void *refill(struct thread_cache *cache, unsigned class)
{
	size_t wanted = minimum(maximum(step(cache, class), line_of(class)), cache->capacity[class]);
	void **bottom = bottom_of(cache, class);
	size_t taken = transfer_take(class, bottom + wanted, wanted);

	if (taken == 0)
		return NULL;
	if (taken < wanted)
		memmove(bottom, bottom + wanted - taken, taken * sizeof(void *));
	cache->stacks.top[class] = bottom + taken - 1;
	return bottom[taken - 1];
}

void *frontend_allocate(unsigned class)
{
	struct thread_cache *cache = thread_state.cache;
	bool first_time;
	bool wanting;

	if (unlikely(cache == NULL))
		return allocate_directly(class);
	/* A signal handler that came before the fast paths were open again finds the stack as it is. */
	if (unlikely(cache->stacks.top[class][-1] != NULL))
		return *--cache->stacks.top[class];
	count_visit(cache);
	first_time = cache->capacity[class] == 0 && !cache->visited[class] &&
		     !(load_relaxed(&transfer_enabled) && line_of(class) > 1);
	wanting = cache->capacity[class] < flow_capacity(class) || cache->overages[class] != 0;
	cache->visited[class] = true;
	cache->overages[class] = 0;
	note_direction(cache, class, 1);
	if (first_time || (!(wanting && grow(cache, class)) && cache->capacity[class] == 0))
		return allocate_directly(class);
	return refill(cache, class);
}

void *frontend_allocate_zeroed(unsigned class, bool *zeroed)
{
	return central_take_one(class, zeroed);
}

/*
 * Whether a full stack should grow: if it is small, or was refilled since the last flush (it swings). A stack that only ever overflows shrinks again: its thread frees what others allocate.
 */
static bool should_grow(struct thread_cache *cache, unsigned class)
{
	if (cache->capacity[class] < flow_capacity(class))
		return true;
	if (cache->overages[class] < UINT8_MAX)
		cache->overages[class]++;
	if (cache->overages[class] > minimum((size_t)MAX_OVERAGES * FLUSHES_PER_OVERAGE, UINT8_MAX - 1) &&
	    cache->capacity[class] / 2u > flow_capacity(class))
		halve(cache, class);
	return cache->overages[class] == 1;
}

static COLD _Noreturn void freed_twice(unsigned class, void *object, const char *function)
{
	const struct wrong_use use = {.function = function,
				      .pointer = object,
				      .what = "object is already free (double free)",
				      .class_size = size_classes[class].size};

	message_wrong_use(&use);
}

void frontend_free(unsigned class, void *object, const char *function)
{
	struct thread_cache *cache = thread_state.cache;

	if (unlikely(cache == NULL)) {
		central_return(class, &object, 1, function);
		return;
	}
	if (unlikely(cache->stacks.top[class][-1] == object))
		freed_twice(class, object, function);
	count_visit(cache);
	cache->visited[class] = true;
	note_direction(cache, class, -1);
	if (cache->stacks.top[class] == cache->stacks.limit[class] &&
	    !(should_grow(cache, class) && grow(cache, class))) {
		if (cache->capacity[class] == 0) {
			transfer_return(class, &object, 1, function);
			return;
		}
		if (cache->stacks.top[class] == cache->stacks.limit[class])
			flush_bottom(cache, class, step(cache, class), function);
	}
	*cache->stacks.top[class]++ = object;
}

void frontend_open_thread(void)
{
	struct thread_cache *cache;

	if (thread_state.phase != THREAD_NEW)
		return;
	/*
	 * The main thread's TLS block is wiped once if malloc ran before the TLS image was copied (IRELATIVE
	 * resolvers): its cache is still in the registry then.
	 */
	cache = registry_find(thread_id());
	if (cache == NULL) {
		cache = arena_allocate(sizeof(*cache));
		if (cache == NULL)
			return;
		cache->owner = thread_id();
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			set_no_array(cache, class);
		registry_add(cache);
	}
	cache->state = &thread_state;
	thread_state.phase = THREAD_OPEN;
	thread_state.cache = cache;
}

static size_t flush_all(struct thread_cache *cache)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t held = held_by(cache, class);

		if (held != 0)
			flush_bottom(cache, class, held, "free");
		bytes += held * size_classes[class].size;
		if (cache->capacity[class] != 0)
			resize(cache, class, 0);
		cache->visited[class] = false;
	}
	return bytes;
}

void frontend_close_thread(void)
{
	struct thread_cache *cache = thread_state.cache;
	bool one_left;

	thread_state.phase = THREAD_CLOSED;
	if (cache == NULL)
		return;
	thread_state.cache = NULL;
	flush_all(cache);
	one_left = registry_remove(cache);
	arena_free(cache, sizeof(*cache));
	if (one_left)
		transfer_flush();
}

size_t frontend_flush_thread(void)
{
	return thread_state.cache != NULL ? flush_all(thread_state.cache) : 0;
}

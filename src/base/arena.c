/* The metadata arena: a bump pointer, and a list of free blocks per size. */
#include "base/arena.h"

#include <string.h>

#include "base/lock.h"
#include "base/os.h"

/* One mapping per so much metadata: few system calls, and little address space for a small program. */
#define ARENA_STEP ((size_t)256 << 10)

/* Sizes up to this have a list each; above, blocks are powers of two. */
#define EXACT_LIMIT ((size_t)4096)
#define EXACT_BINS  (EXACT_LIMIT / ARENA_UNIT)
#define POWER_BINS  32

/*
 * The link is not in the first word: if the block was a stack's array, that holds the NULL below the bottom, and a
 * fast path that a signal handler interrupted may still be about to read it.
 */
struct free_block {
	void *below_bottom;
	struct free_block *next;
};

static struct {
	struct lock lock;
	uintptr_t next;   /* first byte never handed out */
	uintptr_t mapped; /* end of what is mapped */
	uintptr_t end;
	size_t mapped_bytes;
	size_t touched; /* used and free; atomic */
	size_t used;
	size_t free;
	struct free_block *bins[EXACT_BINS + 1 + POWER_BINS];
} arena;

uintptr_t arena_base;

void arena_initialise(uintptr_t base, size_t bytes)
{
	arena_base = base;
	arena.next = base + ARENA_UNIT;
	arena.mapped = base;
	arena.end = base + bytes;
}

static size_t block_size(size_t bytes)
{
	if (bytes <= EXACT_LIMIT)
		return round_up(maximum(bytes, 1), ARENA_UNIT);
	return (size_t)1 << (log2_floor(bytes - 1) + 1);
}

static struct free_block **bin_of(size_t block)
{
	if (block <= EXACT_LIMIT)
		return &arena.bins[block / ARENA_UNIT];
	return &arena.bins[EXACT_BINS + log2_floor(block / EXACT_LIMIT)];
}

/* Maps the next step; skips addresses that somebody else has taken. */
static bool map_step(size_t bytes)
{
	size_t step = round_up(bytes, ARENA_STEP);
	enum os_result result = OS_TAKEN;

	while (result == OS_TAKEN && arena.end - arena.mapped >= step) {
		result = os_map(arena.mapped, step);
		if (result == OS_TAKEN)
			arena.next = arena.mapped + step;
		if (result != OS_FAILED)
			arena.mapped += step;
	}
	if (result == OS_DONE)
		arena.mapped_bytes += step;
	return result == OS_DONE;
}

static void *take_new(size_t block)
{
	uintptr_t address;

	if (arena.next + block > arena.mapped && !map_step(arena.next + block - arena.mapped))
		return NULL;
	address = arena.next;
	arena.next += block;
	store_relaxed(&arena.touched, arena.touched + block);
	return (void *)address;
}

void *arena_allocate(size_t bytes)
{
	size_t block = block_size(bytes);
	struct free_block **bin = bin_of(block);
	struct free_block *reused;
	void *result;

	lock_acquire(&arena.lock);
	reused = *bin;
	if (reused != NULL) {
		*bin = reused->next;
		arena.free -= block;
		result = reused;
	} else {
		result = take_new(block);
	}
	if (result != NULL)
		arena.used += block;
	lock_release(&arena.lock);
	if (reused != NULL)
		memset(result, 0, block);
	return result;
}

void arena_free(void *address, size_t bytes)
{
	size_t block = block_size(bytes);
	struct free_block **bin = bin_of(block);
	struct free_block *freed = address;

	lock_acquire(&arena.lock);
	freed->next = *bin;
	*bin = freed;
	arena.used -= block;
	arena.free += block;
	lock_release(&arena.lock);
}

size_t arena_touched(void)
{
	return load_relaxed(&arena.touched);
}

void arena_read_statistics(struct arena_statistics *statistics)
{
	lock_acquire(&arena.lock);
	statistics->mapped = arena.mapped_bytes;
	statistics->used = arena.used;
	statistics->free = arena.free;
	lock_release(&arena.lock);
}

struct lock *arena_lock(void)
{
	return &arena.lock;
}

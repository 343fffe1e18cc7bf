/*
 * Allocation in a signal handler that interrupted the allocator: mappings in a table, claimed with atomic
 * operations.
 */
#define _GNU_SOURCE
#include "reentrant.h"

#include "base/closed_cache.h"
#include "base/os.h"
#include "base/thread_state.h"
#include "fast_path.h"
#include "frontend/frontend.h"
#include "frontend/thread_cache.h"
#include "observe/recording.h"

/* Handlers that allocate are rare, and keep little. */
#define BLOCKS 1024

struct block {
	uintptr_t mapping; /* 0: free; CLAIMED: being filled in */
	size_t mapped;
	uintptr_t start;
};

#define CLAIMED ((uintptr_t)1)

static struct block blocks[BLOCKS];
static bool closed_for_good;

void door_close_for_good(void)
{
	closed_for_good = true;
}

bool door_is_closed(void)
{
	return thread_state.in_door || closed_for_good;
}

bool door_enter(void)
{
	if (unlikely(door_is_closed()))
		return false;
	/*
	 * In this order, also for a signal handler of this thread: one that still finds malloc open can free what it gets,
	 * and none goes through the door and opens the fast paths again.
	 */
	thread_state.in_door = true;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(thread_state.recorder != NULL))
		thread_state.recorder->stacks = &closed_cache;
	thread_state.malloc_offset = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread_state.free_cache = (uintptr_t)&closed_cache;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

void door_leave(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread_state.in_door = false;
	if (likely(!recording_concerns_threads()))
		frontend_open_fast_paths();
	/*
	 * While recording is on they stay closed; the recorder's take their place. Looked at again: it may have begun, and
	 * closed what has just been opened, for all threads in the case of the CPUs'.
	 */
	if (unlikely(recording_concerns_threads())) {
		frontend_keep_fast_paths_closed();
		if (thread_state.recorder != NULL && thread_state.cache != NULL && recording_is_on())
			thread_state.recorder->stacks = &thread_state.cache->stacks;
	}
}

static struct block *claim(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		uintptr_t expected = 0;

		if (__atomic_compare_exchange_n(&blocks[i].mapping, &expected, CLAIMED, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return &blocks[i];
	}
	return NULL;
}

void *reentrant_allocate(size_t alignment, size_t size)
{
	struct block *block;
	uintptr_t mapping;

	alignment = maximum(alignment, os_page_size());
	if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX || (block = claim()) == NULL)
		return NULL;
	/* Sized deletes, whose fast path does not ask whether a pointer is the heap's, go to the door from now on. */
	store_relaxed(&sized_free_limit, 0);
	block->mapped = round_up(maximum(size, 1) + alignment - os_page_size(), os_page_size());
	mapping = os_map_anywhere(block->mapped);
	store_relaxed(&block->start, round_up(mapping, alignment));
	__atomic_store_n(&block->mapping, mapping, __ATOMIC_RELEASE);
	return mapping != 0 ? (void *)block->start : NULL;
}

static struct block *find(const void *pointer)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		if (__atomic_load_n(&blocks[i].mapping, __ATOMIC_ACQUIRE) > CLAIMED &&
		    load_relaxed(&blocks[i].start) == (uintptr_t)pointer)
			return &blocks[i];
	}
	return NULL;
}

size_t reentrant_size(const void *pointer)
{
	const struct block *block = find(pointer);

	return block != NULL ? block->mapping + block->mapped - block->start : 0;
}

bool reentrant_free(void *pointer)
{
	struct block *block = find(pointer);
	uintptr_t mapping;

	if (block == NULL)
		return false;
	mapping = load_relaxed(&block->mapping);
	/* No entry may name the addresses any more when another thread can get them from the kernel. */
	store_relaxed(&block->mapping, CLAIMED);
	os_unmap(mapping, block->mapped);
	__atomic_store_n(&block->mapping, 0, __ATOMIC_RELEASE);
	return true;
}

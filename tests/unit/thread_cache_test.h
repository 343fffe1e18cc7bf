/*
 * What the tests of the threads' caches share: looking into this thread's, filling it, and that nothing is left when a scenario's
 * thread has gone.
 */
#ifndef TIERMALLOC_TESTS_THREAD_CACHE_TEST_H
#define TIERMALLOC_TESTS_THREAD_CACHE_TEST_H

#include "heap_test.h"

#include "base/closed_cache.h"
#include "base/thread_state.h"
#include "frontend/frontend.h"

#define MAXIMUM_OBJECTS 20000

/* No stack ever has more slots: what thread_cache.c promises. */
#define PEAK_CAPACITY 2047

/* This thread's stacks: the first part of its cache. */
UNUSED static const struct cache_stacks *own_stacks(void)
{
	return (const struct cache_stacks *)thread_state.cache;
}

/* Objects on this thread's stack of a class: down to the NULL below the bottom. */
UNUSED static size_t held(unsigned class)
{
	size_t count = 0;

	while (own_stacks()->top[class][-1 - (ptrdiff_t)count] != NULL)
		count++;
	return count;
}

UNUSED static size_t capacity(unsigned class)
{
	return held(class) + (size_t)(own_stacks()->limit[class] - own_stacks()->top[class]);
}

/* Bytes that this thread's cache may hold. */
UNUSED static size_t charge(void)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		bytes += capacity(class) * size_classes[class].size;
	return bytes;
}

UNUSED static size_t charge_of_all(void)
{
	struct frontend_statistics statistics;

	frontend_read_statistics(&statistics);
	return statistics.capacity;
}

UNUSED static size_t caches(void)
{
	struct frontend_statistics statistics;

	frontend_read_statistics(&statistics);
	return statistics.caches;
}

UNUSED static size_t cached_of_all(void)
{
	size_t count = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		count += frontend_cached(class);
	return count;
}

/* After every scenario: its thread is gone, and everything is back. */
UNUSED static void require_nothing_left(void)
{
	struct statistics statistics;

	REQUIRE(caches() == 0 && cached_of_all() == 0, "%zu caches, %zu objects in them", caches(), cached_of_all());
	REQUIRE(!transfer_enabled, "the transfer caches are on without threads");
	statistics_read(&statistics);
	REQUIRE(statistics.in_use == 0 && statistics.transfer == 0, "%zu bytes in use, %zu in transfer caches",
		statistics.in_use, statistics.transfer);
	REQUIRE_VALID(heap_validate);
}

UNUSED static void *trim(void *unused)
{
	require_all_given_back();
	return unused;
}

/* In a thread of its own: trimming opens a cache. */
UNUSED static void trim_in_thread(void)
{
	run_in_thread(trim, NULL);
	require_nothing_left();
}

UNUSED static void allocate(void **objects, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		objects[i] = tm_malloc(size);
		REQUIRE(objects[i] != NULL, "out of memory");
	}
}

UNUSED static void release(void **objects, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tm_free(objects[i]);
}

UNUSED static void use(size_t count, size_t size)
{
	static __thread void *objects[MAXIMUM_OBJECTS];

	allocate(objects, count, size);
	release(objects, count);
}

/* Everybody waits here for everybody else. */
static pthread_barrier_t barrier;

UNUSED static void meet(void)
{
	pthread_barrier_wait(&barrier);
}

/* Few, so that none of them shrinks while the others are used. */
static const size_t budget_sizes[] = {256, 512, 1024};

UNUSED static void restore_limits(void)
{
	const struct frontend_limits limits = {THREAD_CACHE_SIZE, MIN_PER_THREAD_CACHE};

	frontend_set_limits(&limits);
}

#endif

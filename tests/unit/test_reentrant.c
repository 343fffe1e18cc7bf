/*
 * Signal handlers that interrupt the allocator's slow part: they are served from mappings of their own, the fast paths are closed to
 * them, and the heap does not change under the code that they have interrupted. Most tests go behind the door themselves, so that what
 * is interrupted is known; one sends signals to a thread at work.
 */
#include "heap_test.h"

#include "base/closed_cache.h"
#include "base/os.h"
#include "base/thread_state.h"
#include "fast_path.h"
#include "frontend/frontend.h"
#include "pageheap/page_map.h"
#include "reentrant.h"

#define MAXIMUM_BLOCKS 4000

static bool in_heap(const void *pointer)
{
	return in_window((uintptr_t)pointer);
}

/* Small objects are on this thread's stacks, where malloc would find them. */
static void fill_stack(size_t size)
{
	void *objects[40];

	for (size_t i = 0; i < COUNT_OF(objects); i++)
		objects[i] = tm_malloc(size);
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		tm_free(objects[i]);
}

static void fill_stacks(void)
{
	for (size_t size = 8; size <= 8 * KIB; size *= 2)
		fill_stack(size);
}

static void test_door_closes_the_fast_paths(void **state)
{
	void *inside;
	void *outside;
	struct statistics before;
	struct statistics after;

	(void)state;
	fill_stacks();
	statistics_read(&before);
	assert_true(door_enter());
	assert_false(door_enter());
	inside = tm_malloc(64);
	assert_non_null(inside);
	assert_false(in_heap(inside));
	tm_free(inside);
	statistics_read(&after);
	door_leave();
	assert_int_equal(after.cached, before.cached);
	assert_int_equal(after.in_use, before.in_use);
	outside = tm_malloc(64);
	assert_true(in_heap(outside));
	tm_free(outside);
	require_all_given_back();
}

/*
 * A handler may come when the door has been left and the fast paths are not open again yet. It then takes the way
 * through the door with stacks that are neither empty nor full.
 */
static void test_handler_before_the_fast_paths_are_open_again(void **state)
{
	size_t tested = 0;
	size_t cached;

	(void)state;
	for (size_t size = 8; size <= minimum(8 * KIB, LARGEST_CLASS_SIZE); size *= 2) {
		void *object;

		/* One after the other: where there are few classes, each is soon found idle while others are filled. */
		fill_stack(size);
		assert_int_equal(bytes_in_use(), 0);
		thread_state.malloc_offset = 0;
		thread_state.free_cache = (uintptr_t)&closed_cache;
		cached = frontend_cached(class_of_size(size));
		/* Where spans and stacks hold one object, it may not stay in the cache. */
		if (cached == 0 && size_classes[class_of_size(size)].objects == 1)
			continue;
		assert_true(cached != 0);
		tested++;
		object = tm_malloc(size);
		assert_true(in_heap(object));
		assert_int_equal(bytes_in_use(), tm_malloc_usable_size(object));
		assert_int_equal(frontend_cached(class_of_size(size)), cached - 1);
		thread_state.malloc_offset = 0;
		thread_state.free_cache = (uintptr_t)&closed_cache;
		tm_free(object);
		assert_int_equal(frontend_cached(class_of_size(size)), cached);
	}
	assert_true(tested != 0);
	require_all_given_back();
}

static void check_block(void *start, size_t size, size_t alignment)
{
	struct block block = {start, size, size + alignment};

	assert_non_null(start);
	assert_false(in_heap(start));
	assert_int_equal((uintptr_t)start % alignment, 0);
	assert_true(tm_malloc_usable_size(start) >= size);
	block_fill(&block);
	block_check(&block);
}

static void *aligned(size_t alignment, size_t size)
{
	void *start = NULL;

	assert_int_equal(tm_posix_memalign(&start, alignment, size), 0);
	return start;
}

/* Every function that allocates, behind the door. */
static void check_size(size_t size)
{
	void *start = tm_calloc(1, size);

	require_zero(start, size);
	check_block(start, size, 16);
	tm_free(start);
	start = tm_malloc(size);
	check_block(start, size, 16);
	tm_free(start);
	for (size_t alignment = 8; alignment <= 4 * MIB; alignment *= 8) {
		start = aligned(alignment, size);
		check_block(start, size, alignment);
		tm_free(start);
	}
	start = tm_reallocarray(NULL, size, 1);
	check_block(start, size, 16);
	assert_null(tm_realloc(start, 0));
}

static void test_every_function_behind_the_door(void **state)
{
	(void)state;
	fill_stacks();
	assert_true(door_enter());
	for (size_t size = 0; size <= 8 * MIB; size = size * 7 + 1)
		check_size(size);
	door_leave();
	require_all_given_back();
}

static void test_resize_behind_the_door(void **state)
{
	uint64_t random = seed_of_run("test_resize_behind_the_door");
	struct block block = {NULL, 0, 42};

	(void)state;
	assert_true(door_enter());
	for (int i = 0; i < 200; i++) {
		size_t size = 1 + random_below(&random, (size_t)1 << (1 + random_below(&random, 20)));

		block.start = tm_realloc(block.start, size);
		assert_non_null(block.start);
		assert_false(in_heap(block.start));
		block_check_below(&block, size);
		block.size = size;
		block_fill(&block);
	}
	tm_free(block.start);
	door_leave();
	require_all_given_back();
}

/* What a handler has allocated is the program's: used, resized into the heap and freed like any other block. */
static void test_blocks_outlive_the_door(void **state)
{
	struct block resized = {NULL, 5000, 1};
	struct block freed = {NULL, 3 * MIB, 2};

	(void)state;
	sized_free_limit = SMALL_SIZE;
	assert_true(door_enter());
	resized.start = tm_malloc(resized.size);
	freed.start = tm_malloc(freed.size);
	door_leave();
	/* A sized delete of one of them has to come to the door. */
	assert_int_equal(sized_free_limit, 0);
	block_fill(&resized);
	block_fill(&freed);
	assert_true(tm_malloc_usable_size(resized.start) >= resized.size);
	resized.start = tm_realloc(resized.start, 2 * MIB);
	assert_true(in_heap(resized.start));
	block_check(&resized);
	block_check(&freed);
	assert_int_equal(bytes_in_use(), 2 * MIB);
	tm_free(freed.start);
	tm_free(resized.start);
	require_all_given_back();
}

/* Memory of the heap can't be taken back there. It is not touched either: the interrupted code may be at work on it. */
static void test_heap_blocks_behind_the_door(void **state)
{
	struct block small = {tm_malloc(100), 100, 1};
	struct block large = {tm_malloc(2 * MIB), 2 * MIB, 2};
	struct block copies[2] = {small, large};
	size_t in_use = bytes_in_use();

	(void)state;
	block_fill(&small);
	block_fill(&large);
	assert_true(door_enter());
	assert_int_equal(tm_malloc_usable_size(large.start), 2 * MIB);
	copies[0].start = tm_realloc(small.start, 3000);
	copies[1].start = tm_realloc(large.start, 3 * MIB);
	for (int i = 0; i < 2; i++) {
		assert_non_null(copies[i].start);
		assert_false(in_heap(copies[i].start));
		block_check(&copies[i]);
		tm_free(copies[i].start);
	}
	tm_free(small.start);
	tm_free(large.start);
	door_leave();
	assert_int_equal(bytes_in_use(), in_use);
	REQUIRE_VALID(heap_validate);
	block_check(&small);
	block_check(&large);
	tm_free(small.start);
	tm_free(large.start);
	require_all_given_back();
}

/* Takes blocks until there are no more. Returns how many. */
static size_t fill_table(void **blocks)
{
	size_t count = 0;

	errno = 0;
	while (count < MAXIMUM_BLOCKS && (blocks[count] = tm_malloc(16)) != NULL)
		count++;
	assert_true(count < MAXIMUM_BLOCKS);
	assert_int_equal(errno, ENOMEM);
	return count;
}

static void empty_table(void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tm_free(blocks[i]);
}

static void test_table_fills_up_and_empties(void **state)
{
	void *blocks[MAXIMUM_BLOCKS];
	size_t count;

	(void)state;
	assert_true(door_enter());
	count = fill_table(blocks);
	assert_true(count >= 64);
	tm_free(blocks[count / 2]);
	blocks[count / 2] = tm_malloc(100);
	assert_non_null(blocks[count / 2]);
	assert_null(tm_malloc(100));
	assert_null(tm_calloc(1, 100));
	assert_null(tm_realloc(blocks[0], 100 * KIB));
	empty_table(blocks, count);
	assert_int_equal(fill_table(blocks), count);
	empty_table(blocks, count);
	door_leave();
	require_all_given_back();
}

static bool fail_all(enum os_call call)
{
	(void)call;
	return true;
}

static void require_refused(void *start)
{
	assert_null(start);
	assert_int_equal(errno, ENOMEM);
	errno = 0;
}

static void check_failures(void)
{
	void *untouched = &untouched;

	errno = 0;
	require_refused(tm_malloc(SIZE_MAX));
	require_refused(tm_malloc((size_t)PTRDIFF_MAX + 1));
	require_refused(tm_malloc(PTRDIFF_MAX));
	require_refused(tm_calloc(SIZE_MAX / 2, 3));
	require_refused(tm_calloc(1, PTRDIFF_MAX));
	require_refused(tm_aligned_alloc((size_t)1 << 63, 8));
	require_refused(tm_aligned_alloc((size_t)1 << 62, 8));
	require_refused(tm_aligned_alloc((size_t)1 << 62, PTRDIFF_MAX));
	assert_int_equal(tm_posix_memalign(&untouched, (size_t)1 << 62, 8), ENOMEM);
	assert_ptr_equal(untouched, &untouched);
	assert_int_equal(errno, 0);
	os_fault = fail_all;
	require_refused(tm_malloc(16));
	os_fault = NULL;
}

/* A failure leaves no place in the table taken. */
static void test_failures(void **state)
{
	void *blocks[MAXIMUM_BLOCKS];
	size_t count;

	(void)state;
	assert_true(door_enter());
	count = fill_table(blocks);
	empty_table(blocks, count);
	for (size_t i = 0; i < count; i++)
		check_failures();
	assert_int_equal(fill_table(blocks), count);
	empty_table(blocks, count);
	door_leave();
	require_all_given_back();
}

#define THREADS 4
#define HELD    20

/* Behind the door of one thread each; the table is everybody's. */
static void *work_behind_the_door(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	struct block blocks[HELD] = {0};

	REQUIRE(door_enter(), "the thread is behind the door");
	for (int i = 0; i < (SANITIZED ? 2000 : 10000); i++) {
		struct block *block = &blocks[random_below(&random, HELD)];

		if (block->start != NULL) {
			block_check(block);
			tm_free(block->start);
			block->start = NULL;
			continue;
		}
		*block = (struct block){NULL, 1 + random_below(&random, 20 * KIB), random_next(&random)};
		block->start = tm_malloc(block->size);
		REQUIRE(block->start != NULL, "the table is full");
		block_fill(block);
	}
	for (size_t i = 0; i < HELD; i++)
		tm_free(blocks[i].start);
	door_leave();
	return NULL;
}

static void test_threads_behind_the_door(void **state)
{
	uint64_t seed = seed_of_run("test_threads_behind_the_door");
	uint64_t seeds[THREADS];
	pthread_t threads[THREADS];
	void *blocks[MAXIMUM_BLOCKS];
	size_t count;

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		seeds[i] = seed + (uint64_t)i;
		threads[i] = thread_start(work_behind_the_door, &seeds[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* All places are free again. */
	assert_true(door_enter());
	count = fill_table(blocks);
	assert_true(count >= THREADS * HELD);
	empty_table(blocks, count);
	door_leave();
	require_all_given_back();
}

/* Of handlers in whatever thread; atomic. */
static int handled;
static int handled_behind_the_door;

static int read_count(const int *count)
{
	return __atomic_load_n(count, __ATOMIC_ACQUIRE);
}

/* Allocates, resizes and frees what it has allocated; one block of a class at a time. */
static void allocate_in_handler(int signal)
{
	int saved = errno;
	struct block block = {tm_malloc(100), 100, 7};
	bool behind_the_door = thread_state.in_door;

	(void)signal;
	REQUIRE(block.start != NULL, "out of memory");
	/* Behind the door the heap serves only a handler that came before the fast paths were closed. */
	REQUIRE(behind_the_door || in_heap(block.start), "the heap was not used");
	block_fill(&block);
	block.start = tm_realloc(block.start, 3000);
	REQUIRE(block.start != NULL, "out of memory");
	block_check(&block);
	tm_free(block.start);
	block.start = tm_calloc(10, 1000);
	require_zero(block.start, 10000);
	tm_free(block.start);
	__atomic_fetch_add(&handled_behind_the_door, behind_the_door, __ATOMIC_RELEASE);
	__atomic_fetch_add(&handled, 1, __ATOMIC_RELEASE);
	errno = saved;
}

static void handle(int signal)
{
	struct sigaction action = {.sa_handler = allocate_in_handler, .sa_flags = SA_RESTART};

	assert_int_equal(sigaction(signal, &action, NULL), 0);
}

static void test_handler_behind_the_door(void **state)
{
	(void)state;
	handle(SIGUSR1);
	handled = handled_behind_the_door = 0;
	fill_stacks();
	raise(SIGUSR1);
	assert_true(door_enter());
	raise(SIGUSR1);
	door_leave();
	raise(SIGUSR1);
	assert_int_equal(handled, 3);
	assert_int_equal(handled_behind_the_door, 1);
	require_all_given_back();
}

static bool enough; /* atomic */

/* Large blocks go through the door at every call, so that no fast path is interrupted, which is another matter. */
static void *work_under_signals(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	struct block blocks[HELD] = {0};

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		struct block *block = &blocks[random_below(&random, HELD)];
		size_t size = LARGEST_CLASS_SIZE + 1 + random_below(&random, 4 * MIB);

		if (block->start != NULL && random_below(&random, 2) == 0) {
			block_check(block);
			tm_free(block->start);
			*block = (struct block){0};
			continue;
		}
		block->start = tm_realloc(block->start, size);
		REQUIRE(block->start != NULL, "out of memory");
		block_check_below(block, size);
		*block = (struct block){block->start, size, random_next(&random)};
		block_fill(block);
	}
	for (size_t i = 0; i < HELD; i++)
		tm_free(blocks[i].start);
	return NULL;
}

#define WANTED_HITS     50
#define MAXIMUM_SIGNALS 100000

/* The next signal is sent when the last one has been handled. */
static void test_signals_to_a_thread_at_work(void **state)
{
	uint64_t seed = seed_of_run("test_signals_to_a_thread_at_work");
	pthread_t thread;
	int sent = 0;

	(void)state;
	handle(SIGUSR1);
	handled = handled_behind_the_door = 0;
	enough = false;
	thread = thread_start(work_under_signals, &seed);
	while (read_count(&handled_behind_the_door) < WANTED_HITS && sent < MAXIMUM_SIGNALS) {
		if (read_count(&handled) == sent)
			sent += pthread_kill(thread, SIGUSR1) == 0;
		else
			sched_yield();
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(read_count(&handled_behind_the_door) > 0);
	/* A handler that refills a stack in the middle of the fast path of free makes that lose the refill, and no more. */
	assert_true(bytes_in_use() <= (size_t)read_count(&handled) * 100);
	tm_malloc_trim(0);
	REQUIRE_VALID(heap_validate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_door_closes_the_fast_paths),
		cmocka_unit_test(test_handler_before_the_fast_paths_are_open_again),
		cmocka_unit_test(test_every_function_behind_the_door),
		cmocka_unit_test(test_resize_behind_the_door),
		cmocka_unit_test(test_blocks_outlive_the_door),
		cmocka_unit_test(test_heap_blocks_behind_the_door),
		cmocka_unit_test(test_table_fills_up_and_empties),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_threads_behind_the_door),
		cmocka_unit_test(test_handler_behind_the_door),
		cmocka_unit_test(test_signals_to_a_thread_at_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

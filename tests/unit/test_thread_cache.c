/*
 * The per-thread caches: slow start, growth and its bounds, steps of refill and flush, the budget over all threads, grants taken from
 * others, classes that fall idle, thread exit, flush. Each scenario runs in a thread of its own, whose cache is new; the thread that
 * runs the tests never has one.
 */
#include "heap_test.h"

#include "base/closed_cache.h"
#include "base/thread_state.h"
#include "fast_path.h"
#include "frontend/frontend.h"
#include "reentrant.h"

#define MAXIMUM_OBJECTS 20000

/* No stack ever has more slots: what thread_cache.c promises. */
#define PEAK_CAPACITY 2047

/* This thread's stacks: the first part of its cache. */
static const struct cache_stacks *own_stacks(void)
{
	return (const struct cache_stacks *)thread_state.cache;
}

/* Objects on this thread's stack of a class: down to the NULL below the bottom. */
static size_t held(unsigned class)
{
	size_t count = 0;

	while (own_stacks()->top[class][-1 - (ptrdiff_t)count] != NULL)
		count++;
	return count;
}

static size_t capacity(unsigned class)
{
	return held(class) + (size_t)(own_stacks()->limit[class] - own_stacks()->top[class]);
}

/* Bytes that this thread's cache may hold. */
static size_t charge(void)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		bytes += capacity(class) * size_classes[class].size;
	return bytes;
}

static size_t charge_of_all(void)
{
	struct frontend_statistics statistics;

	frontend_read_statistics(&statistics);
	return statistics.capacity;
}

static size_t caches(void)
{
	struct frontend_statistics statistics;

	frontend_read_statistics(&statistics);
	return statistics.caches;
}

static size_t cached_of_all(void)
{
	size_t count = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		count += frontend_cached(class);
	return count;
}

/* After every scenario: its thread is gone, and everything is back. */
static void require_nothing_left(void)
{
	struct statistics statistics;

	REQUIRE(caches() == 0 && cached_of_all() == 0, "%zu caches, %zu objects in them", caches(), cached_of_all());
	REQUIRE(!transfer_enabled, "the transfer caches are on without threads");
	statistics_read(&statistics);
	REQUIRE(statistics.in_use == 0 && statistics.transfer == 0, "%zu bytes in use, %zu in transfer caches",
		statistics.in_use, statistics.transfer);
	REQUIRE_VALID(heap_validate);
}

static void *trim(void *unused)
{
	require_all_given_back();
	return unused;
}

/* In a thread of its own: trimming opens a cache. */
static void trim_in_thread(void)
{
	run_in_thread(trim, NULL);
	require_nothing_left();
}

static void allocate(void **objects, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		objects[i] = tm_malloc(size);
		REQUIRE(objects[i] != NULL, "out of memory");
	}
}

static void release(void **objects, size_t count)
{
	for (size_t i = 0; i < count; i++)
		tm_free(objects[i]);
}

static void use(size_t count, size_t size)
{
	static __thread void *objects[MAXIMUM_OBJECTS];

	allocate(objects, count, size);
	release(objects, count);
}

static void *start_slowly(void *unused)
{
	unsigned class = small_class_of(64);
	void *first = tm_malloc(64);
	void *second;

	REQUIRE(caches() == 1, "no cache");
	REQUIRE(charge() == 0 && charge_of_all() == 0, "the first object has made a stack of %zu slots",
		capacity(class));
	REQUIRE(frontend_cached(class) == 0, "the first object has brought others along");
	second = tm_malloc(64);
	REQUIRE(capacity(class) != 0 && capacity(class) <= 7, "the second object has made a stack of %zu slots",
		capacity(class));
	REQUIRE(held(class) <= capacity(class), "too many");
	REQUIRE(charge_of_all() == capacity(class) * 64, "charged with %zu", charge_of_all());
	tm_free(first);
	tm_free(second);
	return unused;
}

static void test_slow_start(void **state)
{
	(void)state;
	run_in_thread(start_slowly, NULL);
	require_nothing_left();
}

/* Sizes that the grant of one thread has room for at their full capacity. */
static const size_t growing_sizes[] = {8, 64, 1024, 8192, 65536};

static void require_growth(unsigned class, size_t *before)
{
	size_t now = capacity(class);

	REQUIRE(now >= *before, "a growing stack shrank from %zu to %zu", *before, now);
	/* Of the smallest class, two lines of objects at first: another thread has a cache, too. */
	REQUIRE(now <= maximum(class == 1 ? 15 : 7, 2 * *before + 1), "a stack grew from %zu to %zu at once", *before,
		now);
	REQUIRE(now <= size_classes[class].capacity, "%zu slots are more than the class's", now);
	REQUIRE(held(class) <= now && frontend_cached(class) == held(class), "%zu objects in %zu slots", held(class),
		now);
	*before = now;
}

static void *grow_by_allocating(void *argument)
{
	size_t size = *(const size_t *)argument;
	unsigned class = class_of_size(size);
	static void *objects[MAXIMUM_OBJECTS];
	size_t count = minimum(MAXIMUM_OBJECTS, 32 * MIB / size);
	size_t before = 0;

	for (size_t i = 0; i < count; i++) {
		allocate(&objects[i], 1, size);
		if (i % 7 == 0 || i < 100)
			require_growth(class, &before);
	}
	/* A thread that only takes gets no more than it needs for that, one that takes and frees in turn all that it may have. */
	REQUIRE(capacity(class) + 1u >= size_classes[class].batch &&
			capacity(class) * size <= maximum(32 * KIB, 7 * size),
		"%zu slots after %zu objects of %zu bytes", capacity(class), count, size);
	release(objects, count);
	count = minimum(count, size_classes[class].capacity + 1u);
	for (int round = 0; round < 12; round++) {
		allocate(objects, count, size);
		release(objects, count);
	}
	REQUIRE(capacity(class) >= size_classes[class].capacity, "%zu slots after swings of %zu objects of %zu bytes",
		capacity(class), count, size);
	REQUIRE_VALID(frontend_validate);
	return NULL;
}

static void test_growth_up_to_the_capacity(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(growing_sizes); i++) {
		size_t size = growing_sizes[i];

		run_in_thread(grow_by_allocating, &size);
		require_nothing_left();
	}
}

/* A demand that swings by more than the stack holds makes it grow beyond the class's capacity, until the swing fits. */
static void *swing(void *unused)
{
	unsigned class = small_class_of(512);

	for (int i = 0; i < 60; i++)
		use(900, 512);
	REQUIRE(capacity(class) > size_classes[class].capacity, "%zu slots after swings of 900 objects",
		capacity(class));
	for (int i = 0; i < 60; i++)
		use(5000, 512);
	REQUIRE(capacity(class) <= PEAK_CAPACITY && capacity(class) <= MAX_FREE_LIST_LENGTH, "%zu slots",
		capacity(class));
	REQUIRE(charge() <= THREAD_CACHE_SIZE, "charged with %zu", charge());
	return unused;
}

static void test_swings_grow_further(void **state)
{
	(void)state;
	run_in_thread(swing, NULL);
	require_nothing_left();
}

/* Everybody waits here for everybody else. */
static pthread_barrier_t barrier;

static void meet(void)
{
	pthread_barrier_wait(&barrier);
}

static void *shared_objects[MAXIMUM_OBJECTS];

static void *produce(void *unused)
{
	allocate(shared_objects, MAXIMUM_OBJECTS, 64);
	meet();
	meet();
	return unused;
}

/* A stack that only ever overflows stays small. */
static void *consume(void *unused)
{
	unsigned class = small_class_of(64);

	meet();
	release(shared_objects, MAXIMUM_OBJECTS);
	REQUIRE(capacity(class) * size_classes[class].size <= 16 * KIB, "%zu slots for objects of others",
		capacity(class));
	REQUIRE_VALID(central_validate);
	meet();
	return unused;
}

static void test_objects_of_others(void **state)
{
	pthread_t producer;
	pthread_t consumer;

	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	producer = thread_start(produce, NULL);
	consumer = thread_start(consume, NULL);
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
	pthread_barrier_destroy(&barrier);
	require_nothing_left();
}

/* Few, so that none of them shrinks while the others are used. */
static const size_t budget_sizes[] = {256, 512, 1024};

#define HONOURING 12

/* Comes to the door without asking for more: the first object of a class never does. So what was taken of the grant is honoured. */
static void honour(void **objects)
{
	for (size_t i = 0; i < HONOURING; i++)
		objects[i] = tm_malloc(size_classes[CLASS_COUNT - 1 - i].size);
}

/* A stack grows while its thread empties and fills it in turn. */
static void swing_in_all_sizes(void)
{
	for (size_t i = 0; i < COUNT_OF(budget_sizes); i++) {
		for (int round = 0; round < 8; round++)
			use(3000, budget_sizes[i]);
	}
}

static void *fill_cache(void *unused)
{
	void *objects[HONOURING];

	swing_in_all_sizes();
	meet();
	honour(objects);
	meet();
	/* Is looked at. */
	meet();
	release(objects, HONOURING);
	return unused;
}

#define THREADS 4

static void restore_limits(void)
{
	const struct frontend_limits limits = {THREAD_CACHE_SIZE, MIN_PER_THREAD_CACHE};

	frontend_set_limits(&limits);
}

/*
 * Whoever comes when the budget is used up gets its minimum all the same: all together may exceed the budget by the minima of all but
 * the first.
 */
static void check_budget(size_t total, size_t per_thread)
{
	size_t bound = total + (THREADS - 1) * per_thread;
	const struct frontend_limits limits = {total, per_thread};
	pthread_t threads[THREADS];

	frontend_set_limits(&limits);
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		threads[i] = thread_start(fill_cache, NULL);
	meet();
	meet();
	REQUIRE(charge_of_all() <= bound, "the caches may hold %zu of %zu bytes", charge_of_all(), bound);
	REQUIRE(charge_of_all() >= bound / 4, "the caches may hold only %zu of %zu bytes", charge_of_all(), bound);
	meet();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	restore_limits();
	require_nothing_left();
}

static void test_budget_over_all_threads(void **state)
{
	(void)state;
	assert_true(size_classes[CLASS_COUNT - HONOURING].size > budget_sizes[COUNT_OF(budget_sizes) - 1]);
	check_budget(2 * MIB, 64 * KIB);
	check_budget(256 * KIB, 256 * KIB);
}

static size_t charge_of_first;

static void *take_all_budget(void *unused)
{
	void *objects[HONOURING];

	swing_in_all_sizes();
	charge_of_first = charge();
	meet();
	/* Now the other one grows. */
	meet();
	honour(objects);
	REQUIRE(charge() < charge_of_first, "what was taken of the grant has not been given up");
	meet();
	meet();
	release(objects, HONOURING);
	return unused;
}

static void *take_from_the_other(void *unused)
{
	size_t before;

	meet();
	before = charge_of_all();
	swing_in_all_sizes();
	REQUIRE(before == charge_of_first, "the first one has passed the door");
	REQUIRE(charge() > 64 * KIB, "nothing was taken from the other cache's grant, and the budget is used up");
	meet();
	meet();
	REQUIRE(charge_of_all() <= MIB + 64 * KIB, "the caches may hold %zu", charge_of_all());
	meet();
	return unused;
}

/* One thread has the whole budget of 1 MiB; the other gets more than its minimum all the same. */
static void test_grants_are_taken_from_others(void **state)
{
	const struct frontend_limits limits = {MIB, 64 * KIB};
	pthread_t first;
	pthread_t second;

	(void)state;
	frontend_set_limits(&limits);
	pthread_barrier_init(&barrier, NULL, 2);
	first = thread_start(take_all_budget, NULL);
	second = thread_start(take_from_the_other, NULL);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	assert_true(charge_of_first > 768 * KIB && charge_of_first <= MIB);
	pthread_barrier_destroy(&barrier);
	restore_limits();
	require_nothing_left();
}

/*
 * A class that is not used any more loses its stack while the thread uses another one: one whose objects the grant has no room for,
 * so that each call comes to the door.
 */
static void *let_class_idle(void *unused)
{
	unsigned class = small_class_of(64);
	size_t other = size_classes[CLASS_COUNT - 1].size;
	int rounds = 0;

	use(5000, 64);
	REQUIRE(held(class) != 0, "nothing is cached");
	while (capacity(class) != 0 && ++rounds < 200000)
		use(1, other);
	REQUIRE(capacity(class) == 0, "an idle class still has %zu slots", capacity(class));
	REQUIRE(frontend_cached(class) == 0, "an idle class still has objects");
	use(5000, 64);
	REQUIRE(capacity(class) != 0, "the class has not come back");
	return unused;
}

static void test_idle_class_shrinks(void **state)
{
	const struct frontend_limits limits = {256 * KIB, 256 * KIB};

	(void)state;
	frontend_set_limits(&limits);
	run_in_thread(let_class_idle, NULL);
	restore_limits();
	require_nothing_left();
}

static void *flush_often(void *unused)
{
	static void *objects[1000];

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < COUNT_OF(budget_sizes); i++)
			use(1000, budget_sizes[i]);
		allocate(objects, 1000, 80);
		REQUIRE(cached_of_all() != 0, "nothing is cached");
		tm_tiermalloc_thread_idle();
		REQUIRE(cached_of_all() == 0 && charge() == 0 && charge_of_all() == 0, "%zu objects after a flush",
			cached_of_all());
		REQUIRE(bytes_in_use() == 80 * 1000, "%zu bytes in use", bytes_in_use());
		REQUIRE_VALID(heap_validate);
		release(objects, 1000);
	}
	return unused;
}

static void test_flush(void **state)
{
	(void)state;
	run_in_thread(flush_often, NULL);
	require_nothing_left();
}

/* Leaves a full cache behind. */
static void *exit_with_full_cache(void *unused)
{
	for (size_t i = 0; i < COUNT_OF(budget_sizes); i++)
		use(300, budget_sizes[i]);
	REQUIRE(cached_of_all() != 0, "nothing is cached");
	return unused;
}

static size_t metadata_used(void)
{
	struct arena_statistics statistics;

	arena_read_statistics(&statistics);
	return statistics.used;
}

/* Its cache, its stacks and its share of the budget come back, whoever is next. */
static void test_thread_exit_gives_all_back(void **state)
{
	size_t metadata;

	(void)state;
	run_in_thread(exit_with_full_cache, NULL);
	trim_in_thread();
	metadata = metadata_used();
	for (int i = 0; i < 200; i++) {
		run_in_thread(exit_with_full_cache, NULL);
		require_nothing_left();
	}
	trim_in_thread();
	assert_int_equal(metadata_used(), metadata);
	/* 200 minimum shares would have used up the budget. */
	check_budget(2 * MIB, 64 * KIB);
}

static pthread_key_t late_key;

/* Runs several times: with the cache, and after it is gone. */
static void allocate_late(void *value)
{
	uintptr_t rounds = (uintptr_t)value;

	use(100, 64);
	use(3, 2 * MIB);
	tm_free(tm_realloc(tm_malloc(100), 5000));
	if (rounds > 1)
		pthread_setspecific(late_key, (void *)(rounds - 1));
}

static void *set_late_destructor(void *unused)
{
	pthread_setspecific(late_key, (void *)3);
	use(100, 64);
	return unused;
}

static void test_destructors_after_the_cache_is_gone(void **state)
{
	(void)state;
	assert_int_equal(pthread_key_create(&late_key, allocate_late), 0);
	for (int i = 0; i < 20; i++) {
		run_in_thread(set_late_destructor, NULL);
		require_nothing_left();
	}
	pthread_key_delete(late_key);
	trim_in_thread();
}

static void *see_transfer_caches(void *unused)
{
	use(10, 64);
	meet();
	REQUIRE(caches() == 2 && transfer_enabled, "two threads, and nothing to exchange through");
	meet();
	return unused;
}

/* With one thread there is nobody to exchange with. */
static void *be_alone(void *unused)
{
	pthread_t other;

	use(10, 64);
	REQUIRE(!transfer_enabled, "one thread, and transfer caches");
	other = thread_start(see_transfer_caches, NULL);
	meet();
	meet();
	pthread_join(other, NULL);
	REQUIRE(caches() == 1 && !transfer_enabled, "one thread again, and transfer caches");
	return unused;
}

static void test_transfer_caches_are_for_several_threads(void **state)
{
	(void)state;
	pthread_barrier_init(&barrier, NULL, 2);
	run_in_thread(be_alone, NULL);
	pthread_barrier_destroy(&barrier);
	require_nothing_left();
}

/* What the last one freed was is known at once. */
static void free_twice(const void *unused)
{
	void *objects[4];

	(void)unused;
	allocate(objects, 4, 64);
	fprintf(stderr, "%p\n", objects[2]);
	tm_free(objects[2]);
	tm_free(objects[2]);
	/* Never freed for good: the line above has to stop the process. */
}

static void test_double_free_at_once(void **state)
{
	struct captured captured;
	char expected[256];
	void *object = NULL;

	(void)state;
	capture_child(free_twice, NULL, &captured);
	assert_int_equal(sscanf(captured.text, "%p", &object), 1);
	snprintf(expected, sizeof(expected),
		 "%p\ntiermalloc: free(%p): object is already free (double free); size class 64\n", object, object);
	assert_string_equal(captured.text, expected);
	assert_aborted(&captured);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_growth_up_to_the_capacity),
		cmocka_unit_test(test_swings_grow_further),
		cmocka_unit_test(test_objects_of_others),
		cmocka_unit_test(test_budget_over_all_threads),
		cmocka_unit_test(test_grants_are_taken_from_others),
		cmocka_unit_test(test_idle_class_shrinks),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_thread_exit_gives_all_back),
		cmocka_unit_test(test_destructors_after_the_cache_is_gone),
		cmocka_unit_test(test_transfer_caches_are_for_several_threads),
		cmocka_unit_test(test_double_free_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

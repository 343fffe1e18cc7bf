/*
 * The per-thread caches: slow start, growth and its bounds, steps of refill and flush, the budget over all threads, grants taken from
 * others, classes that fall idle, thread exit, flush. Each scenario runs in a thread of its own, whose cache is new; the thread that
 * runs the tests never has one.
 */
#include "heap_test.h"

#include "base/closed_cache.h"
#include "base/options.h"
#include "base/thread_state.h"
#include "fast_path.h"
#include "frontend/frontend.h"
#include "pageheap/pageheap.h"
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
	unsigned class = class_near(64);
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
	REQUIRE(charge_of_all() == capacity(class) * size_classes[class].size, "charged with %zu", charge_of_all());
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

/* Sizes that the budget has room for at their full capacity. */
static const size_t growing_sizes[] = {8, 64, 1024, 8192, 65536};

/* Slots of a stack that has just got some. Of the smallest class, two lines of objects: another thread has a cache, too. */
static size_t first_slots(unsigned class)
{
	return CACHE_LINE / size_classes[class].size > 7 ? 15 : 7;
}

/* To so many slots a stack grows that is only ever found empty, or only ever full: doubled until they hold a batch, or 8 KiB. */
static size_t flow_slots(unsigned class)
{
	const struct size_class *info = &size_classes[class];
	size_t needed = maximum(info->batch, 8 * KIB / info->size) - 1;
	size_t slots = first_slots(class);

	while (slots < needed)
		slots = 2 * slots + 1;
	return minimum(slots, info->capacity);
}

static void require_growth(unsigned class, size_t *before)
{
	size_t now = capacity(class);

	REQUIRE(now >= *before, "a growing stack shrank from %zu to %zu", *before, now);
	REQUIRE(now <= maximum(first_slots(class), 2 * *before + 1), "a stack grew from %zu to %zu at once", *before,
		now);
	REQUIRE(now <= size_classes[class].capacity, "%zu slots are more than the class's", now);
	REQUIRE(held(class) <= now && frontend_cached(class) == held(class), "%zu objects in %zu slots", held(class),
		now);
	*before = now;
}

static void *grow_by_allocating(void *argument)
{
	unsigned class = *(const unsigned *)argument;
	size_t size = size_classes[class].size;
	static void *objects[MAXIMUM_OBJECTS];
	size_t count = minimum(MAXIMUM_OBJECTS, 32 * MIB / size);
	size_t before = 0;

	for (size_t i = 0; i < count; i++) {
		allocate(&objects[i], 1, size);
		if (i % 7 == 0 || i < 100)
			require_growth(class, &before);
	}
	/* A thread that only takes gets no more than it needs for that, one that takes and frees in turn all that it may have. */
	REQUIRE(capacity(class) + 1u >= size_classes[class].batch && capacity(class) <= flow_slots(class),
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
		unsigned class = class_near(growing_sizes[i]);

		run_in_thread(grow_by_allocating, &class);
		require_nothing_left();
	}
}

/* A demand that swings by more than the stack holds makes it grow beyond the class's capacity, until the swing fits. */
static void *swing(void *unused)
{
	unsigned class = class_near(512);

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

#define LARGE_SWING 1000

/*
 * Also one that empties and fills the stack many times in each direction; and nothing is taken that is not asked for. With so much
 * kept in any case that no stack is given up for its spans.
 */
static void *swing_in_large_objects(void *unused)
{
	static void *objects[LARGE_SWING];
	unsigned class = class_near(16 * KIB);
	size_t size = size_classes[class].size;

	pageheap_set_retain((size_t)1 << 40);
	for (int i = 0; i < 60; i++) {
		allocate(objects, LARGE_SWING, size);
		REQUIRE(held(class) * size <= 128 * KIB, "%zu objects of %zu bytes too many", held(class), size);
		release(objects, LARGE_SWING);
	}
	REQUIRE(capacity(class) > size_classes[class].capacity, "%zu slots after swings of %d objects",
		capacity(class), LARGE_SWING);
	pageheap_set_retain(DEFAULT_RETAIN);
	return unused;
}

static void test_swings_grow_further(void **state)
{
	(void)state;
	if (minimum(PEAK_CAPACITY, MAX_FREE_LIST_LENGTH) <= size_classes[class_near(512)].capacity) {
		not_tested("growth beyond the capacity", "this profile has the greatest capacity from the start");
		return;
	}
	run_in_thread(swing, NULL);
	require_nothing_left();
	if (size_classes[class_near(16 * KIB)].size > 64 * KIB) {
		not_tested("swings of large objects", "this profile has none of about 16 KiB");
		return;
	}
	run_in_thread(swing_in_large_objects, NULL);
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

/* A stack that only ever overflows stays small; it may grow once when it first overflows. */
static void *consume(void *unused)
{
	unsigned class = class_near(64);

	meet();
	release(shared_objects, MAXIMUM_OBJECTS);
	REQUIRE(capacity(class) <= 2 * flow_slots(class) + 1, "%zu slots for objects of others",
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

static bool is_budget_class(unsigned class)
{
	for (size_t i = 0; i < COUNT_OF(budget_sizes); i++) {
		if (class_near(budget_sizes[i]) == class)
			return true;
	}
	return false;
}

/* Whether the first object of a class is all that comes with it, and its stack does not grow. */
static bool comes_alone(unsigned class)
{
	size_t size = size_classes[class].size;

	return size <= LARGEST_CLASS_SIZE && class_of_size(size) == class && 2 * size > CACHE_LINE && !is_budget_class(class);
}

/* Whether the same is true of every further object while none is freed: a batch is one, and 8 KiB are less than one. */
static bool all_come_alone(unsigned class)
{
	return comes_alone(class) && size_classes[class].batch == 1 && size_classes[class].size > 8 * KIB;
}

/* Comes to the door once. */
static void **knock(void **end, unsigned class)
{
	*end = tm_malloc(size_classes[class].size);
	return end + 1;
}

/*
 * Comes to the door without asking for more: so what was taken of the grant is honoured. Takes the first object of the largest classes,
 * and where there are few classes, more objects of them. Returns how many objects.
 */
static size_t honour(void **objects)
{
	void **end = objects;

	for (unsigned class = CLASS_COUNT - 1; class > 0 && end < objects + HONOURING; class--) {
		if (comes_alone(class))
			end = knock(end, class);
	}
	for (unsigned class = CLASS_COUNT - 1; class > 0; class--) {
		while (all_come_alone(class) && end < objects + HONOURING)
			end = knock(end, class);
	}
	return (size_t)(end - objects);
}

/* Bytes that the stacks of the classes that are used may come to hold, where the budget allows. */
static size_t greatest_charge(void)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class++) {
		if (is_budget_class(class))
			bytes += minimum(PEAK_CAPACITY, MAX_FREE_LIST_LENGTH) * size_classes[class].size;
	}
	return bytes;
}

/* Whether the profile has the classes for a test of the budget. */
static bool has_budget_classes(void)
{
	unsigned able = 0;
	bool all_able = false;
	bool long_enough = true;

	/* A shorter stack comes to the door so often that the others are found idle. */
	for (size_t i = 0; i < COUNT_OF(budget_sizes); i++)
		long_enough = long_enough && size_classes[class_near(budget_sizes[i])].capacity >= 200;
	for (unsigned class = 1; class < CLASS_COUNT; class++) {
		able += comes_alone(class);
		all_able = all_able || all_come_alone(class);
	}
	if (long_enough && greatest_charge() >= 2 * MIB && (able >= 8 || all_able))
		return true;
	not_tested("the budget", "stacks of this profile are too short for it, or it has too few other classes");
	return false;
}

/* A stack grows while its thread empties and fills it in turn. */
static void swing_in_all_sizes(void)
{
	for (size_t i = 0; i < COUNT_OF(budget_sizes); i++) {
		/* But not for far more objects than it may come to hold. */
		size_t count = minimum(3000, 3 * MIB / size_classes[class_near(budget_sizes[i])].size);

		for (int round = 0; round < 8; round++)
			use(count, budget_sizes[i]);
	}
}

static void *fill_cache(void *unused)
{
	void *objects[HONOURING];
	size_t count;

	swing_in_all_sizes();
	meet();
	count = honour(objects);
	meet();
	/* Is looked at. */
	meet();
	release(objects, count);
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
	if (!has_budget_classes())
		return;
	check_budget(2 * MIB, 64 * KIB);
	check_budget(256 * KIB, 256 * KIB);
}

static size_t charge_of_first;

static void *take_all_budget(void *unused)
{
	void *objects[HONOURING];
	size_t count;

	swing_in_all_sizes();
	charge_of_first = charge();
	meet();
	/* Now the other one grows. */
	meet();
	count = honour(objects);
	REQUIRE(charge() < charge_of_first, "what was taken of the grant has not been given up");
	meet();
	meet();
	release(objects, count);
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
	if (!has_budget_classes())
		return;
	if (STEAL_AMOUNT > MIB / 2) {
		not_tested("taking from others", "nobody has the steal_amount of this profile to give");
		return;
	}
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

#define IDLE_GRANT (256 * KIB)

/*
 * A class that is not used any more loses its stack while the thread uses another one: so many objects of it that the grant has no room
 * for them, and some calls come to the door each time. Of the default profile's, one is enough.
 */
static void *let_class_idle(void *unused)
{
	unsigned class = class_near(64);
	size_t other = LARGEST_CLASS_SIZE;
	size_t count = IDLE_GRANT / other + 1;
	int rounds = 0;

	use(5000, 64);
	REQUIRE(held(class) != 0, "nothing is cached");
	while (capacity(class) != 0 && ++rounds < 200000)
		use(count, other);
	REQUIRE(capacity(class) == 0, "an idle class still has %zu slots", capacity(class));
	REQUIRE(frontend_cached(class) == 0, "an idle class still has objects");
	use(5000, 64);
	REQUIRE(capacity(class) != 0, "the class has not come back");
	return unused;
}

static void test_idle_class_shrinks(void **state)
{
	const struct frontend_limits limits = {IDLE_GRANT, IDLE_GRANT};

	(void)state;
	if (class_near(64) == class_near(LARGEST_CLASS_SIZE)) {
		not_tested("an idle class", "this profile has one class");
		return;
	}
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
		use(1, 80);
		REQUIRE(cached_of_all() != 0, "nothing is cached");
		tm_tiermalloc_thread_idle();
		REQUIRE(cached_of_all() == 0 && charge() == 0 && charge_of_all() == 0, "%zu objects after a flush",
			cached_of_all());
		REQUIRE(bytes_in_use() == 1000 * tm_malloc_usable_size(objects[0]), "%zu bytes in use", bytes_in_use());
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
	if (has_budget_classes())
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
		 "%p\ntiermalloc: free(%p): object is already free (double free); size class %u\n", object, object,
		 size_classes[class_near(64)].size);
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

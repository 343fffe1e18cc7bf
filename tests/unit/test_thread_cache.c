/*
 * The per-thread caches: slow start, growth and its bounds, steps of refill and flush, classes that fall idle, flush, the end of a
 * thread as its destructors see it. Each scenario runs in a thread of its own, whose cache is new; the thread that runs the tests
 * never has one. The budget that the caches share is in test_registry.c.
 */
#include "thread_cache_test.h"

#include "base/options.h"
#include "fast_path.h"
#include "pageheap/pageheap.h"
#include "reentrant.h"

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
		cmocka_unit_test(test_idle_class_shrinks),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_destructors_after_the_cache_is_gone),
		cmocka_unit_test(test_transfer_caches_are_for_several_threads),
		cmocka_unit_test(test_double_free_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

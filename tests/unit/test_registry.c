/*
 * The budget that all threads' caches share: its bounds, grants that are taken from another cache, and what comes back when a thread
 * ends. Each scenario's threads have new caches; the thread that runs the tests never has one.
 */
#include "thread_cache_test.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budget_over_all_threads),
		cmocka_unit_test(test_grants_are_taken_from_others),
		cmocka_unit_test(test_thread_exit_gives_all_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

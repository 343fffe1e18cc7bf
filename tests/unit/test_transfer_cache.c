/*
 * The transfer caches against a model: last in, first out; bounded; what does not fit goes to the free lists and what is missing comes
 * from there; nothing is kept while there is one thread; nothing is lost or handed out twice between threads.
 */
#include "heap_test.h"

#include "base/options.h"
#include "central/central.h"

#define MAXIMUM_OBJECTS 8192

static size_t waiting(unsigned class)
{
	struct class_statistics statistics;

	central_read_statistics(class, &statistics);
	return statistics.transfer_free;
}

static size_t spans_of(unsigned class)
{
	struct class_statistics statistics;

	central_read_statistics(class, &statistics);
	return statistics.spans;
}

/* Back to where every test begins. */
static void require_empty(void)
{
	transfer_flush();
	transfer_enabled = false;
	central_give_back_empty(true);
	for (unsigned class = 1; class < CLASS_COUNT; class++)
		REQUIRE(waiting(class) == 0 && spans_of(class) == 0, "class %u is not empty", class);
	REQUIRE_VALID(central_validate);
}

/* What the transfer cache of a class may hold: as many batches as the profile says, and never more than a thread cache of the class. */
static size_t room_of(unsigned class)
{
	const struct size_class *info = &size_classes[class];

	return minimum((size_t)MAX_TRANSFER_SLOTS * info->batch, 256 * KIB / info->size);
}

#define SEVERAL 20

/* A class of 64 bytes, or else the next larger, that has room for this many; 0 if there is none. */
static unsigned roomy_class(void)
{
	unsigned class = class_near(64);

	while (class < CLASS_COUNT && room_of(class) < SEVERAL)
		class++;
	if (class < CLASS_COUNT)
		return class;
	not_tested("the order of several objects", "no transfer cache of this profile has room for 20");
	return 0;
}

static void test_nothing_waits_while_there_is_one_thread(void **state)
{
	unsigned class = class_near(64);
	void *objects[SEVERAL];

	(void)state;
	assert_false(transfer_enabled);
	assert_int_equal(transfer_take(class, objects + SEVERAL, SEVERAL), SEVERAL);
	transfer_return(class, objects, SEVERAL, "test");
	assert_int_equal(waiting(class), 0);
	/* Empty, and kept. */
	if ((size_t)size_classes[class].pages << PAGE_SHIFT > DEFAULT_RETAIN)
		assert_int_equal(spans_of(class), 0);
	else if (size_classes[class].objects >= SEVERAL)
		assert_int_equal(spans_of(class), 1);
	else
		assert_true(spans_of(class) >= 1);
	require_empty();
}

static void test_last_in_first_out(void **state)
{
	unsigned class = roomy_class();
	void *objects[SEVERAL];
	void *again[SEVERAL];

	(void)state;
	if (class == 0)
		return;
	transfer_enabled = true;
	assert_int_equal(transfer_take(class, objects + SEVERAL, SEVERAL), SEVERAL);
	assert_int_equal(waiting(class), 0);
	transfer_return(class, objects, 12, "test");
	transfer_return(class, objects + 12, SEVERAL - 12, "test");
	assert_int_equal(waiting(class), SEVERAL);
	/* Two parts, the later one first, together in the order in which they were given back. */
	assert_int_equal(transfer_take(class, again + SEVERAL, SEVERAL - 5), SEVERAL - 5);
	assert_int_equal(waiting(class), 5);
	assert_int_equal(transfer_take(class, again + 5, 5), 5);
	assert_memory_equal(objects, again, sizeof(objects));
	transfer_return(class, objects, SEVERAL, "test");
	require_empty();
}

/* What is missing comes from the free list, below what was waiting. */
static void test_take_goes_on_in_the_free_list(void **state)
{
	unsigned class = roomy_class();
	void *objects[SEVERAL];
	void *last;

	(void)state;
	if (class == 0)
		return;
	transfer_enabled = true;
	assert_int_equal(transfer_take(class, objects + 4, 4), 4);
	transfer_return(class, objects, 4, "test");
	last = objects[3];
	assert_int_equal(transfer_take(class, objects + SEVERAL, SEVERAL), SEVERAL);
	assert_int_equal(waiting(class), 0);
	assert_ptr_equal(objects[SEVERAL - 1], last);
	for (int i = 0; i < SEVERAL; i++) {
		assert_non_null(objects[i]);
		for (int j = 0; j < i; j++)
			assert_ptr_not_equal(objects[i], objects[j]);
	}
	transfer_enabled = false;
	transfer_return(class, objects, SEVERAL, "test");
	require_empty();
}

static void check_bound(unsigned class)
{
	const struct size_class *info = &size_classes[class];
	size_t slots = (size_t)MAX_TRANSFER_SLOTS * info->batch;
	size_t count = minimum(slots + 10, maximum(8 * MIB / info->size, 4));
	void **objects = calloc(count, sizeof(void *));
	size_t kept;

	transfer_enabled = true;
	assert_int_equal(transfer_take(class, objects + count, count), count);
	transfer_return(class, objects, count, "test");
	kept = waiting(class);
	assert_true(kept <= slots);
	assert_true(kept * info->size <= 256 * KIB);
	assert_int_equal(kept, room_of(class));
	assert_true(kept < count);
	/* Full is full. */
	assert_int_equal(transfer_take(class, objects + count, count), count);
	transfer_return(class, objects, count, "test");
	assert_int_equal(waiting(class), kept);
	free(objects);
	assert_int_equal(transfer_flush(), kept);
	require_empty();
}

static void test_bounds_of_each_class(void **state)
{
	(void)state;
	for (unsigned class = 1; class < CLASS_COUNT; class++)
		check_bound(class);
}

struct model {
	unsigned class;
	uint64_t random;
	size_t capacity; /* learnt when it is first full; until then as many as there are */
	void *out[MAXIMUM_OBJECTS];
	size_t out_count;
	void *waiting[MAXIMUM_OBJECTS];
	size_t waiting_count;
};

static void take(struct model *model, size_t count)
{
	void *objects[256];
	size_t cached = minimum(count, model->waiting_count);

	REQUIRE(transfer_take(model->class, objects + count, count) == count, "fewer than asked for");
	model->waiting_count -= cached;
	REQUIRE(memcmp(objects + count - cached, model->waiting + model->waiting_count, cached * sizeof(void *)) == 0,
		"not what was given back last");
	memcpy(model->out + model->out_count, objects, count * sizeof(void *));
	model->out_count += count;
}

static void give(struct model *model, size_t count)
{
	void *objects[256];
	size_t kept;

	for (size_t i = 0; i < count; i++) {
		size_t at = random_below(&model->random, model->out_count);

		objects[i] = model->out[at];
		model->out[at] = model->out[--model->out_count];
	}
	transfer_return(model->class, objects, count, "test");
	kept = waiting(model->class) - model->waiting_count;
	REQUIRE(kept <= count, "%zu of %zu objects wait", kept, count);
	if (kept < count) {
		if (model->capacity == MAXIMUM_OBJECTS)
			model->capacity = model->waiting_count + kept;
		REQUIRE(model->waiting_count + kept == model->capacity, "not filled up");
	}
	memcpy(model->waiting + model->waiting_count, objects, kept * sizeof(void *));
	model->waiting_count += kept;
	REQUIRE(model->waiting_count <= model->capacity, "more than its capacity");
}

static void flush(struct model *model)
{
	REQUIRE(transfer_flush() == model->waiting_count, "flushed another number than %zu", model->waiting_count);
	model->waiting_count = 0;
}

static void check_counts(const struct model *model)
{
	struct class_statistics statistics;

	central_read_statistics(model->class, &statistics);
	REQUIRE(statistics.transfer_free == model->waiting_count, "%zu objects wait, not %zu", statistics.transfer_free,
		model->waiting_count);
	REQUIRE(statistics.objects == model->out_count + model->waiting_count + statistics.central_free,
		"%zu objects, but %zu are out, %zu wait and %zu are free", statistics.objects, model->out_count,
		model->waiting_count, statistics.central_free);
}

static void check_class(unsigned class, uint64_t seed)
{
	static struct model model;

	model = (struct model){.class = class, .random = seed + class, .capacity = MAXIMUM_OBJECTS};
	transfer_enabled = true;
	for (int i = 0; i < (SANITIZED ? 1000 : 5000); i++) {
		size_t part = random_below(&model.random, 256);
		size_t kind = random_below(&model.random, 200);

		if (kind == 0)
			flush(&model);
		else if (kind < 100)
			take(&model, minimum(part, MAXIMUM_OBJECTS - 256 - model.out_count));
		else
			give(&model, minimum(part, model.out_count));
		check_counts(&model);
		if (i % 64 == 0)
			REQUIRE_VALID(central_validate);
	}
	while (model.out_count != 0)
		give(&model, minimum(256, model.out_count));
	flush(&model);
	require_empty();
}

static void test_random_operations(void **state)
{
	static const size_t sizes[] = {8, 48, 1024, 8192};
	uint64_t seed = seed_of_run("test_random_operations");

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		check_class(class_near(sizes[i]), seed);
}

#define THREADS 4
#define HELD 300
#define SHARED_CLASS class_near(48)

/* Takes and gives back, and finds its own mark in everything it holds. */
static void *exchange(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	uint64_t mark = random;
	uint64_t *out[HELD];
	size_t count = 0;

	for (int i = 0; i < (SANITIZED ? 3000 : 30000); i++) {
		size_t part = 1 + random_below(&random, 64);

		if (count + part <= HELD) {
			REQUIRE(transfer_take(SHARED_CLASS, (void **)out + count + part, part) == part, "out of memory");
			for (size_t j = 0; j < part; j++)
				*out[count++] = mark;
			continue;
		}
		for (size_t j = 0; j < part; j++)
			REQUIRE(*out[count - 1 - j] == mark, "%p was handed out twice", (void *)out[count - 1 - j]);
		count -= part;
		transfer_return(SHARED_CLASS, (void **)out + count, part, "test");
		if (random_below(&random, 1000) == 0)
			transfer_flush();
	}
	transfer_return(SHARED_CLASS, (void **)out, count, "test");
	return NULL;
}

static void test_threads(void **state)
{
	uint64_t seed = seed_of_run("test_threads");
	uint64_t seeds[THREADS];
	pthread_t threads[THREADS];
	struct class_statistics statistics;

	(void)state;
	transfer_enabled = true;
	for (int i = 0; i < THREADS; i++) {
		seeds[i] = seed + (uint64_t)i;
		threads[i] = thread_start(exchange, &seeds[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	central_read_statistics(SHARED_CLASS, &statistics);
	assert_int_equal(statistics.transfer_free + statistics.central_free, statistics.objects);
	require_empty();
}

/* Objects that wait have not been checked yet: the flush does. A child has one thread: fork has switched the caches off. */
static void flush_after_double_free(const void *object)
{
	void *twice[2] = {(void *)(uintptr_t)object, (void *)(uintptr_t)object};

	transfer_enabled = true;
	transfer_return(SHARED_CLASS, twice, 2, "test");
	transfer_flush();
}

static void test_double_free_is_found_by_the_flush(void **state)
{
	void *object;
	char what[96];
	char line[192];

	(void)state;
	transfer_enabled = true;
	assert_int_equal(transfer_take(SHARED_CLASS, &object + 1, 1), 1);
	snprintf(what, sizeof(what), "object is already free (double free); size class %u", size_classes[SHARED_CLASS].size);
	expect_stop(flush_after_double_free, object, stop_line(line, sizeof(line), "free", object, what));
	transfer_return(SHARED_CLASS, &object, 1, "test");
	require_empty();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_waits_while_there_is_one_thread),
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_take_goes_on_in_the_free_list),
		cmocka_unit_test(test_bounds_of_each_class),
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_double_free_is_found_by_the_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

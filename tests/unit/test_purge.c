/*
 * Giving memory back inside of spans, against a model of every object that is out: exactly the kernel's pages go that hold
 * no part of one, their contents stay, what is counted adds up; when slow paths do it; and when caches are asked to give
 * up what they hold.
 */
#include "heap_test.h"

#include <sched.h>
#include <semaphore.h>

#include "base/os.h"
#include "central/central.h"

#define MOST_OUT 20000

static struct {
	unsigned class;
	uint64_t random;
	unsigned char *out[MOST_OUT];
	size_t count;
} model;

static uint64_t milliseconds;

static uint64_t clock_of_test(void)
{
	return milliseconds;
}

static bool refuse_release(enum os_call call)
{
	return call == OS_RELEASE;
}

static size_t size_of_objects(void)
{
	return size_classes[model.class].size;
}

static unsigned char mark_of(const unsigned char *object)
{
	return (unsigned char)(1 + ((uintptr_t)object / 8) % 255);
}

static void take(size_t count)
{
	void *objects[256];

	while (count != 0) {
		size_t part = minimum(count, COUNT_OF(objects));

		REQUIRE(central_take(model.class, objects + part, part) == part, "out of memory");
		for (size_t i = 0; i < part; i++) {
			memset(objects[i], mark_of(objects[i]), size_of_objects());
			model.out[model.count++] = objects[i];
		}
		count -= part;
	}
}

static void give(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = random_below(&model.random, model.count);
		void *object = model.out[at];

		model.out[at] = model.out[--model.count];
		central_return(model.class, &object, 1, "test");
	}
}

static void require_contents(void)
{
	for (size_t i = 0; i < model.count; i++) {
		const unsigned char *object = model.out[i];

		for (size_t at = 0; at < size_of_objects(); at++)
			REQUIRE(object[at] == mark_of(object), "object %p has lost byte %zu", (const void *)object, at);
	}
}

/* Whether an object that is out lies on these bytes. */
static bool is_in_use(uintptr_t start, size_t bytes)
{
	for (size_t i = 0; i < model.count; i++) {
		if ((uintptr_t)model.out[i] < start + bytes && start < (uintptr_t)model.out[i] + size_of_objects())
			return true;
	}
	return false;
}

/*
 * Bytes of the kernel's pages, in spans with free objects, on which no object lies that is out. If all of them have been
 * purged they have to read zero.
 */
static size_t purgeable_bytes(bool purged)
{
	size_t unit = os_page_size();
	size_t bytes = 0;

	for (size_t page = 0; page << PAGE_SHIFT < window.extent; page++) {
		const struct span *span = page_span(page);

		if (span == NULL || span->start != page_address(page) || span->class != model.class || span->free == 0)
			continue;
		/* One that has become empty, and stays, goes as a whole if need be; what it has lost before stays counted. */
		if (span->kept) {
			bytes += span->purged * unit;
			continue;
		}
		for (uintptr_t at = round_up(span->start, unit); at + unit <= span->start + span_bytes(span);
		     at += unit) {
			if (is_in_use(at, unit))
				continue;
			if (purged)
				require_zero((void *)at, unit);
			bytes += unit;
		}
	}
	return bytes;
}

static size_t expected_purged(void)
{
	return purgeable_bytes(true);
}

static size_t purged_bytes(void)
{
	struct pageheap_statistics pages;
	struct class_statistics statistics;

	central_read_statistics(model.class, &statistics);
	pageheap_read_statistics(&pages);
	REQUIRE(pages.purged == statistics.purged, "the page heap knows of %zu bytes, the class of %zu", pages.purged,
		statistics.purged);
	return statistics.purged;
}

static void begin(size_t size)
{
	model.class = class_near(size);
	model.count = 0;
	/* What an earlier test has taken again is no cause for regret any more. */
	milliseconds += 60000;
	pageheap_tick();
}

static void end(void)
{
	struct class_statistics statistics;

	give(model.count);
	central_give_back_empty(true);
	central_read_statistics(model.class, &statistics);
	REQUIRE(statistics.spans == 0 && purged_bytes() == 0, "%zu bytes are purged of %zu spans", purged_bytes(),
		statistics.spans);
	REQUIRE_VALID(central_validate);
	REQUIRE_VALID(pageheap_validate);
}

static void check_purging(size_t size)
{
	size_t most;

	begin(size);
	most = minimum(800, (size_t)size_classes[model.class].objects * 12);
	for (int round = 0; round < 8; round++) {
		take(most - model.count);
		give(most - 1 - random_below(&model.random, most / 4));
		central_purge();
		REQUIRE(purged_bytes() == expected_purged(), "size %zu: %zu bytes have been purged, %zu could", size,
			purged_bytes(), expected_purged());
		require_contents();
		REQUIRE_VALID(central_validate);
		/* What is freed afterwards is found the next time; what is taken is not counted any more. */
		take(random_below(&model.random, most / 8 + 1));
		REQUIRE_VALID(central_validate);
		give(model.count / 2);
		central_purge();
		REQUIRE(purged_bytes() == expected_purged(),
			"size %zu: %zu bytes are purged the second time, %zu could be", size, purged_bytes(),
			expected_purged());
		require_contents();
		REQUIRE_VALID(central_validate);
	}
	end();
}

static void test_pages_without_objects_go(void **state)
{
	static const size_t sizes[] = {8, 48, 256, 640, 1024, 3200, 4096, 8192, 40960};

	(void)state;
	model.random = seed_of_run("test_pages_without_objects_go");
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		check_purging(sizes[i]);
}

static void test_what_the_system_refuses_is_not_counted(void **state)
{
	(void)state;
	begin(1024);
	take(64);
	give(60);
	os_fault = refuse_release;
	central_purge();
	assert_int_equal(purged_bytes(), 0);
	require_contents();
	os_fault = NULL;
	central_purge();
	assert_true(purged_bytes() == expected_purged());
	end();
}

/* Whether something is to be done soon. */
static bool tick(void)
{
	central_tick(milliseconds);
	return central_waits();
}

static void pass_time(uint64_t duration, bool pending)
{
	for (uint64_t stop = milliseconds + duration; milliseconds < stop; milliseconds += 100)
		REQUIRE(tick() == pending, "at %llu ms a tick says otherwise", (unsigned long long)milliseconds);
}

/* Enough that the page heap would not keep what is freed. */
static size_t many(void)
{
	return minimum(MOST_OUT, 16 * MIB / size_of_objects());
}

static void test_ticks_wait_for_calm(void **state)
{
	(void)state;
	begin(1024);
	pass_time(1000, false);
	take(many());
	pass_time(5000, false);
	/* Swings that are faster than the calm. */
	for (int swing = 0; swing < 4; swing++) {
		give(model.count - 400);
		pass_time(2000, true);
		assert_int_equal(purged_bytes(), 0);
		take(many() - model.count);
		pass_time(600, false);
	}
	give(model.count - 400);
	pass_time(2500, true);
	assert_int_equal(purged_bytes(), 0);
	for (int i = 0; i < 100 && tick(); i++)
		milliseconds += 100;
	/* Ticks leave spans that are not half free. */
	if (os_page_size() > 4096)
		assert_true(purged_bytes() != 0 || purgeable_bytes(false) == 0);
	else
		assert_true(purged_bytes() > purgeable_bytes(false) / 2);
	require_contents();
	/* That is all there is: it is not begun anew, whatever the time. */
	pass_time(10000, false);
	end();
}

static void test_little_is_left_alone(void **state)
{
	(void)state;
	begin(1024);
	if ((size_t)size_classes[model.class].pages << PAGE_SHIFT > 128 * KIB) {
		not_tested("that little is left alone", "ten spans of this profile are much");
		return;
	}
	take(2 * MIB / size_of_objects());
	give(model.count - 10);
	pass_time(10000, false);
	assert_int_equal(purged_bytes(), 0);
	end();
}

/* Begins with a class whose spans are sparse with few objects. */
static bool begin_with_many_objects(void)
{
	begin(1024);
	if (size_classes[model.class].objects >= 24)
		return true;
	not_tested("what caches are asked for", "this profile's spans have few objects of 1 KiB");
	return false;
}

static void test_caches_are_asked_when_few_are_out(void **state)
{
	(void)state;
	if (!begin_with_many_objects())
		return;
	take(many());
	assert_false(central_wants_back(model.class, 1000));
	give(model.count - 1000);
	assert_true(central_wants_back(model.class, 500));
	/* Not again before more have come back. */
	assert_false(central_wants_back(model.class, 500));
	give(300);
	assert_true(central_wants_back(model.class, 500));
	/* A stack with a small part of them makes no difference. */
	give(200);
	assert_false(central_wants_back(model.class, 10));
	/* A new span: the demand is back. */
	take(many() - model.count);
	assert_false(central_wants_back(model.class, 500));
	end();
}

static void test_caches_keep_what_the_page_heap_would(void **state)
{
	(void)state;
	if (!begin_with_many_objects())
		return;
	pageheap_set_retain(64 * MIB);
	take(many());
	give(model.count - 1000);
	assert_false(central_wants_back(model.class, 500));
	pageheap_set_retain(MIB);
	give(500);
	assert_true(central_wants_back(model.class, 250));
	pageheap_set_retain(4 * MIB);
	end();
}

static bool stop_threads;

/* Takes objects and gives some back at random, and finds in each what it has written there. */
static void *take_and_give(void *argument)
{
	enum { HELD = 2000 };
	const unsigned class_of_threads = class_near(256);
	uint64_t random = *(uint64_t *)argument;
	uint64_t *held[HELD];
	size_t count = 0;

	while (!load_relaxed(&stop_threads)) {
		size_t wanted = random_below(&random, HELD);

		while (count < wanted) {
			REQUIRE(central_take(class_of_threads, (void **)&held[count] + 1, 1) == 1, "out of memory");
			*held[count] = (uintptr_t)held[count] ^ (uintptr_t)argument;
			count++;
		}
		while (count > wanted / 8) {
			size_t at = random_below(&random, count);
			void *object = held[at];

			REQUIRE(*held[at] == ((uintptr_t)object ^ (uintptr_t)argument),
				"object %p has lost its contents", object);
			held[at] = held[--count];
			central_return(class_of_threads, &object, 1, "test");
		}
	}
	while (count != 0)
		central_return(class_of_threads, (void **)&held[--count], 1, "test");
	return NULL;
}

static void test_purging_beside_other_threads(void **state)
{
	uint64_t seeds[2] = {seed_of_run("test_purging_beside_other_threads"), 1};
	pthread_t threads[2];

	(void)state;
	begin(256);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		threads[i] = thread_start(take_and_give, &seeds[i]);
	for (int i = 0; i < (SANITIZED || under_emulator() ? 30 : 1000); i++) {
		central_purge();
		sched_yield();
	}
	store_relaxed(&stop_threads, true);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
	end();
}

static sem_t in_the_middle;
static sem_t go_on;

/* The first call comes while a span is out of its list. */
static bool wait_in_release(enum os_call call)
{
	if (call != OS_RELEASE)
		return false;
	os_fault = NULL;
	sem_post(&in_the_middle);
	sem_wait(&go_on);
	return false;
}

static void *purge(void *unused)
{
	central_purge();
	return unused;
}

static void test_a_forked_child_has_the_span_that_is_purged(void **state)
{
	struct class_statistics statistics;
	pthread_t thread;
	int status;
	pid_t child;

	(void)state;
	begin(1024);
	take(64);
	give(60);
	if (purgeable_bytes(false) == 0) {
		not_tested("forking while a span is purged", "the kernel's pages are so large that none is free");
		end();
		return;
	}
	sem_init(&in_the_middle, 0, 0);
	sem_init(&go_on, 0, 0);
	os_fault = wait_in_release;
	thread = thread_start(purge, NULL);
	sem_wait(&in_the_middle);
	child = fork();
	if (child == 0) {
		central_read_statistics(model.class, &statistics);
		REQUIRE_VALID(central_validate);
		take(statistics.central_free);
		require_contents();
		_exit(0);
	}
	sem_post(&go_on);
	pthread_join(thread, NULL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(purged_bytes() == expected_purged());
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_without_objects_go),
		cmocka_unit_test(test_what_the_system_refuses_is_not_counted),
		cmocka_unit_test(test_ticks_wait_for_calm),
		cmocka_unit_test(test_little_is_left_alone),
		cmocka_unit_test(test_caches_are_asked_when_few_are_out),
		cmocka_unit_test(test_caches_keep_what_the_page_heap_would),
		cmocka_unit_test(test_purging_beside_other_threads),
		cmocka_unit_test(test_a_forked_child_has_the_span_that_is_purged),
	};

	os_clock = clock_of_test;
	milliseconds = 1000000;
	/* The heap, made by the first allocation. */
	tm_free(tm_malloc(1));
	tm_malloc_trim(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

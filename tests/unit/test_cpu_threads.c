/*
 * The frontend per CPU with threads on the machine's CPUs: random work with blocks that are checked, objects that change hands, and a
 * thread that drains all slabs all the time; afterwards everything adds up. All slabs away; what the statistics say.
 */
#include "slab_test.h"

#include <sched.h>


#define THREADS   8
#define HELD      400
#define EXCHANGED 64

static struct block exchanged[EXCHANGED]; /* each claimed by its start */
static bool enough;

/* To the CPU, if this process may run there; every other thread goes where the kernel likes. */
static void pin(size_t thread)
{
	cpu_set_t allowed;
	cpu_set_t one;
	int cpu = 0;

	REQUIRE(sched_getaffinity(0, sizeof(allowed), &allowed) == 0, "sched_getaffinity");
	if (thread % 2 != 0)
		return;
	for (size_t skipped = 0; !CPU_ISSET(cpu, &allowed) || skipped++ < thread / 2 % (size_t)CPU_COUNT(&allowed);
	     cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
}

static void fill_new(struct block *block, uint64_t *random)
{
	size_t largest = random_below(random, 100) == 0 ? 100 * KIB : random_below(random, 4) == 0 ? 8 * KIB : 256;

	*block = (struct block){NULL, 1 + random_below(random, largest), random_next(random)};
	block->start = tm_malloc(block->size);
	REQUIRE(block->start != NULL, "out of memory");
	block_fill(block);
}

static void empty(struct block *block)
{
	block_check(block);
	tm_free(block->start);
	block->start = NULL;
}

/* Gives this block away for another thread's, if there is one. */
static void exchange(struct block *block, uint64_t *random)
{
	static bool taken[EXCHANGED];
	size_t place = random_below(random, EXCHANGED);
	struct block other;

	if (__atomic_test_and_set(&taken[place], __ATOMIC_ACQUIRE))
		return;
	other = exchanged[place];
	exchanged[place] = *block;
	*block = other;
	__atomic_clear(&taken[place], __ATOMIC_RELEASE);
}

static void *work(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	struct block blocks[HELD] = {0};

	pin(random_below(&random, THREADS));
	for (int i = 0; i < (SANITIZED ? 10000 : 60000); i++) {
		size_t first = random_below(&random, HELD);
		/* A few at a time, so that stacks run empty and full. */
		size_t count = minimum(1 + random_below(&random, 50), HELD - first);

		for (struct block *block = blocks + first; block < blocks + first + count; block++) {
			if (block->start != NULL)
				empty(block);
			else
				fill_new(block, &random);
			i++;
		}
		exchange(&blocks[first], &random);
	}
	for (size_t i = 0; i < HELD; i++) {
		if (blocks[i].start != NULL)
			empty(&blocks[i]);
	}
	return NULL;
}

static void *drain_all(void *unused)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		tm_malloc_trim(0);
		/* At work, it is not to be found with a wrong class or a wrong sum of its own. */
		REQUIRE(cpu_cache_held(1) <= slabs_made() * slab_most_slots(1), "the slabs hold more than they can");
		sched_yield();
	}
	return unused;
}

static void check_budgets(void)
{
	size_t charged = 0;

	REQUIRE_VALID(cpu_cache_validate);
	REQUIRE_VALID(heap_validate);
	assert_int_equal(sum_of_grants(), slabs_made() * options.cpu_cache_size);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		assert_true(slab->grant >= options.cpu_cache_size / 4);
		charged += slab->charged;
	}
	assert_true(charged <= slabs_made() * options.cpu_cache_size);
}

static void check_exchanged(void)
{
	for (size_t i = 0; i < EXCHANGED; i++) {
		if (exchanged[i].start != NULL)
			empty(&exchanged[i]);
	}
}

static void run_threads(uint64_t seed, bool draining)
{
	uint64_t seeds[THREADS];
	pthread_t threads[THREADS];
	pthread_t drainer;

	enough = false;
	for (int i = 0; i < THREADS; i++) {
		seeds[i] = seed + (uint64_t)i;
		threads[i] = thread_start(work, &seeds[i]);
	}
	if (draining)
		drainer = thread_start(drain_all, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	if (draining)
		pthread_join(drainer, NULL);
	check_budgets();
	check_exchanged();
	check_budgets();
	require_all_given_back();
	assert_int_equal(held_in_slabs(), 0);
}

static void random_work(void **unused)
{
	(void)unused;
	for (int round = 0; round < 3; round++)
		run_threads(seed_of_run("random_work"), false);
}

static void random_work_while_slabs_are_drained(void **unused)
{
	(void)unused;
	for (int round = 0; round < 3; round++)
		run_threads(seed_of_run("random_work_while_slabs_are_drained"), true);
}

static void use(size_t count, size_t size)
{
	static void *objects[2000];

	REQUIRE(count <= COUNT_OF(objects), "too many");
	for (size_t i = 0; i < count; i++) {
		objects[i] = tm_malloc(size);
		REQUIRE(objects[i] != NULL && in_window((uintptr_t)objects[i]), "not served by the heap");
	}
	for (size_t i = 0; i < count; i++)
		tm_free(objects[i]);
}

/* What threads hold is not touched by anybody who comes then. */
static void all_slabs_away(void **unused)
{
	size_t held;
	size_t made;

	(void)unused;
	use(1000, 64);
	assert_true(held_in_slabs() != 0);
	/* None is made while the others are away. */
	for (uint32_t number = 0; number < rseq_process.numbers; number++)
		assert_non_null(slab_of(number));
	made = slabs_made();
	held = held_in_slabs();
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		assert_true(slab_take_away(slab));
	use(2000, 64);
	use(2000, 500);
	assert_int_equal(held_in_slabs(), held);
	/* They are somebody's, and are left alone. */
	tm_malloc_trim(0);
	assert_int_equal(held_in_slabs(), held);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		slab_put_back(slab);
	assert_int_equal(slabs_made(), made);
	REQUIRE_VALID(heap_validate);
	require_all_given_back();
	assert_int_equal(held_in_slabs(), 0);
}

static void print_statistics(const void *unused)
{
	(void)unused;
	statistics_print_to_stderr();
}

static void statistics_name_the_frontend(void **unused)
{
	struct captured captured;
	char line[100];

	(void)unused;
	use(10, 64);
	/* The rest of a long text is cut off: the line comes first. */
	capture_stderr(print_statistics, NULL, &captured);
	snprintf(line, sizeof(line), "\ncaches: %zu, of %s\n", slabs_made(),
		 rseq_process.number_field == offsetof(struct rseq_area, mm_cid) ? "CPUs (mm_cid)" : "CPUs");
	if (strstr(captured.text, line) == NULL)
		fail_msg("not in the statistics: %s%s", line, captured.text);
	tm_malloc_trim(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_work),
		cmocka_unit_test(random_work_while_slabs_are_drained),
		cmocka_unit_test(all_slabs_away),
		cmocka_unit_test(statistics_name_the_frontend),
	};

	if (reason_to_skip() != NULL)
		return skip_all(reason_to_skip());
#ifdef __SANITIZE_THREAD__
	return skip_all("the thread sanitizer does not see how objects change hands in sections");
#endif
	return cmocka_run_group_tests_name("cpu threads", tests, NULL, NULL);
}

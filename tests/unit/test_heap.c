/*
 * The whole heap through its public functions: random operations of every kind on blocks of 0 bytes to 64 MiB, with contents that are
 * checked, in one thread and in several that free each other's blocks. What the heap says is in use has to be the sum of the live
 * blocks, to the byte; the validator has to find nothing; and in the end all is given back.
 */
#include "heap_test.h"

#define SLOTS 256
#define THREADS 4

/* What one thread's blocks may have in all. */
#define LIVE_LIMIT (256 * MIB)

struct worker {
	uint64_t random;
	struct block blocks[SLOTS];
	size_t live; /* bytes asked for */
};

/* Each power of two as likely as the next up to 64 KiB, now and then more, rarely up to 64 MiB. */
static size_t random_size(struct worker *worker)
{
	unsigned kind = (unsigned)random_below(&worker->random, 1000);
	unsigned bits = 1 + (unsigned)random_below(&worker->random, 16);
	size_t size;

	if (kind < 30)
		bits = 17 + (unsigned)random_below(&worker->random, 5);
	else if (kind < 33)
		bits = 22 + (unsigned)random_below(&worker->random, 5);
	size = random_below(&worker->random, ((size_t)1 << bits) + 1);
	return worker->live + size <= LIVE_LIMIT ? size : size % 1000;
}

static size_t random_alignment(struct worker *worker)
{
	unsigned bits = 3 + (unsigned)random_below(&worker->random, random_below(&worker->random, 20) == 0 ? 20 : 10);

	return (size_t)1 << bits;
}

static void *zeroed(void *start, size_t size)
{
	REQUIRE(start != NULL, "calloc of %zu bytes", size);
	require_zero(start, size);
	return start;
}

static void *by_posix(size_t alignment, size_t size)
{
	void *start = NULL;

	REQUIRE(tm_posix_memalign(&start, alignment, size) == 0, "posix_memalign(%zu, %zu)", alignment, size);
	return start;
}

/* Allocates in one of all the ways. *alignment: what has to come of it. */
static void *allocate(struct worker *worker, size_t size, size_t *alignment)
{
	unsigned way = (unsigned)random_below(&worker->random, 12);

	*alignment = size > 8 ? REQUEST_ALIGNMENT : 8;
	if (way < 3)
		*alignment = random_alignment(worker);
	switch (way) {
	case 0:
		return tm_aligned_alloc(*alignment, size);
	case 1:
		return tm_memalign(*alignment, size);
	case 2:
		return by_posix(*alignment, size);
	case 3:
		return zeroed(tm_calloc(1, size), size);
	case 4:
		return zeroed(tm_calloc(size, 1), size);
	case 5:
		return tm_realloc(NULL, size);
	case 6:
		return tm_reallocarray(NULL, size, 1);
	case 7:
		return zeroed(tm_recallocarray(NULL, 0, size, 1), size);
	default:
		return tm_malloc(size);
	}
}

static void create(struct worker *worker, struct block *block)
{
	size_t size = random_size(worker);
	size_t alignment;

	block->start = allocate(worker, size, &alignment);
	REQUIRE(block->start != NULL, "no block of %zu bytes: %s", size, strerror(errno));
	REQUIRE((uintptr_t)block->start % alignment == 0, "%p for %zu bytes is not aligned to %zu", (void *)block->start, size, alignment);
	REQUIRE(tm_malloc_usable_size(block->start) >= size, "usable size %zu of a block of %zu bytes",
		tm_malloc_usable_size(block->start), size);
	block->size = size;
	block->key = random_next(&worker->random);
	block_fill(block);
	worker->live += size;
}

/* The contents stay as far as both sizes reach; recallocarray's addition reads zero. */
static void resize(struct worker *worker, struct block *block)
{
	size_t size = maximum(random_size(worker), 1);
	unsigned way = (unsigned)random_below(&worker->random, 8);

	/* Growth in place is tried by small steps too. */
	if (way == 0)
		size = block->size + 1 + random_below(&worker->random, 16 * KIB);
	block_check(block);
	worker->live += size - block->size;
	if (way == 1) {
		block->start = tm_recallocarray(block->start, block->size, size, 1);
		if (size > block->size)
			require_zero(block->start + block->size, size - block->size);
	} else {
		block->start = tm_realloc(block->start, size);
	}
	REQUIRE(block->start != NULL, "no resized block of %zu bytes: %s", size, strerror(errno));
	REQUIRE((uintptr_t)block->start % (size > 8 ? REQUEST_ALIGNMENT : 8) == 0, "%p for %zu bytes is not aligned", (void *)block->start, size);
	block_check_below(block, size);
	block->size = size;
	block->key = random_next(&worker->random);
	block_fill(block);
}

/* Sized frees are in the ABI's tests: blocks here may have come with an alignment, or from another thread. */
static void destroy(struct worker *worker, struct block *block)
{
	block_check(block);
	worker->live -= block->size;
	if (random_below(&worker->random, 8) == 0)
		REQUIRE(tm_realloc(block->start, 0) == NULL, "realloc(%p, 0) is not a free", (void *)block->start);
	else
		tm_free(block->start);
	block->start = NULL;
}

/* Blocks on their way to whatever thread. */
static struct block passing[64];
static pthread_mutex_t passing_mutex = PTHREAD_MUTEX_INITIALIZER;

static void exchange(struct worker *worker, struct block *block)
{
	struct block *other = &passing[random_below(&worker->random, COUNT_OF(passing))];
	struct block mine = *block;

	pthread_mutex_lock(&passing_mutex);
	*block = *other;
	*other = mine;
	pthread_mutex_unlock(&passing_mutex);
	worker->live += (block->start != NULL ? block->size : 0) - (mine.start != NULL ? mine.size : 0);
}

static void operate(struct worker *worker)
{
	struct block *block = &worker->blocks[random_below(&worker->random, SLOTS)];
	unsigned kind = (unsigned)random_below(&worker->random, 10000);

	if (kind == 0)
		tm_malloc_trim(random_below(&worker->random, 8) * MIB);
	else if (kind == 1)
		tm_tiermalloc_thread_idle();
	else if (kind < 1500)
		exchange(worker, block);
	else if (block->start == NULL)
		create(worker, block);
	else if (kind < 4500)
		resize(worker, block);
	else
		destroy(worker, block);
}

static size_t usable_sum(const struct block *blocks, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += blocks[i].start != NULL ? tm_malloc_usable_size(blocks[i].start) : 0;
	return sum;
}

static void require_accounted(size_t expected)
{
	REQUIRE(bytes_in_use() == expected, "%zu bytes are in use, but the live blocks have %zu", bytes_in_use(), expected);
	REQUIRE_VALID(heap_validate);
}

static void destroy_all(struct worker *worker, struct block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (blocks[i].start != NULL)
			destroy(worker, &blocks[i]);
	}
}

static struct worker workers[THREADS];

static void test_random_operations_in_one_thread(void **state)
{
	struct worker *worker = &workers[0];

	(void)state;
	*worker = (struct worker){.random = seed_of_run("test_random_operations_in_one_thread")};
	for (int i = 0; i < (SANITIZED ? 5000 : 40000); i++) {
		operate(worker);
		if (i % 256 == 0)
			require_accounted(usable_sum(worker->blocks, SLOTS) + usable_sum(passing, COUNT_OF(passing)));
	}
	destroy_all(worker, worker->blocks, SLOTS);
	destroy_all(worker, passing, COUNT_OF(passing));
	require_accounted(0);
	require_all_given_back();
}

static void *work(void *argument)
{
	for (int i = 0; i < (SANITIZED ? 3000 : 20000); i++)
		operate(argument);
	return NULL;
}

static void run_workers(uint64_t seed)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		workers[i].random = seed + (uint64_t)i;
		threads[i] = thread_start(work, &workers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* New threads go on with the blocks of those that are gone. */
static void test_random_operations_in_several_threads(void **state)
{
	uint64_t seed = seed_of_run("test_random_operations_in_several_threads");

	(void)state;
	memset(workers, 0, sizeof(workers));
	for (uint64_t round = 0; round < 3; round++) {
		size_t sum;

		run_workers(seed + round * THREADS);
		sum = usable_sum(passing, COUNT_OF(passing));
		for (int i = 0; i < THREADS; i++)
			sum += usable_sum(workers[i].blocks, SLOTS);
		require_accounted(sum);
	}
	for (int i = 0; i < THREADS; i++)
		destroy_all(&workers[i], workers[i].blocks, SLOTS);
	destroy_all(&workers[0], passing, COUNT_OF(passing));
	require_accounted(0);
	require_all_given_back();
}

/* The figures that the report prints, after each single step. */
static void test_accounting_of_single_blocks(void **state)
{
	(void)state;
	for (size_t size = 0; size <= 64 * MIB; size = size * 5 / 4 + 1) {
		struct block block = {tm_malloc(size), size, size};
		struct statistics statistics;

		assert_non_null(block.start);
		require_accounted(tm_malloc_usable_size(block.start));
		statistics_read(&statistics);
		assert_int_equal(statistics.large_blocks, size > LARGEST_CLASS_SIZE);
		assert_int_equal(statistics.in_use_large, size > LARGEST_CLASS_SIZE ? statistics.in_use : 0);
		block_fill(&block);
		block.start = tm_realloc(block.start, size / 2 + 1);
		require_accounted(tm_malloc_usable_size(block.start));
		block_check_below(&block, size / 2 + 1);
		tm_free(block.start);
		require_accounted(0);
	}
	require_all_given_back();
}

/* Each megabyte more: in place, or by moving pages; nothing is copied short or left behind. */
static void test_growth_in_steps(void **state)
{
	struct block block = {NULL, 0, 3};

	(void)state;
	for (size_t size = MIB; size <= 64 * MIB; size += MIB) {
		void *obstacle = size % (7 * MIB) == 0 ? tm_malloc(3 * MIB) : NULL;

		block.start = tm_realloc(block.start, size);
		assert_non_null(block.start);
		block_check_below(&block, size);
		block.size = size;
		block_fill(&block);
		tm_free(obstacle);
		require_accounted(size);
	}
	for (size_t size = 64 * MIB; size > MIB; size /= 2) {
		block.start = tm_realloc(block.start, size + 1);
		block_check_below(&block, size + 1);
		require_accounted(tm_malloc_usable_size(block.start));
		assert_true(tm_malloc_usable_size(block.start) < size + maximum(64 * KIB, PAGE_SIZE + 1));
	}
	tm_free(block.start);
	require_all_given_back();
}

#define GROWN (64 * KIB)

/*
 * A block that has grown to some size stays where it is while it grows, up to the next hugepage,
 * also beside others; when it shrinks below, it gets the class of its size again.
 */
static void test_growth_stays_in_place(void **state)
{
	struct block block = {tm_malloc(100), 100, 7};
	char *others[16];
	unsigned char *start;

	(void)state;
	block_fill(&block);
	block.start = tm_realloc(block.start, GROWN + 1);
	block_check_below(&block, 100);
	start = block.start;
	for (size_t i = 0; i < 16; i++) {
		size_t size = GROWN + (i + 1) * 50 * KIB;

		others[i] = tm_malloc((i + 1) * 100);
		block.start = tm_realloc(block.start, size);
		assert_ptr_equal(block.start, start);
		block.size = size;
		block_fill(&block);
	}
	for (size_t i = 0; i < 16; i++)
		tm_free(others[i]);
	require_accounted(tm_malloc_usable_size(block.start));
	block.start = tm_realloc(block.start, GROWN / 4);
	block_check_below(&block, GROWN / 4);
	tm_free_sized(block.start, GROWN / 4);
	require_all_given_back();
}

/* A block that gives up less than a quarter stays where it is, and may be freed by the size that it has then. */
static void test_shrinking_a_little(void **state)
{
	(void)state;
	for (size_t least = 64; least <= LARGEST_CLASS_SIZE; least *= 2) {
		size_t size = size_classes[class_of_size(least)].size;
		char *block = tm_malloc(size);

		assert_ptr_equal(tm_realloc(block, size - size / 4), block);
		assert_ptr_equal(tm_realloc(block, size), block);
		assert_ptr_equal(tm_realloc(block, size - size / 8), block);
		tm_free_sized(block, size - size / 8);
	}
	require_all_given_back();
}

/* The report's lines, as numbers: the first of each row. */
static size_t reported(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	REQUIRE(line != NULL, "no line \"%s\"", name);
	while (line > text && line[-1] != '\n')
		line--;
	return strtoull(line, NULL, 10);
}

static void test_report_says_the_same(void **state)
{
	static char buffer[64 * KIB];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer) - 1};
	void *small = tm_malloc(1000);
	void *large = tm_malloc(3 * MIB);

	(void)state;
	statistics_write(&text);
	buffer[text.length] = '\0';
	assert_int_equal(reported(buffer, "  in use\n"), tm_malloc_usable_size(small) + 3 * MIB);
	assert_int_equal(reported(buffer, "  of these, large blocks\n"), 3 * MIB);
	assert_int_equal(reported(buffer, "= pages in use\n"),
			 reported(buffer, "  in use\n") + reported(buffer, "  in caches of threads or CPUs\n") +
				 reported(buffer, "  in transfer caches\n") + reported(buffer, "  free in spans\n") +
				 reported(buffer, "  tails of spans\n"));
	assert_int_equal(reported(buffer, "= heap mapped\n"), reported(buffer, "= pages in use\n") + reported(buffer, "  free pages\n") +
								      reported(buffer, "  released pages\n"));
	tm_free(small);
	tm_free(large);
	require_all_given_back();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounting_of_single_blocks),
		cmocka_unit_test(test_growth_in_steps),
		cmocka_unit_test(test_growth_stays_in_place),
		cmocka_unit_test(test_shrinking_a_little),
		cmocka_unit_test(test_report_says_the_same),
		cmocka_unit_test(test_random_operations_in_one_thread),
		cmocka_unit_test(test_random_operations_in_several_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Trap: a limit of the allocator's own on memory (TIERMALLOC_CONF). That malloc and its like say NULL and ENOMEM at the hard
 * limit, in each thread, is what out_of_memory shows; here is what else has to hold.
 *
 *     memory_limits soft MIB     resident memory stays near the soft limit of so many MiB while threads take and free more, as
 *                         long as less than that is in use
 *     memory_limits caches MIB   growth beyond the soft limit empties the caches, but not each time
 *     memory_limits hard MIB     resident memory never exceeds the hard limit by much, whatever threads ask for
 */
#include "churn.h"
#include "report.h"

#include <time.h>

/* The program, its libraries, and other threads' stacks. */
#define PROGRAM (12 * MIB)

enum { THREADS = 3, ROUNDS = 40, BLOCKS = 2000 };

static size_t limit;
static pthread_barrier_t barrier;

static void require_resident_below(size_t most, const char *when)
{
	size_t resident = resident_bytes();
	REQUIRE(resident <= most, "%s %zu KiB are resident, more than %zu", when, resident / KIB, most / KIB);
}

/* A hundred KiB each, filled; half of the limit in use at most. */
static void take_and_free(uint64_t *random, void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t size = 1000 + random_next(random) % (200 * KIB);
		blocks[i] = malloc(size);
		REQUIRE(blocks[i], "malloc(%zu): %s", size, strerror(errno));
		memset(blocks[i], 1, size);
	}
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
}

static void check_soft(void)
{
	static void *blocks[BLOCKS];
	uint64_t random = 1;
	size_t count = limit / 2 / (200 * KIB);
	REQUIRE(count <= BLOCKS, "too much for this test");
	for (int round = 0; round < ROUNDS; round++) {
		take_and_free(&random, blocks, count);
		require_resident_below(limit + PROGRAM, "below the soft limit");
	}
	/* Above it everything is to be had; what is freed goes at once. */
	char *block = malloc(2 * limit);
	REQUIRE(block, "the soft limit is hard");
	memset(block, 1, 2 * limit);
	free(block);
	require_resident_below(limit + PROGRAM, "after twice the soft limit was in use");
}

static size_t cached_bytes(void)
{
	static struct report report;
	report_read(&report);
	return report_bytes(&report, "cached");
}

/* Some hundred KiB, of several sizes. */
static void fill_caches(void)
{
	static void *small[3000];
	for (int i = 0; i < 3000; i++)
		small[i] = malloc((size_t)(i % 30) * 32 + 1);
	for (int i = 0; i < 3000; i++)
		free(small[i]);
}

/* Crosses the limit again and again, with the caches full; returns how often they were emptied. */
static int crossings(int count)
{
	int emptied = 0;
	for (int i = 0; i < count; i++) {
		fill_caches();
		size_t before = cached_bytes();
		REQUIRE(before > 10 * KIB, "only %zu bytes are in caches", before);
		free(malloc(limit + MIB));
		emptied += cached_bytes() < before / 4;
	}
	return emptied;
}

static void check_caches(void)
{
	REQUIRE(crossings(1) == 1, "the first growth beyond the limit empties no caches");
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	int emptied = crossings(300);
	clock_gettime(CLOCK_MONOTONIC, &end);
	/* The clock is coarse. */
	double tenths = (double)(end.tv_sec - start.tv_sec) * 10 + (double)(end.tv_nsec - start.tv_nsec) / 1e8;
	REQUIRE(emptied <= tenths * 1.1 + 2, "caches were emptied %d times in %.1f tenths of a second", emptied, tenths);
	time_t limit_of_time = time(NULL) + HANG_LIMIT_SECONDS;
	while (crossings(1) == 0)
		REQUIRE(time(NULL) < limit_of_time, "they are never emptied again");
}

static void *take_all(void *argument_of_thread)
{
	uint64_t random = (uint64_t)(uintptr_t)argument_of_thread;
	size_t refused = 0;
	static __thread struct block blocks[BLOCKS];
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < BLOCKS * ROUNDS; i++) {
		struct block *block = &blocks[random_next(&random) % BLOCKS];
		if (block->start) {
			block_end(block);
			continue;
		}
		block->size = churn_size(&random);
		block->tag = (unsigned char)random_next(&random);
		errno = 0;
		block->start = malloc(block->size);
		if (block->start) {
			/* All of it: what is resident is what is measured. */
			memset(block->start, block->tag, block->size);
		} else {
			REQUIRE(errno == ENOMEM, "errno %d", errno);
			refused++;
		}
		if (i % (BLOCKS / 4) == 0)
			require_resident_below(limit + PROGRAM, "below the hard limit");
	}
	REQUIRE(refused != 0, "nothing was refused");
	for (int i = 0; i < BLOCKS; i++)
		if (blocks[i].start)
			block_end(&blocks[i]);
	return NULL;
}

static void check_hard(void)
{
	pthread_t threads[THREADS];
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, take_all, (void *)(uintptr_t)(i + 1)) == 0, "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	malloc_trim(0);
	use_heap_briefly(4);
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(count == 3, "two arguments are needed");
	limit = strtoul(values[2], NULL, 10) * MIB;
	if (strcmp(values[1], "soft") == 0)
		check_soft();
	else if (strcmp(values[1], "caches") == 0)
		check_caches();
	else if (strcmp(values[1], "hard") == 0)
		check_hard();
	else
		FAIL("unknown limit %s", values[1]);
	return 0;
}

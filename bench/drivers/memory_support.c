/* Objects, sizes, the stopwatch and the samples of the memory benchmark. See memory.h. */
#define _GNU_SOURCE
#include "memory.h"
#include "pattern.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A plot needs about 100; what comes after is dropped. */
#define SAMPLES_MAXIMUM 400

struct sample {
	uint64_t nanoseconds;
	double mib;
};

static struct sample samples[SAMPLES_MAXIMUM];
static size_t sample_count;
static size_t table_bytes;
static uint64_t elapsed, resumed;
static bool running;

void *take(size_t size)
{
	void *object = malloc(size);
	if (object == NULL)
		fail("malloc gave no memory");
	memset(object, 1, size);
	return object;
}

void *map_table(size_t size)
{
	/* Without MAP_POPULATE a table that is filled in slowly would count as the allocator's. */
	void *table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (table == MAP_FAILED)
		fail("no memory for a table");
	table_bytes += size;
	return table;
}

size_t draw_size(uint64_t *state, size_t smallest, unsigned doublings)
{
	uint64_t random = next_random(state);
	if (doublings == 0)
		return smallest;
	/* The number of trailing zeros is k with probability 1 / 2^(k+1); those above the limit become the smallest. */
	unsigned doubling = (unsigned)__builtin_ctzll(random | (uint64_t)1 << 20);
	if (doubling >= doublings)
		doubling = 0;
	size_t low = smallest << doubling;
	return low + (size_t)(random >> 32) % low;
}

void resume_stopwatch(void)
{
	resumed = processor_clock();
	running = true;
}

void pause_stopwatch(void)
{
	elapsed = stopwatch();
	running = false;
}

uint64_t stopwatch(void)
{
	return running ? elapsed + (processor_clock() - resumed) : elapsed;
}

void start_stopwatch(void)
{
	take_sample(); /* the code that measures becomes resident, too: now, not later */
	sample_count = 0;
	take_sample();
	resume_stopwatch();
}

double take_sample(void)
{
	bool was_running = running;
	pause_stopwatch();
	double mib = (double)resident_kib() / 1024.0 - (double)table_bytes / (double)MIB;
	if (sample_count < SAMPLES_MAXIMUM)
		samples[sample_count++] = (struct sample){elapsed, mib};
	if (was_running)
		resume_stopwatch();
	return mib;
}

void print_series(void)
{
	for (size_t i = 0; i < sample_count; i++)
		printf("series %.6f %.0f\n", (double)samples[i].nanoseconds / 1e9, samples[i].mib * (double)MIB);
}

void print_statistics(size_t requested)
{
	printf("requested %zu\n", requested);
	if (dlsym(RTLD_DEFAULT, "tiermalloc_version") != NULL)
		malloc_info(0, stdout);
}

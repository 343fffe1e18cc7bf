/*
 * Generates a trace of the page heap: a workload runs on the whole allocator, as a program would, while the page heap
 * writes its trace. Nothing is written into the blocks, so that the heap may be many times as large as the machine's
 * memory; the clock is the workload's. With --touch they are written to, and what is resident then is printed: what the
 * account of the simulator can be checked against.
 *
 * Relies on the library's insides under the prefix tm_.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "drivers/pattern.h"
#include "observe/page_trace.h"
#include "pageheap/pageheap.h"
#include "workloads.h"

void *tm_malloc(size_t size);
void *tm_realloc(void *pointer, size_t size);
void tm_free(void *pointer);

double workload_scale = 1;
uint64_t workload_time = SECOND;

static uint64_t random_number;

/* Blocks are written to, once in each page of the kernel. */
#define TOUCH_STEP ((size_t)4096)
static bool touching;

static uint64_t clock_of_workload(void)
{
	return workload_time / MILLISECOND;
}

/* Populating would make memory resident that nobody needs here. */
static bool refuse_populating(enum os_call call)
{
	return call == OS_POPULATE;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "generate: %s\n", what);
	exit(1);
}

static void *allocate_own(void *old, size_t bytes)
{
	void *memory = realloc(old, bytes);

	if (memory == NULL)
		fail("out of memory");
	return memory;
}

void random_seed(uint64_t seed)
{
	random_number = random_state(seed);
}

uint64_t random_below(uint64_t end)
{
	return next_random(&random_number) % end;
}

double random_share(void)
{
	return (double)(next_random(&random_number) >> 11) * 0x1p-53;
}

uint64_t random_exponential(uint64_t mean)
{
	return (uint64_t)(-log(1 - random_share()) * (double)mean);
}

size_t random_size(size_t smallest, size_t largest)
{
	return smallest + random_below(largest - smallest + 1);
}

size_t random_long_tail(size_t smallest, size_t largest)
{
	return random_power_law(&random_number, (uint32_t)smallest, (uint32_t)largest);
}

static void *check_block(char *pointer, size_t size)
{
	if (pointer == NULL)
		fail("the allocator has no memory");
	for (size_t at = 0; touching && at < size; at += TOUCH_STEP)
		pointer[at] = 1;
	if (touching && size != 0)
		pointer[size - 1] = 1;
	return pointer;
}

void *block_allocate(size_t size)
{
	return check_block(tm_malloc(size), size);
}

void *block_resize(void *pointer, size_t size)
{
	return check_block(tm_realloc(pointer, size), size);
}

void block_free(void *pointer)
{
	tm_free(pointer);
}

void blocks_add(struct blocks *blocks, size_t size)
{
	if (blocks->count == blocks->capacity) {
		blocks->capacity = 2 * blocks->capacity + 1024;
		blocks->pointers = allocate_own(blocks->pointers, blocks->capacity * sizeof(void *));
	}
	blocks->pointers[blocks->count++] = block_allocate(size);
}

void blocks_free_random(struct blocks *blocks)
{
	size_t chosen = random_below(blocks->count);

	block_free(blocks->pointers[chosen]);
	blocks->pointers[chosen] = blocks->pointers[--blocks->count];
}

void blocks_free_down_to(struct blocks *blocks, size_t count, uint64_t interval)
{
	while (blocks->count > count) {
		blocks_free_random(blocks);
		pass(interval);
	}
}

struct life {
	uint64_t end;
	void *pointer;
};

/* A heap in an array: the next to end is the first. */
struct lives {
	struct life *lives;
	size_t count;
	size_t capacity;
};

struct lives *lives_new(void)
{
	struct lives *lives = allocate_own(NULL, sizeof(*lives));

	*lives = (struct lives){0};
	return lives;
}

void lives_add(struct lives *lives, size_t size, uint64_t length)
{
	struct life life = {workload_time + length, block_allocate(size)};
	size_t at = lives->count++;

	if (lives->count > lives->capacity) {
		lives->capacity = 2 * lives->capacity + 1024;
		lives->lives = allocate_own(lives->lives, lives->capacity * sizeof(struct life));
	}
	for (; at > 0 && lives->lives[(at - 1) / 2].end > life.end; at = (at - 1) / 2)
		lives->lives[at] = lives->lives[(at - 1) / 2];
	lives->lives[at] = life;
}

static void remove_first(struct lives *lives)
{
	struct life last = lives->lives[--lives->count];
	size_t at = 0;

	for (size_t child = 1; child < lives->count; child = 2 * at + 1) {
		child += child + 1 < lives->count && lives->lives[child + 1].end < lives->lives[child].end;
		if (lives->lives[child].end >= last.end)
			break;
		lives->lives[at] = lives->lives[child];
		at = child;
	}
	lives->lives[at] = last;
}

void lives_end(struct lives *lives)
{
	while (lives->count != 0 && lives->lives[0].end <= workload_time) {
		block_free(lives->lives[0].pointer);
		remove_first(lives);
	}
}

void light_activity(uint64_t nanoseconds)
{
	void *recent[64] = {NULL};

	for (uint64_t end = workload_time + nanoseconds; workload_time < end;) {
		for (int i = 0; i < 4; i++) {
			size_t at = random_below(64);

			block_free(recent[at]);
			recent[at] = block_allocate(random_long_tail(16, 16 * KIB));
		}
		pass(MILLISECOND);
	}
	for (size_t at = 0; at < 64; at++)
		block_free(recent[at]);
}

/* Resident bytes of the process and their peak, from /proc/self/status. */
static void print_resident(const char *when)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long kib;

	if (status == NULL)
		fail("/proc/self/status cannot be read");
	while (fgets(line, sizeof(line), status) != NULL) {
		if (sscanf(line, "VmRSS: %lu", &kib) == 1 || sscanf(line, "VmHWM: %lu", &kib) == 1)
			printf("%s %.5s %lu\n", when, line, kib << 10);
	}
	fclose(status);
}

static const char usage[] = "usage: generate [--seed N] [--scale X] [--touch] WORKLOAD FILE\n"
			    "       generate --list\n";

static void list(void)
{
	for (const struct workload *workload = workloads; workload->name != NULL; workload++)
		printf("%-14s %s\n", workload->name, workload->what);
}

static const struct workload *workload_named(const char *name)
{
	const struct workload *workload = workloads;

	while (workload->name != NULL && strcmp(workload->name, name) != 0)
		workload++;
	if (workload->name == NULL)
		fail("there is no such workload; --list shows them");
	return workload;
}

int main(int count, char **arguments)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
						{"scale", required_argument, NULL, 'x'},
						{"touch", no_argument, NULL, 't'},
						{"list", no_argument, NULL, 'l'},
						{0}};
	uint64_t seed = 1;
	int option;

	while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
		if (option == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (option == 'x')
			workload_scale = strtod(optarg, NULL);
		else if (option == 't')
			touching = true;
		else if (option == 'l')
			return list(), 0;
		if (option == '?' || !(workload_scale > 0)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 2 != count) {
		fputs(usage, stderr);
		return 2;
	}
	const struct workload *workload = workload_named(arguments[optind]);
	random_seed(seed);
	os_clock = clock_of_workload;
	if (!touching)
		os_fault = refuse_populating;
	/* What they cost would decide about what is given back, and so about where things are. */
	pageheap_set_huge_pages(HUGE_PAGES_NEVER, OS_HUGE_NEVER);
	/* The heap is made before it is observed. */
	block_free(block_allocate(1));
	if (page_trace_start(arguments[optind + 1]) != 0)
		fail("the trace cannot be written");
	if (touching)
		print_resident("before");
	workload->run();
	page_trace_flush();
	if (touching)
		print_resident("after");
	return 0;
}

/*
 * The microbenchmarks: nanoseconds per operation of one row, on the standard interface alone, so that any preloaded
 * allocator can be measured. One process measures one row. With more than one thread, each does the same on objects of
 * its own. Must be compiled with -fno-builtin: otherwise the compiler may remove a malloc with its free.
 */
#include "measure.h"
#include "operators.h"
#include "pattern.h"
#include "row.h"
#include "touch.h"
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>

#define MIB   ((size_t)1 << 20)
#define BATCH 1000
#define LIVE  100000

/* Pairs in a round: enough that counting them costs nothing, but not many more bytes than this, for allocators that go
 * to the system for each. */
#define PAIRS           10000
#define BYTES_PER_ROUND (64 * MIB)

/* Rows of random sizes have this many live objects, or fewer, so that the largest size of each fits into the bytes. */
#define RANDOM_LIVE       1024
#define RANDOM_LIVE_BYTES (64 * MIB)

/* More steps than a branch predictor or a prefetcher learns by heart; done in rounds of a thousand or so. */
#define RANDOM_STEPS 32768
#define ROUND_STEPS  1024

enum freeing { IN_ORDER, REVERSED, ALTERNATING, AT_RANDOM };

struct family {
	const char *name;
	uint64_t (*round)(struct worker *worker); /* does a bit of work and returns its number of operations */
	void (*prepare)(void);
	size_t count; /* live objects of a batch */
	enum freeing freeing;
	bool untouched; /* objects are not written */
	size_t alignment;
	size_t first, step; /* growing: where from, and by how much; step 0: by the factor */
	double factor;
};

/* All working memory is static: the allocator serves nothing but what is measured. */
static char *slots[WORKERS_MAXIMUM][LIVE];
static uint32_t order[LIVE];
static struct random_step steps[RANDOM_STEPS];

static const struct family *family;
static struct row row;
static size_t count;

static uint64_t round_pair(struct worker *worker)
{
	size_t size = row.size, pairs = count;
	(void)worker;
	for (size_t i = 0; i < pairs; i++) {
		char *object = malloc(size);
		touch(object, size);
		free(object);
	}
	return pairs;
}

static uint64_t round_calloc(struct worker *worker)
{
	size_t size = row.size, pairs = count;
	(void)worker;
	for (size_t i = 0; i < pairs; i++) {
		char *object = calloc(1, size);
		touch(object, size);
		free(object);
	}
	return pairs;
}

static uint64_t round_aligned(struct worker *worker)
{
	size_t size = row.size, alignment = family->alignment, pairs = count;
	(void)worker;
	for (size_t i = 0; i < pairs; i++) {
		char *object = aligned_alloc(alignment, size);
		touch(object, size);
		free(object);
	}
	return pairs;
}

static uint64_t round_sized_delete(struct worker *worker)
{
	size_t size = row.size, pairs = count;
	(void)worker;
	for (size_t i = 0; i < pairs; i++) {
		char *object = operator_new(size);
		touch(object, size);
		operator_delete_sized(object, size);
	}
	return pairs;
}

static void prepare_pairs(void)
{
	count = BYTES_PER_ROUND / row.size;
	if (count > PAIRS)
		count = PAIRS;
	if (count == 0)
		count = 1;
}

static void prepare_sized_delete(void)
{
	prepare_pairs();
	load_operators();
}

static uint64_t round_batch(struct worker *worker)
{
	char **objects = slots[worker->index];
	size_t size = row.size, objects_count = family->count;
	if (family->untouched) {
		for (size_t i = 0; i < objects_count; i++)
			objects[i] = malloc(size);
	} else {
		for (size_t i = 0; i < objects_count; i++) {
			objects[i] = malloc(size);
			touch(objects[i], size);
		}
	}
	switch (family->freeing) {
	case IN_ORDER:
		for (size_t i = 0; i < objects_count; i++)
			free(objects[i]);
		break;
	case REVERSED:
		for (size_t i = objects_count; i > 0; i--)
			free(objects[i - 1]);
		break;
	case ALTERNATING:
		for (size_t i = 0; i < objects_count; i += 2)
			free(objects[i]);
		for (size_t i = 1; i < objects_count; i += 2)
			free(objects[i]);
		break;
	case AT_RANDOM:
		for (size_t i = 0; i < objects_count; i++)
			free(objects[order[i]]);
		break;
	}
	return objects_count;
}

static void prepare_batch(void)
{
	if (family->freeing == AT_RANDOM)
		shuffle_order(order, family->count);
}

/* Replaces one of the live objects after the other by one of another size. Workers begin at different steps. */
static uint64_t round_random(struct worker *worker)
{
	const struct random_step *step = &steps[(worker->index + worker->position++) * ROUND_STEPS % RANDOM_STEPS];
	char **objects = slots[worker->index];
	bool untouched = family->untouched;
	for (size_t i = 0; i < ROUND_STEPS; i++, step++) {
		char **slot = &objects[step->slot];
		free(*slot);
		*slot = malloc(step->size);
		if (!untouched)
			touch(*slot, step->size);
	}
	return ROUND_STEPS;
}

static size_t random_live(void)
{
	return row.size > RANDOM_LIVE_BYTES / RANDOM_LIVE ? RANDOM_LIVE_BYTES / row.size : RANDOM_LIVE;
}

static void prepare_random(void)
{
	if (random_live() == 0)
		refuse_row();
	fill_uniform_steps(steps, RANDOM_STEPS, random_live(), 1, row.size);
}

static void prepare_power_law(void)
{
	fill_power_law_steps(steps, RANDOM_STEPS, RANDOM_LIVE, 16, row.size);
}

/* Grows one object from the family's first size up to the row's, and writes what is new each time. */
static uint64_t round_growth(struct worker *worker)
{
	size_t size = family->first;
	uint64_t reallocs = 0;
	char *object = malloc(size);
	(void)worker;
	touch(object, size);
	while (size < row.size) {
		size_t next = family->step ? size + family->step : (size_t)((double)size * family->factor);
		object = realloc(object, next);
		touch_part(object, size, next);
		size = next;
		reallocs++;
	}
	free(object);
	return reallocs;
}

/* A round in which nothing grows would have no operations. */
static void prepare_growth(void)
{
	if (row.size <= family->first)
		refuse_row();
}

/* One object gives an eighth of itself back and takes it again: nothing needs to be copied. */
static uint64_t round_realloc_in_place(struct worker *worker)
{
	char **object = &slots[worker->index][0];
	size_t size = row.size;
	for (size_t i = 0; i < BATCH; i++) {
		*object = realloc(*object, size - size / 8);
		*object = realloc(*object, size);
		touch_part(*object, size - 1, size);
	}
	return 2 * BATCH;
}

static const struct family families[] = {
	{"pair", .round = round_pair, .prepare = prepare_pairs},
	{"batch-in-order", .round = round_batch, .prepare = prepare_batch, .count = BATCH, .freeing = IN_ORDER},
	{"batch-reversed", .round = round_batch, .prepare = prepare_batch, .count = BATCH, .freeing = REVERSED},
	{"batch-random", .round = round_batch, .prepare = prepare_batch, .count = BATCH, .freeing = AT_RANDOM},
	{"batch-in-order-untouched", .round = round_batch, .prepare = prepare_batch, .count = BATCH,
	 .freeing = IN_ORDER, .untouched = true},
	{"batch-reversed-untouched", .round = round_batch, .prepare = prepare_batch, .count = BATCH,
	 .freeing = REVERSED, .untouched = true},
	{"batch-random-untouched", .round = round_batch, .prepare = prepare_batch, .count = BATCH, .freeing = AT_RANDOM,
	 .untouched = true},
	{"live-in-order", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = IN_ORDER},
	{"live-reversed", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = REVERSED},
	{"live-alternating", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = ALTERNATING},
	{"live-random", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = AT_RANDOM},
	{"live-in-order-untouched", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = IN_ORDER,
	 .untouched = true},
	{"live-reversed-untouched", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = REVERSED,
	 .untouched = true},
	{"live-random-untouched", .round = round_batch, .prepare = prepare_batch, .count = LIVE, .freeing = AT_RANDOM,
	 .untouched = true},
	{"random", .round = round_random, .prepare = prepare_random},
	{"random-untouched", .round = round_random, .prepare = prepare_random, .untouched = true},
	{"power-law", .round = round_random, .prepare = prepare_power_law},
	{"calloc", .round = round_calloc, .prepare = prepare_pairs},
	{"aligned-64", .round = round_aligned, .prepare = prepare_pairs, .alignment = 64},
	{"aligned-256", .round = round_aligned, .prepare = prepare_pairs, .alignment = 256},
	{"aligned-4096", .round = round_aligned, .prepare = prepare_pairs, .alignment = 4096},
	{"realloc-vector", .round = round_growth, .prepare = prepare_growth, .first = 64, .factor = 2},
	{"realloc-vector-by-half", .round = round_growth, .prepare = prepare_growth, .first = 64, .factor = 1.5},
	{"realloc-by-16", .round = round_growth, .prepare = prepare_growth, .first = 16, .step = 16},
	{"realloc-buffer", .round = round_growth, .prepare = prepare_growth, .first = MIB, .step = 64 * 1024},
	{"realloc-in-place", .round = round_realloc_in_place},
	{"sized-delete", .round = round_sized_delete, .prepare = prepare_sized_delete},
};

static void work(struct worker *worker)
{
	while (worker_goes_on(worker, family->round(worker)))
		continue;
}

int main(int argc, char **argv)
{
	family = &families[read_row(argc, argv, families, sizeof families[0], sizeof families / sizeof families[0],
				    &row)];
	if (row.size == 0)
		refuse_row();
	if (family->prepare)
		family->prepare();
	printf("ns %.4f\n", run_workers(row.threads, row.duration, work));
	print_allocator();
	return 0;
}

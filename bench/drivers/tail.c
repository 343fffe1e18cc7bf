/*
 * Tail latency: how long single calls of malloc and free take under a mixed load, and how long the slowest take. Each
 * call is timed by itself, and goes into a histogram. Rows: tail/small, tail/mixed (small and large sizes), and
 * tail/threads@N (mixed; a fourth of the objects is freed by whichever thread comes next).
 *
 * Prints quantiles and the largest value in nanoseconds, the cost of the timer, which every value includes, and the
 * histogram in lines `histogram NS COUNT`. A time in which the scheduler took the processor away says nothing about the
 * allocator: steps are done in blocks, and a block in which that happened is dropped. What remains of the machine's
 * noise are interrupts.
 */
#define _GNU_SOURCE
#include "histogram.h"
#include "measure.h"
#include "pattern.h"
#include "row.h"
#include "ticks.h"
#include "touch.h"
#include "workers.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Objects live at once, over all threads. */
#define LIVE 10000

/* Half of the steps replace one of a few young objects, the others any: most objects live briefly, some for long. */
#define YOUNG 64

/* With threads, one step in this many uses the table that they share. */
#define SHARED_EVERY 4

/* A block takes about 0.1 ms, a thread's turn some milliseconds: few blocks are dropped. Its times fit into a part of
 * the first-level cache. */
#define BLOCK_STEPS 512

#define SMALLEST      16
#define LARGEST_SMALL 1024
#define LARGEST_MIXED (256 << 10)

#define TIMER_TRIES 1001

/* A worker's own objects and its times. A step has one malloc and one free. */
static struct load {
	alignas(128) uint64_t random;
	size_t times;
	uint32_t block[2 * BLOCK_STEPS];
	char *objects[LIVE];
	uint64_t blocks, dropped_blocks;
	struct histogram histogram;
} loads[WORKERS_MAXIMUM];

static _Atomic(char *) shared[LIVE];
static uint32_t largest_size;
static size_t own_live, shared_live;

static void note_time(struct load *load, uint64_t ticks)
{
	load->block[load->times++] = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

static char *timed_malloc(struct load *load, size_t size)
{
	uint64_t before = read_ticks();
	char *object = malloc(size);
	note_time(load, read_ticks() - before);
	touch(object, size);
	return object;
}

static void timed_free(struct load *load, char *object)
{
	if (object == NULL)
		return;
	uint64_t before = read_ticks();
	free(object);
	note_time(load, read_ticks() - before);
}

static void do_step(struct load *load)
{
	uint64_t random = next_random(&load->random);
	char *object = timed_malloc(load, random_power_law(&load->random, SMALLEST, largest_size));
	size_t choice = (size_t)(random >> 8);
	if (shared_live > 0 && random % SHARED_EVERY == 0) {
		timed_free(load, atomic_exchange(&shared[choice % shared_live], object));
		return;
	}
	char **slot = &load->objects[choice % (random & 0x80 ? YOUNG : own_live)];
	timed_free(load, *slot);
	*slot = object;
}

static long involuntary_switches(void)
{
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

static uint64_t do_block(struct worker *worker)
{
	struct load *load = &loads[worker->index];
	bool timed = worker->phase == WORKER_TIMED;
	long switches = involuntary_switches();
	load->times = 0;
	for (size_t i = 0; i < BLOCK_STEPS; i++)
		do_step(load);
	bool dropped = involuntary_switches() != switches;
	load->blocks += timed;
	load->dropped_blocks += timed && dropped;
	for (size_t i = 0; timed && !dropped && i < load->times; i++)
		histogram_add(&load->histogram, load->block[i]);
	return BLOCK_STEPS;
}

/* Fills the tables before the clock starts: afterwards each step is a malloc with a free. */
static void work(struct worker *worker)
{
	struct load *load = &loads[worker->index];
	load->random = random_state(worker->index);
	for (size_t i = 0; i < own_live; i++) {
		size_t size = random_power_law(&load->random, SMALLEST, largest_size);
		load->objects[i] = malloc(size);
		touch(load->objects[i], size);
	}
	while (worker_goes_on(worker, do_block(worker)))
		continue;
}

static void prepare(const struct row *row)
{
	if (strcmp(row->argument, "small") == 0)
		largest_size = LARGEST_SMALL;
	else if (strcmp(row->argument, "mixed") == 0 || strcmp(row->argument, "threads") == 0)
		largest_size = LARGEST_MIXED;
	else
		refuse_row();
	if ((row->threads > 1) != (strcmp(row->argument, "threads") == 0))
		refuse_row();
	shared_live = row->threads > 1 ? LIVE / SHARED_EVERY : 0;
	own_live = (LIVE - shared_live) / row->threads;
}

/* The median time, in ticks, of reading the clock twice with nothing in between. */
static double timer_cost(void)
{
	static struct histogram cost;
	for (size_t i = 0; i < TIMER_TRIES; i++) {
		uint64_t before = read_ticks();
		histogram_add(&cost, (uint32_t)(read_ticks() - before));
	}
	return histogram_quantile(&cost, 0.5);
}

static void print_results(const struct histogram *all, double tick_ns)
{
	static const struct {
		const char *name;
		double share;
	} quantiles[] = {
		{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}, {"max", 1.0},
	};
	for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
		printf("%s %.2f\n", quantiles[i].name, histogram_quantile(all, quantiles[i].share) * tick_ns);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (all->counts[i] > 0)
			printf("histogram %.2f %ju\n", histogram_value(i) * tick_ns, (uintmax_t)all->counts[i]);
	}
}

int main(int argc, char **argv)
{
	static const char *const families[] = {"tail"};
	static struct histogram all;
	struct row row;
	uint64_t blocks = 0, dropped_blocks = 0;
	read_row(argc, argv, families, sizeof families[0], 1, &row);
	prepare(&row);
	double timer = timer_cost();
	uint64_t start_ns = wall_clock(), start_ticks = read_ticks();
	run_workers(row.threads, row.duration, work);
	double tick_ns = (double)(wall_clock() - start_ns) / (double)(read_ticks() - start_ticks);
	for (size_t i = 0; i < row.threads; i++) {
		histogram_merge(&all, &loads[i].histogram);
		blocks += loads[i].blocks;
		dropped_blocks += loads[i].dropped_blocks;
	}
	if (all.total == 0)
		fail("every block was disturbed");
	print_results(&all, tick_ns);
	printf("timer %.2f\nblocks %ju\ndropped_blocks %ju\n", timer * tick_ns, (uintmax_t)blocks,
	       (uintmax_t)dropped_blocks);
	print_allocator();
	return 0;
}

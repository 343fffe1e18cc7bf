/*
 * What threads share. See threads.h.
 *
 * false-sharing-active, false-sharing-passive: after cache-thrash and cache-scratch of Berger, McKinley, Blumofe and
 * Wilson (Hoard: a scalable memory allocator for multithreaded applications, ASPLOS 2000). Each thread allocates a
 * small object, writes into it many times, frees it, and again. Active: an allocator that serves two threads from one
 * cache line makes them share it. Passive: the threads first free objects that one thread has allocated side by side,
 * and an allocator that serves them again from what they freed lets them go on sharing the line.
 *
 * shared-array: each thread puts a new object into a random slot of a table that all of them use, by an atomic
 * exchange, and frees what was there. An operation is one object.
 */
#include "pattern.h"
#include "threads.h"
#include "touch.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Several fit into a cache line. The writes take far longer than malloc and free do, so that a row measures
 * the sharing and not the pair, which other rows do. */
#define SHARED_SIZE       8
#define WRITES            200
#define OBJECTS_PER_ROUND 100

#define SLOTS           4096
#define STEPS           32768
#define STEPS_PER_ROUND 1024
#define SMALLEST        16
#define LARGEST         4096

static char *handed[WORKERS_MAXIMUM];
static _Atomic(char *) slots[SLOTS];
static struct random_step steps[STEPS];

void prepare_false_sharing_active(const struct row *row)
{
	(void)row;
}

void prepare_false_sharing_passive(const struct row *row)
{
	for (size_t i = 0; i < row->threads; i++) {
		handed[i] = malloc(SHARED_SIZE);
		touch(handed[i], SHARED_SIZE);
	}
}

static uint64_t round_false_sharing(struct worker *worker)
{
	(void)worker;
	for (size_t i = 0; i < OBJECTS_PER_ROUND; i++) {
		volatile char *object = malloc(SHARED_SIZE);
		for (size_t j = 0; j < WRITES; j++)
			object[j % SHARED_SIZE]++;
		free((char *)object);
	}
	return OBJECTS_PER_ROUND;
}

void work_false_sharing(struct worker *worker)
{
	free(handed[worker->index]);
	repeat_rounds(worker, round_false_sharing);
}

void prepare_shared_array(const struct row *row)
{
	(void)row;
	fill_power_law_steps(steps, STEPS, SLOTS, SMALLEST, LARGEST);
}

static uint64_t round_shared_array(struct worker *worker)
{
	/* Every worker goes through the steps from a place of its own. */
	size_t place = worker->index * (STEPS / WORKERS_MAXIMUM) + worker->position;
	for (size_t i = 0; i < STEPS_PER_ROUND; i++) {
		const struct random_step *step = &steps[(place + i) % STEPS];
		char *object = malloc(step->size);
		touch(object, step->size);
		free(atomic_exchange(&slots[step->slot], object));
	}
	worker->position += STEPS_PER_ROUND;
	return STEPS_PER_ROUND;
}

void work_shared_array(struct worker *worker)
{
	repeat_rounds(worker, round_shared_array);
}

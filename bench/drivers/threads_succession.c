/*
 * Threads that end while what they allocated lives on. See threads.h.
 *
 * larson: the simulation of a server by Larson and Krishnan (Memory allocation for long-running server applications,
 * ISMM 1998). Each worker is a line of threads. A thread frees random objects of its array and puts new ones there, and
 * after a while starts another thread, hands the array over to it, and ends. An operation is one replacement.
 *
 * come-and-go: each worker starts one thread after the other. A thread allocates objects, frees most of them and leaves
 * the rest to whatever thread comes to the same place of a shared table next, and ends. An operation is one object.
 *
 * Starting a thread is part of both, and counts.
 */
#include "measure.h"
#include "pattern.h"
#include "threads.h"
#include "touch.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STEPS 32768

/* The sizes and the number of a thread's objects as published. The replacements take many times as long as starting a
 * thread, so that a row measures them first of all. */
#define LARSON_SMALLEST     10
#define LARSON_LARGEST      500
#define LARSON_OBJECTS      1000
#define LARSON_REPLACEMENTS 20000

/* Enough that allocating them takes longer than starting a thread; each eighth is left behind. */
#define VISITOR_SMALLEST 16
#define VISITOR_LARGEST  1024
#define VISITOR_OBJECTS  1000
#define VISITOR_LEAVES   8
#define PLACES           1024

/* The threads need little; the C library then keeps the stacks of ended ones, and the system has no part in a start. */
#define STACK_SIZE ((size_t)256 << 10)

static struct random_step steps[STEPS];
static pthread_attr_t small_stack;

static struct line {
	alignas(128) struct worker *worker;
	sem_t ended;
	char *objects[LARSON_OBJECTS];
} lines[WORKERS_MAXIMUM];

static char *visitor_objects[WORKERS_MAXIMUM][VISITOR_OBJECTS];
static _Atomic(char *) places[PLACES];

static void prepare_stacks(int detach_state)
{
	if (pthread_attr_init(&small_stack) != 0 || pthread_attr_setstacksize(&small_stack, STACK_SIZE) != 0 ||
	    pthread_attr_setdetachstate(&small_stack, detach_state) != 0)
		fail("cannot prepare threads");
}

static void start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
	if (pthread_create(thread, &small_stack, function, argument) != 0)
		fail("cannot create a thread");
}

void prepare_larson(const struct row *row)
{
	fill_uniform_steps(steps, STEPS, LARSON_OBJECTS, LARSON_SMALLEST, LARSON_LARGEST);
	prepare_stacks(PTHREAD_CREATE_DETACHED);
	/* The first thread's objects come from the main one, as published. */
	for (size_t i = 0; i < row->threads; i++) {
		for (size_t j = 0; j < LARSON_OBJECTS; j++)
			lines[i].objects[j] = malloc(steps[j].size);
		if (sem_init(&lines[i].ended, 0, 0) != 0)
			fail("cannot make a semaphore");
	}
}

static void replace_objects(struct line *line)
{
	/* Every line goes through the steps from a place of its own. */
	size_t position = line->worker->position + line->worker->index * (STEPS / WORKERS_MAXIMUM);
	for (size_t i = 0; i < LARSON_REPLACEMENTS; i++) {
		const struct random_step *step = &steps[(position + i) % STEPS];
		char **slot = &line->objects[step->slot];
		free(*slot);
		*slot = malloc(step->size);
		touch(*slot, step->size);
	}
	line->worker->position += LARSON_REPLACEMENTS;
}

static void *larson_thread(void *argument)
{
	struct line *line = argument;
	pthread_t successor;
	replace_objects(line);
	if (worker_goes_on(line->worker, LARSON_REPLACEMENTS))
		start_thread(&successor, larson_thread, line);
	else
		sem_post(&line->ended);
	return NULL;
}

/* Starts the line and waits for its end. */
void work_larson(struct worker *worker)
{
	struct line *line = &lines[worker->index];
	pthread_t first;
	line->worker = worker;
	start_thread(&first, larson_thread, line);
	while (sem_wait(&line->ended) != 0)
		continue;
}

void prepare_come_and_go(const struct row *row)
{
	(void)row;
	fill_uniform_steps(steps, STEPS, PLACES, VISITOR_SMALLEST, VISITOR_LARGEST);
	prepare_stacks(PTHREAD_CREATE_JOINABLE);
}

static void *visitor(void *argument)
{
	struct worker *worker = argument;
	char **objects = visitor_objects[worker->index];
	const struct random_step *own_steps = &steps[worker->position % (STEPS - VISITOR_OBJECTS)];
	for (size_t i = 0; i < VISITOR_OBJECTS; i++) {
		objects[i] = malloc(own_steps[i].size);
		touch(objects[i], own_steps[i].size);
	}
	for (size_t i = 0; i < VISITOR_OBJECTS; i++) {
		if (i % VISITOR_LEAVES == 0)
			objects[i] = atomic_exchange(&places[own_steps[i].slot], objects[i]);
		free(objects[i]);
	}
	worker->position += VISITOR_OBJECTS;
	return NULL;
}

static uint64_t round_come_and_go(struct worker *worker)
{
	pthread_t thread;
	start_thread(&thread, visitor, worker);
	pthread_join(thread, NULL);
	return VISITOR_OBJECTS;
}

void work_come_and_go(struct worker *worker)
{
	worker->position = worker->index * VISITOR_OBJECTS;
	repeat_rounds(worker, round_come_and_go);
}

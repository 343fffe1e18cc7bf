/*
 * Threads whose objects live for different times, each in a heap of its own. See threads.h.
 *
 * pareto: sizes and lifetimes by Pareto's law. At each step a thread allocates an object, says after how many more
 * steps it will be freed, and frees those whose time has come. An operation is one step.
 *
 * phases: a thread's heap grows to 20 MiB and shrinks to 2 MiB, freed at random, over and over; small and larger
 * objects take turns, so that what one phase left is in the way of the next. An operation is one object.
 */
#include "pattern.h"
#include "threads.h"
#include "touch.h"

#include <stdlib.h>

#define MIB ((size_t)1 << 20)

/* A lifetime is longer than n steps with probability 1 / sqrt(n): half the objects live for up to 4 steps, and some
 * hundred live at once, the oldest for the whole length. */
#define LONGEST_LIFE    65536
#define SMALLEST        16
#define LARGEST         65536
#define STEPS           32768
#define STEPS_PER_ROUND 1024

#define HIGH (20 * MIB)
#define LOW  (2 * MIB)

/* The phases' sizes: by the power law, then evenly spread. The objects of the first are about 45,000. */
#define FIRST_SMALLEST  64
#define FIRST_LARGEST   32768
#define SECOND_SMALLEST 16
#define SECOND_LARGEST  2048
#define HEAP_OBJECTS    100000

/* A thread's objects that are to be freed at the same step are a list. */
struct object {
	struct object *next;
};

static struct object *calendar[WORKERS_MAXIMUM][LONGEST_LIFE];
static struct random_step steps[2][STEPS]; /* in pareto, `slot` is the lifetime */

static struct heap {
	alignas(128) size_t count;
	size_t bytes;
	size_t phase;
	uint64_t random;
	struct {
		char *address;
		size_t size;
	} objects[HEAP_OBJECTS];
} heaps[WORKERS_MAXIMUM];

void prepare_pareto(const struct row *row)
{
	uint64_t state = random_state(0);
	(void)row;
	for (size_t i = 0; i < STEPS; i++) {
		uint32_t root = random_power_law(&state, 1, 256);
		/* The longest is one step less than the calendar's length: its list is not yet the present one. */
		steps[0][i].slot = root * root < LONGEST_LIFE ? root * root : LONGEST_LIFE - 1;
		steps[0][i].size = random_power_law(&state, SMALLEST, LARGEST);
	}
}

static uint64_t round_pareto(struct worker *worker)
{
	struct object **lists = calendar[worker->index];
	size_t now = worker->position;
	size_t place = worker->index * (STEPS / WORKERS_MAXIMUM);
	for (size_t end = now + STEPS_PER_ROUND; now < end; now++) {
		const struct random_step *step = &steps[0][(place + now) % STEPS];
		struct object **list = &lists[now % LONGEST_LIFE];
		while (*list) {
			struct object *object = *list;
			*list = object->next;
			free(object);
		}
		struct object *object = malloc(step->size);
		touch((char *)object, step->size);
		list = &lists[(now + step->slot) % LONGEST_LIFE];
		object->next = *list;
		*list = object;
	}
	worker->position = now;
	return STEPS_PER_ROUND;
}

void work_pareto(struct worker *worker)
{
	repeat_rounds(worker, round_pareto);
}

void prepare_phases(const struct row *row)
{
	fill_power_law_steps(steps[0], STEPS, 1, FIRST_SMALLEST, FIRST_LARGEST);
	fill_uniform_steps(steps[1], STEPS, 1, SECOND_SMALLEST, SECOND_LARGEST);
	for (size_t i = 0; i < row->threads; i++)
		heaps[i].random = random_state(i);
}

static uint64_t grow_heap(struct heap *heap)
{
	const struct random_step *sizes = steps[heap->phase++ % 2];
	size_t count = heap->count;
	while (heap->bytes < HIGH && heap->count < HEAP_OBJECTS) {
		size_t size = sizes[next_random(&heap->random) % STEPS].size;
		char *object = malloc(size);
		touch(object, size);
		heap->objects[heap->count].address = object;
		heap->objects[heap->count++].size = size;
		heap->bytes += size;
	}
	return heap->count - count;
}

static void shrink_heap(struct heap *heap)
{
	while (heap->bytes > LOW) {
		size_t index = next_random(&heap->random) % heap->count;
		free(heap->objects[index].address);
		heap->bytes -= heap->objects[index].size;
		heap->objects[index] = heap->objects[--heap->count];
	}
}

/* Two phases, so that rounds are alike. */
static uint64_t round_phases(struct worker *worker)
{
	struct heap *heap = &heaps[worker->index];
	uint64_t operations = grow_heap(heap);
	shrink_heap(heap);
	operations += grow_heap(heap);
	shrink_heap(heap);
	return operations;
}

void work_phases(struct worker *worker)
{
	repeat_rounds(worker, round_phases);
}

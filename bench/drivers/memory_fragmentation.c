/* Memory in which most objects are freed at random, and the holes must serve other sizes. See memory.h. */
#include "memory.h"
#include "pattern.h"

#include <stdio.h>
#include <stdlib.h>

/* So many of ten objects are freed each time. */
#define FREED_OF_TEN 9

/* Samples while memory is filled and while it is freed. */
#define SAMPLES_PER_SLOPE 25

/* One filling: sizes as draw_size makes them. */
struct filling {
	size_t smallest;
	unsigned doublings;
};

/* Every object begins with its size, so that the bytes held are known. */
struct object {
	size_t size;
};

static struct object **objects;
static size_t object_count, object_maximum;
static size_t requested;  /* bytes held */
static size_t operations; /* objects taken */

static void fill(struct filling filling, size_t total, size_t sample_count, uint64_t *state)
{
	size_t start = requested;
	for (size_t i = 1; i <= sample_count; i++) {
		size_t goal = start + (total - start) / sample_count * i;
		while (requested < goal && object_count < object_maximum) {
			size_t size = draw_size(state, filling.smallest, filling.doublings);
			struct object *object = take(size);
			object->size = size;
			objects[object_count++] = object;
			requested += size;
			operations++;
		}
		take_sample();
	}
}

/* Puts the objects in a random order, in time that is not the allocator's. */
static void shuffle(uint64_t *state)
{
	pause_stopwatch();
	for (size_t i = object_count; i > 1; i--) {
		size_t other = next_random(state) % i;
		struct object *moved = objects[i - 1];
		objects[i - 1] = objects[other];
		objects[other] = moved;
	}
	resume_stopwatch();
}

static void free_most(size_t sample_count, uint64_t *state)
{
	size_t left = object_count - object_count * FREED_OF_TEN / 10;
	size_t each = (object_count - left) / sample_count + 1;
	shuffle(state);
	while (object_count > left) {
		for (size_t i = 0; i < each && object_count > left; i++) {
			struct object *object = objects[--object_count];
			requested -= object->size;
			free(object);
		}
		take_sample();
	}
}

/* Fills memory up to `total` bytes with each filling in turn; in between most objects are freed at random. */
static void measure_fillings(size_t total, const struct filling *fillings, size_t count)
{
	uint64_t state = 1;
	double filled = 0, freed = 0, refilled = 0;
	size_t samples = 2 * SAMPLES_PER_SLOPE / count;
	start_stopwatch();
	for (size_t i = 0; i < count; i++) {
		fill(fillings[i], total, samples, &state);
		if (i == 0)
			filled = take_sample();
		if (i == count - 1)
			break;
		free_most(samples, &state);
		freed = take_sample();
	}
	refilled = take_sample();
	printf("rss_filled %.3f\nrss_freed %.3f\nrss_refilled %.3f\n", filled, freed, refilled);
	printf("ns %.3f\n", (double)stopwatch() / (double)operations);
	print_series();
	print_statistics(requested);
}

static void map_objects(size_t maximum)
{
	object_maximum = maximum;
	objects = map_table(maximum * sizeof(struct object *));
}

void measure_fragmentation(size_t total, size_t first_size, size_t second_size)
{
	const struct filling fillings[] = {{first_size, 0}, {second_size, 0}};
	size_t smaller = first_size < second_size ? first_size : second_size;
	if (smaller < sizeof(struct object))
		fail("fragmentation: the size is too small");
	map_objects(total / smaller + 1);
	measure_fillings(total, fillings, 2);
}

/* Every size follows a smaller and a larger one; the ranges overlap in part, as a program's phases do. */
void measure_fragmentation_of_sizes(size_t total)
{
	static const struct filling fillings[] = {{16, 5}, {200, 4}, {24, 7}, {1000, 6}, {16, 10}};
	enum { COUNT = sizeof fillings / sizeof fillings[0] };
	map_objects(total / 16); /* the mean size of every filling is above 16 */
	measure_fillings(total, fillings, COUNT);
}

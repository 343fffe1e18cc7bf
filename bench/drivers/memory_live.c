/* Memory while many objects are live and right after they are freed. See memory.h. */
#include "memory.h"
#include "pattern.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define LISTS_MAXIMUM 64

/* Samples on the way up, on the way down, and afterwards: 100 in all. */
#define SAMPLES_PER_SLOPE  30
#define SAMPLES_AFTERWARDS 40

/* Small activity after a peak: so many objects at a time, for so long. */
#define FEW                100
#define AFTERWARDS_SECONDS 0.2

/* The objects themselves form the lists through which they are found again: no table of pointers adds to the memory. */
struct object {
	struct object *next;
};

struct list {
	struct object *first, *last;
	size_t count;
};

static void append(struct list *list, struct object *object)
{
	object->next = NULL;
	if (list->last)
		list->last->next = object;
	else
		list->first = object;
	list->last = object;
	list->count++;
}

/* Frees up to `count` objects from the front of the list. */
static void free_first(struct list *list, size_t count)
{
	for (; count > 0 && list->first != NULL; count--) {
		struct object *object = list->first;
		list->first = object->next;
		list->count--;
		free(object);
	}
	if (list->first == NULL)
		list->last = NULL;
}

static void free_list(struct list *list)
{
	free_first(list, list->count);
}

/* Resident memory with `count` objects of `size` bytes live, after freeing them, and after malloc_trim(0). The objects
 * go at random to one of `list_count` lists, which are freed one after the other: with one list they are freed in order
 * of allocation, with many the last objects of every page go late. */
void measure_live(size_t size, size_t count, size_t list_count)
{
	static struct list lists[LISTS_MAXIMUM];
	uint64_t state = 1;
	if (size < sizeof(struct object) || list_count < 1 || list_count > LISTS_MAXIMUM)
		fail("live: no such number of bytes or lists");
	start_stopwatch();
	for (size_t i = 0; i < count; i++)
		append(&lists[next_random(&state) % list_count], take(size));
	double live = take_sample();
	for (size_t i = 0; i < list_count; i++)
		free_list(&lists[i]);
	double freed = take_sample();
	uint64_t nanoseconds = stopwatch();
	malloc_trim(0);
	double trimmed = take_sample();
	printf("rss_live %.3f\nrss_freed %.3f\nrss_trimmed %.3f\n", live, freed, trimmed);
	printf("ns %.3f\n", (double)nanoseconds / (double)count);
}

/* Takes objects of 16 to 511 bytes, many small and few large, until they come to `total`; samples on the way, if so
 * many times. */
static void climb(struct list *list, size_t total, size_t sample_count, uint64_t *state)
{
	size_t requested = 0;
	for (size_t i = 1; i <= sample_count; i++) {
		while (requested < total / sample_count * i) {
			size_t size = draw_size(state, 16, 5);
			append(list, take(size));
			requested += size;
		}
		take_sample();
	}
}

static void descend(struct list *list, size_t sample_count)
{
	size_t each = list->count / sample_count + 1;
	while (list->first != NULL) {
		free_first(list, each);
		take_sample();
	}
}

/* What a program does that is not idle after its peak: few small objects, taken and freed. */
static void use_few(uint64_t *state)
{
	static struct list few;
	for (int i = 0; i < FEW; i++)
		append(&few, take(draw_size(state, 16, 5)));
	free_list(&few);
}

/* A peak of small objects of mixed sizes that passes; right after it, and after a while of small activity. */
void measure_peak(size_t total)
{
	static struct list list;
	uint64_t state = 1;
	start_stopwatch();
	climb(&list, total, SAMPLES_PER_SLOPE, &state);
	size_t count = list.count;
	double live = take_sample();
	descend(&list, SAMPLES_PER_SLOPE);
	double freed = take_sample();
	uint64_t nanoseconds = stopwatch();
	for (int i = 1; i <= SAMPLES_AFTERWARDS; i++) {
		while ((double)(stopwatch() - nanoseconds) < AFTERWARDS_SECONDS * 1e9 * i / SAMPLES_AFTERWARDS)
			use_few(&state);
		take_sample();
	}
	double later = take_sample();
	printf("rss_live %.3f\nrss_freed %.3f\nrss_later %.3f\n", live, freed, later);
	printf("ns %.3f\n", (double)nanoseconds / (double)count);
	print_series();
}

/* The same peak again and again: what giving memory back costs a program that will want it again. */
void measure_repeated_peak(size_t total, size_t rounds)
{
	static struct list list;
	uint64_t state = 1;
	size_t count = 0, samples = rounds < 2 * SAMPLES_PER_SLOPE ? 2 * SAMPLES_PER_SLOPE / rounds : 1;
	start_stopwatch();
	for (size_t round = 0; round < rounds; round++) {
		climb(&list, total, samples, &state);
		count += list.count;
		descend(&list, samples);
	}
	double freed = take_sample();
	printf("rss_freed %.3f\nns %.3f\n", freed, (double)stopwatch() / (double)count);
	print_series();
}

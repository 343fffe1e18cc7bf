/* A program that runs for long: objects of short, medium and long lives, in sizes that drift. See memory.h. */
#include "memory.h"
#include "pattern.h"

#include <stdio.h>
#include <stdlib.h>

/* The calendar: objects that die in the same `tick` are in one list. A tick is the allocation of so many objects. */
#define PER_TICK 16
#define TICKS    ((size_t)1 << 18)

/* Lives in ticks. Most objects die young; those that stay decide how pages are shared. */
#define SHORT_LIFE  8
#define MEDIUM_LIFE 1000
#define LONG_LIFE   (TICKS - 1)

/* One object in so many is a buffer of some KiB, one in so many is large. */
#define PER_BUFFER 256
#define PER_LARGE  16384

/* The smallest usual size goes through these, a part of the run each. */
static const size_t drift[] = {16, 24, 48, 32, 80, 160, 100, 64, 240, 120, 40, 20};
#define DRIFTS (sizeof drift / sizeof drift[0])

#define SAMPLES 100

struct object {
	struct object *next;
	size_t size;
};

static struct object **calendar;
static size_t live, live_most;

static size_t draw_life(uint64_t random)
{
	size_t kind = random % 100;
	size_t most = kind < 80 ? SHORT_LIFE : kind < 97 ? MEDIUM_LIFE : LONG_LIFE;
	return 1 + (size_t)(random >> 32) % most;
}

static size_t draw_mixed_size(uint64_t *state, size_t smallest)
{
	uint64_t random = next_random(state);
	if (random % PER_LARGE == 0)
		return draw_size(state, 64 << 10, 4);
	if (random % PER_BUFFER == 0)
		return draw_size(state, 2 << 10, 5);
	return draw_size(state, smallest < sizeof(struct object) ? sizeof(struct object) : smallest, 5);
}

static void allocate(uint64_t *state, size_t now, size_t smallest)
{
	size_t size = draw_mixed_size(state, smallest);
	size_t life = draw_life(next_random(state));
	struct object *object = take(size);
	struct object **day = &calendar[(now + life) % TICKS];
	*object = (struct object){*day, size};
	*day = object;
	live += size;
	if (live > live_most)
		live_most = live;
}

/* Frees what dies in this tick. */
static void bury(size_t now)
{
	struct object **day = &calendar[now % TICKS];
	while (*day != NULL) {
		struct object *object = *day;
		*day = object->next;
		live -= object->size;
		free(object);
	}
}

/* Takes `operations` objects in all. Where more than `limit` bytes are live, time goes faster until they are not. */
void measure_lifetimes(size_t operations, size_t limit)
{
	uint64_t state = 1;
	size_t now = 0;
	double worst = 0;
	calendar = map_table(TICKS * sizeof(struct object *));
	start_stopwatch();
	for (size_t i = 0; i < operations; i++) {
		if (i % PER_TICK == 0)
			bury(++now);
		while (live > limit)
			bury(++now);
		allocate(&state, now, drift[i * DRIFTS / operations]);
		if (i % (operations / SAMPLES) == 0) {
			double resident = take_sample();
			worst = resident > worst ? resident : worst;
		}
	}
	double end = take_sample();
	printf("ns %.3f\nrss_end %.3f\nlive_end %.3f\n", (double)stopwatch() / (double)operations, end,
	       (double)live / (double)MIB);
	printf("rss_most %.3f\nlive_most %.3f\n", worst, (double)live_most / (double)MIB);
	print_series();
	print_statistics(live);
}

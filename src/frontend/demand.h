/*
 * What is known of the demand for a class in one cache, a thread's or a CPU's, and what follows for the size of its stack
 * and for how many objects to refill or flush. Knows nothing of the stacks themselves.
 */
#ifndef TIERMALLOC_FRONTEND_DEMAND_H
#define TIERMALLOC_FRONTEND_DEMAND_H

#include "base/common.h"
#include "size_classes.h"

struct demand {
	uint16_t seen;    /* objects held at the last look */
	uint8_t swings;   /* turns since the stack last grew */
	uint8_t overages; /* flushes since the last refill */
	uint8_t refills;  /* in a row: the ones that go on, or before the flushes that go on */
	uint8_t flushes;  /* in a row, before those refills */
	int8_t streak;    /* how often it was found empty in a row, or (negative) full */
	bool visited;     /* has come to the door since the last look at the class, or has missed once */
};

/* No stack grows beyond this: the array is 16 KiB then, and stays in the first-level cache with what it points to. */
#define PEAK_CAPACITY ((size_t)2047 < (size_t)MAX_FREE_LIST_LENGTH ? (size_t)2047 : (size_t)MAX_FREE_LIST_LENGTH)

/* Slots of a stack when it gets its first array: one cache line with the NULL. */
#define FIRST_CAPACITY 7

/* Turns from emptying to filling, or back, before a stack grows beyond its class's capacity. */
#define SWINGS_TO_GROW 4

/*
 * A stack that is only emptied, or only filled, needs no more than a batch, or this many bytes: more of it would not be
 * used again here. It costs memory in each class: 35 classes and two threads held 4.6 MiB when stacks grew to their
 * capacities, 1.5 with this.
 */
#define FLOW_BYTES ((size_t)8 << 10)

#define STREAK_LIMIT 3

/*
 * Flushes that count as one overage: a batch that is freed at once takes several, and the thread that allocates the
 * next one is not to find its stack halved (measured: 1000 objects of 1 KiB, 12 ns each with 1 here, 4.5 with 16).
 */
#define FLUSHES_PER_OVERAGE 16

/*
 * Each so many visits, one class is looked at. Stacks that are not used any more are the largest part of what a cache
 * wastes: looked at 32 times as rarely, two Python programs and sqlite of 50 MiB took 2 MiB more, and no less time.
 */
#define VISITS_PER_LOOK 4

/*
 * Each so many visits, the clock is looked at (frontend_tick): often enough that a program with a few thousand small
 * blocks a second does it several times in one, rarely enough that it is no part of a visit's time.
 */
#define VISITS_PER_TICK 16

/*
 * The objects of a cache line: fewer are not taken from the central tier, because another thread would get the others,
 * and the two would write to the same line.
 */
static inline size_t line_of(unsigned class)
{
	return CACHE_LINE / size_classes[class].size;
}

/* An array whose slots are one less than a power of two wastes none of the arena's memory. */
static inline size_t first_capacity(unsigned class)
{
	return line_of(class) > FIRST_CAPACITY ? 2 * FIRST_CAPACITY + 1 : FIRST_CAPACITY;
}

/* What a stack of `capacity` slots should have next; the same if it should not grow. */
static inline size_t next_capacity(const struct demand *demand, unsigned class, size_t capacity)
{
	size_t usual = size_classes[class].capacity;

	if (capacity < usual)
		return minimum(capacity == 0 ? first_capacity(class) : 2 * capacity + 1, usual);
	return demand->swings >= SWINGS_TO_GROW ? minimum(2 * capacity + 1, PEAK_CAPACITY) : capacity;
}

static inline size_t flow_capacity(unsigned class)
{
	return maximum(size_classes[class].batch, FLOW_BYTES / size_classes[class].size) - 1;
}

/* The stack has been found empty (direction 1) or full (-1). */
static inline void note_direction(struct demand *demand, int direction)
{
	int streak = demand->streak;

	if (streak * direction > 0) {
		demand->streak = (int8_t)(streak == direction * STREAK_LIMIT ? streak : streak + direction);
		return;
	}
	demand->streak = (int8_t)direction;
	if (demand->swings < UINT8_MAX)
		demand->swings++;
}

/*
 * The stack has been found empty. Whether it should grow: if it is small, or was flushed since the last refill (it swings).
 */
static inline bool should_grow_for_refill(struct demand *demand, unsigned class, size_t capacity)
{
	bool swings = demand->overages != 0;

	demand->visited = true;
	if (swings) {
		demand->flushes = demand->overages;
		demand->refills = 0;
	}
	demand->refills = (uint8_t)minimum(demand->refills + 1u, UINT8_MAX);
	demand->overages = 0;
	note_direction(demand, 1);
	return capacity < flow_capacity(class) || swings;
}

/* An object has come that was not pushed on the fast path. */
static inline void note_free(struct demand *demand)
{
	demand->visited = true;
	note_direction(demand, -1);
}

/*
 * Whether the stack has only been found full of late: then the central tier may want all of it back. Not asked each second
 * time only: after a peak of 419 MiB 21 MiB stayed then instead of 13.
 */
static inline bool demand_is_freeing(const struct demand *demand)
{
	return demand->streak == -STREAK_LIMIT;
}

/* The stack has been found full. Whether it should grow: as above, the other way round. */
static inline bool should_grow_for_flush(struct demand *demand, unsigned class, size_t capacity)
{
	if (capacity < flow_capacity(class))
		return true;
	if (demand->overages < UINT8_MAX)
		demand->overages++;
	return demand->overages == 1;
}

/*
 * A stack that only ever overflows shrinks again: its thread frees what others allocate. One that has been flushed and refilled
 * as often before does not: its thread takes and frees much in turn. (1000 objects of 16 KiB at a time took 34 ns each while such
 * stacks shrank, 19 since. Without a look at the flushes before, sqlite3, which frees much once, took 48.6 MiB instead of 46.6.)
 */
static inline bool should_shrink(const struct demand *demand, unsigned class, size_t capacity)
{
	size_t usual = minimum(demand->flushes, demand->refills);

	return demand->overages > minimum((size_t)MAX_OVERAGES * FLUSHES_PER_OVERAGE, UINT8_MAX - 1) &&
	       demand->overages > 2 * usual && capacity / 2 > flow_capacity(class);
}

/*
 * How many objects to refill or flush: an eighth of the stack after a turn, a quarter the next time in the same
 * direction, then half. A demand that swings by less than the stack holds so comes to rest: small steps find the
 * number of objects that neither runs out nor over.
 */
static inline size_t demand_step(const struct demand *demand, size_t capacity)
{
	int streak = demand->streak;

	return maximum((capacity + 1) >> (STREAK_LIMIT + 1 - (streak < 0 ? -streak : streak)), 1);
}

/*
 * A refill brings no more than this: of large objects a few are enough for its price, and what is not used of them is memory.
 * (1000 objects of 16 KiB at a time: their spans took 22.0 MiB without a bound, 15.8 with this one, in the same time.)
 */
#define REFILL_BYTES ((size_t)128 << 10)

static inline size_t demand_refill(const struct demand *demand, unsigned class, size_t capacity)
{
	return minimum(demand_step(demand, capacity), maximum(REFILL_BYTES / size_classes[class].size, 1));
}

/* A look at the class, which holds `held` objects. True: it has neither come here nor changed since the last one. */
static inline bool demand_has_gone(struct demand *demand, size_t held)
{
	bool gone = !demand->visited && held == demand->seen;

	demand->visited = false;
	return gone;
}

#endif

/*
 * Trap: objects freed by another thread must come back into use. Producers allocate,
 * consumers free, and never the other way round; memory may not grow with the number
 * of objects that have passed.
 *
 *     cross_thread [objects per producer]
 */
#include "churn.h"

#include <sched.h>

enum { RING = 1024, MAX_PAIRS = 3, MIXED_MEAN = 4300 };

struct ring {
	_Atomic(unsigned char *) places[RING];
};

struct side {
	pthread_t thread;
	struct ring *ring;
	size_t places; /* of the ring that are used: so many objects are in flight */
	unsigned long objects;
	size_t size; /* 0: mixed */
};

static size_t size_of(size_t size, unsigned long number)
{
	static const size_t mixed[] = {16, 24, 40, 64, 100, 200, 400, 1000, 3000, 9000, 33000};
	return size ? size : mixed[number % (sizeof mixed / sizeof mixed[0])];
}

static void *produce(void *argument_of_thread)
{
	struct side *side = argument_of_thread;
	for (unsigned long i = 0; i < side->objects; i++) {
		size_t size = size_of(side->size, i);
		unsigned char *object = malloc(size);
		REQUIRE(object, "malloc(%zu): %s", size, strerror(errno));
		memset(object, (int)i, 16);
		unsigned char *none = NULL;
		while (!atomic_compare_exchange_weak(&side->ring->places[i % side->places], &none, object)) {
			none = NULL;
			sched_yield();
		}
	}
	return NULL;
}

static void *consume(void *argument_of_thread)
{
	struct side *side = argument_of_thread;
	for (unsigned long i = 0; i < side->objects; i++) {
		unsigned char *object;
		while (!(object = atomic_exchange(&side->ring->places[i % side->places], NULL)))
			sched_yield();
		bytes_check(object, 16, (unsigned char)i);
		free(object);
	}
	return NULL;
}

static size_t places_for(size_t size)
{
	size_t places = 8 * MIB / size;
	return places < RING ? places : RING;
}

static void run_pairs(int pairs, unsigned long objects, size_t size)
{
	static struct ring rings[MAX_PAIRS];
	struct side producers[MAX_PAIRS], consumers[MAX_PAIRS];
	for (int i = 0; i < pairs; i++) {
		producers[i] = consumers[i] = (struct side){.ring = &rings[i],
							    .objects = objects,
							    .size = size,
							    .places = places_for(size ? size : MIXED_MEAN)};
		int error = pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
		error = pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < pairs; i++) {
		pthread_join(producers[i].thread, NULL);
		pthread_join(consumers[i].thread, NULL);
	}
}

/* Not more than the objects in flight at once, doubled, and caches. */
static void check_bound(int pairs, unsigned long objects, size_t size)
{
	size_t before = resident_bytes();
	run_pairs(pairs, objects, size);
	size_t each = size ? size : MIXED_MEAN;
	size_t flight = (size_t)pairs * places_for(each) * each;
	size_t after = resident_bytes(), bound = before + 2 * flight + 8 * MIB;
	REQUIRE(after < bound, "%d x %lu objects of %zu bytes: resident %zu KiB, then %zu, bound %zu", pairs, objects,
		size, before / KIB, after / KIB, bound / KIB);
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long objects = argument(count, values, 1, 300000);
	check_bound(1, objects, 64);
	check_bound(1, objects, 1000);
	check_bound(1, objects / 10, 40 * KIB);
	check_bound(1, objects / 100, 300 * KIB);
	check_bound(1, objects / 100, 3 * MIB);
	check_bound(MAX_PAIRS, objects / 2, 0);
	return 0;
}

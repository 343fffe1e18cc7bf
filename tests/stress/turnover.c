/*
 * Stress: threads come and go while their objects stay. Each generation resizes and
 * frees what an earlier one has left, and leaves objects of its own; some are freed by a
 * destructor of thread-specific data, when the thread's cache may be closed already.
 *
 *     turnover [generations] [threads] [seed]
 */
#include "object.h"

#include <pthread.h>

enum { MAX_THREADS = 64, PILE = 200 };

struct pile {
	struct object objects[PILE];
};

struct worker {
	pthread_t thread;
	struct pile *pile;
	uint64_t random;
};

/* What a thread leaves to its destructor. */
struct rest {
	struct object objects[8];
	uint64_t random;
};

static pthread_key_t rest_key;

static void end_rest(void *data)
{
	struct rest *rest = data;
	for (int i = 0; i < 8; i++) {
		object_resize(&rest->objects[i], rest->objects[i].size + 100, &rest->random);
		object_free(&rest->objects[i], &rest->random);
	}
	free(rest);
}

static void leave_rest(uint64_t *random)
{
	struct rest *rest = malloc(sizeof *rest);
	REQUIRE(rest, "malloc: %s", strerror(errno));
	rest->random = random_next(random);
	for (int i = 0; i < 8; i++)
		rest->objects[i] = object_new(random_size(random) % 100000, random);
	pthread_setspecific(rest_key, rest);
}

static void *live(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	uint64_t *random = &worker->random;
	for (int i = 0; i < PILE; i++) {
		struct object *object = &worker->pile->objects[i];
		uint64_t what = random_next(random) % 4;
		if (!object->start)
			*object = object_new(random_size(random), random);
		else if (what == 0)
			object_resize(object, random_size(random), random);
		else if (what != 1)
			object_free(object, random);
	}
	if (random_next(random) % 2)
		leave_rest(random);
	return NULL;
}

/* Which pile a thread works on changes with the generation. */
static void run_generation(struct worker *workers, unsigned threads, struct pile *piles, unsigned long generation)
{
	for (unsigned i = 0; i < threads; i++) {
		workers[i].pile = &piles[(i + generation) % threads];
		int error = pthread_create(&workers[i].thread, NULL, live, &workers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
}

int main(int count, char **values)
{
	unsigned long generations = argument(count, values, 1, 300);
	unsigned threads = (unsigned)argument(count, values, 2, 8);
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());
	REQUIRE(threads >= 1 && threads <= MAX_THREADS, "1 to %d threads", MAX_THREADS);
	printf("%lu generations of %u threads, seed %lu\n", generations, threads, (unsigned long)seed);
	fflush(stdout);
	require_names_bound();

	static struct worker workers[MAX_THREADS];
	static struct pile piles[MAX_THREADS];
	int error = pthread_key_create(&rest_key, end_rest);
	REQUIRE(error == 0, "pthread_key_create: %s", strerror(error));
	for (unsigned i = 0; i < threads; i++)
		workers[i].random = seed * 1000 + i;
	for (unsigned long generation = 0; generation < generations; generation++)
		run_generation(workers, threads, piles, generation);
	for (unsigned i = 0; i < threads; i++)
		for (int j = 0; j < PILE; j++)
			if (piles[i].objects[j].start)
				object_free(&piles[i].objects[j], &seed);
	return 0;
}

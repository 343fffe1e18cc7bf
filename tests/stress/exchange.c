/*
 * Stress: asymmetric exchange. In each phase some threads only allocate and the others
 * only free, all at the sizes of that phase; then the roles change. Objects must flow
 * back through the central tier, in batches and singly.
 *
 *     exchange [objects per thread and phase] [threads] [phases] [seed]
 */
#include "mailbox.h"

#include <pthread.h>

enum { MAX_THREADS = 64 };

struct worker {
	pthread_t thread;
	unsigned number, count;
	unsigned long objects, phases;
	uint64_t random;
};

static struct mailbox mailboxes[MAX_THREADS];
static pthread_barrier_t barrier;

/* The sizes of a phase: one, two, or all. */
static size_t phase_size(unsigned long phase, uint64_t *random)
{
	static const size_t single[] = {16, 48, 64, 200, 1000, 4096, 20000, 70000};
	size_t size = single[phase / 3 % (sizeof single / sizeof single[0])];
	if (phase % 3 == 1)
		return random_next(random) % 2 ? size : size * 2;
	if (phase % 3 == 2)
		return random_next(random) % 20000;
	return size;
}

static void send_objects(struct worker *worker, unsigned long phase)
{
	for (unsigned long i = 0; i < worker->objects; i++) {
		struct object object = object_new(phase_size(phase, &worker->random), &worker->random);
		unsigned to = (unsigned)(random_next(&worker->random) % worker->count);
		if (mailbox_swap(&mailboxes[to], &object, &worker->random))
			object_free(&object, &worker->random);
	}
}

static void free_objects(struct worker *worker)
{
	struct object object;
	for (unsigned long i = 0; i < worker->objects; i++) {
		unsigned from = (unsigned)(random_next(&worker->random) % worker->count);
		if (mailbox_take(&mailboxes[from], (unsigned)i, &object))
			object_free(&object, &worker->random);
	}
}

/* Of the threads: half, one, or all but one send; the choice goes round with the phases. */
static bool sends(const struct worker *worker, unsigned long phase)
{
	unsigned place = (unsigned)(worker->number + phase) % worker->count;
	switch (phase / 2 % 3) {
	case 0:
		return place % 2 == 0;
	case 1:
		return place == 0;
	default:
		return place != 0;
	}
}

static void *work(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	for (unsigned long phase = 0; phase < worker->phases; phase++) {
		if (sends(worker, phase))
			send_objects(worker, phase);
		else
			free_objects(worker);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

int main(int count, char **values)
{
	unsigned long objects = argument(count, values, 1, 20000);
	unsigned threads = (unsigned)argument(count, values, 2, 4);
	unsigned long phases = argument(count, values, 3, 24);
	uint64_t seed = argument(count, values, 4, (unsigned long)getpid());
	REQUIRE(threads >= 2 && threads <= MAX_THREADS, "2 to %d threads", MAX_THREADS);
	printf("%lu objects, %u threads, %lu phases, seed %lu\n", objects, threads, phases, (unsigned long)seed);
	fflush(stdout);
	require_names_bound();

	static struct worker workers[MAX_THREADS];
	pthread_barrier_init(&barrier, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){
			.number = i, .count = threads, .objects = objects, .phases = phases, .random = seed * 1000 + i};
		int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < threads; i++)
		mailbox_empty(&mailboxes[i], &seed);
	pthread_barrier_destroy(&barrier);
	return 0;
}

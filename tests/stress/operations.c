/*
 * Stress: random operations of all kinds by several threads, which also give objects to
 * each other. The contents of every object are checked before it is resized or freed.
 *
 *     operations [operations per thread] [threads] [seed]
 */
#include "mailbox.h"

#include <pthread.h>

enum { SLOTS = 400, MAX_THREADS = 64, BURST = 300 };

struct worker {
	pthread_t thread;
	unsigned number, count;
	unsigned long operations;
	uint64_t random;
	struct object slots[SLOTS];
};

static struct mailbox mailboxes[MAX_THREADS];

static void resize(struct worker *worker, struct object *slot)
{
	uint64_t how = random_next(&worker->random) % 4;
	size_t size = random_size(&worker->random);
	if (how == 0)
		size = slot->size + 1 + size % 64;
	else if (how == 1)
		size = slot->size - (slot->size > 64 ? size % 64 : 0);
	else if (how == 2 && slot->size < 4 * MIB)
		size = slot->size * 2;
	object_resize(slot, size, &worker->random);
}

/* Many of one size at once, freed in one of three orders: refills, flushes, whole spans. */
static void burst(struct worker *worker)
{
	struct object objects[BURST];
	size_t size = random_size(&worker->random) % 4096;
	uint64_t order = random_next(&worker->random) % 3;
	for (int i = 0; i < BURST; i++)
		objects[i] = object_new(size, &worker->random);
	for (int i = 0; i < BURST; i++) {
		int index = order == 0 ? i : order == 1 ? BURST - 1 - i : i * 7 % BURST;
		object_free(&objects[index], &worker->random);
	}
}

static void send(struct worker *worker, struct object *slot)
{
	unsigned to = (unsigned)(random_next(&worker->random) % worker->count);
	mailbox_swap(&mailboxes[to], slot, &worker->random);
}

static void receive(struct worker *worker, struct object *slot)
{
	unsigned place = (unsigned)random_next(&worker->random);
	if (!mailbox_take(&mailboxes[worker->number], place, slot))
		*slot = object_new(random_size(&worker->random), &worker->random);
}

static void operate(struct worker *worker)
{
	uint64_t number = random_next(&worker->random);
	struct object *slot = &worker->slots[number % SLOTS];
	unsigned kind = (unsigned)(number >> 32) % 4096;
	if (kind == 0)
		malloc_trim(0);
	else if (kind < 10)
		burst(worker);
	else if (!slot->start && kind < 1000)
		receive(worker, slot);
	else if (!slot->start)
		*slot = object_new(random_size(&worker->random), &worker->random);
	else if (kind < 1200)
		resize(worker, slot);
	else if (kind < 2000)
		send(worker, slot);
	else
		object_free(slot, &worker->random);
}

static void *work(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	for (unsigned long i = 0; i < worker->operations; i++)
		operate(worker);
	for (int i = 0; i < SLOTS; i++)
		if (worker->slots[i].start)
			object_free(&worker->slots[i], &worker->random);
	return NULL;
}

int main(int count, char **values)
{
	unsigned long operations = argument(count, values, 1, 100000);
	unsigned threads = (unsigned)argument(count, values, 2, 4);
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());
	REQUIRE(threads >= 1 && threads <= MAX_THREADS, "1 to %d threads", MAX_THREADS);
	printf("%lu operations in each of %u threads, seed %lu\n", operations, threads, (unsigned long)seed);
	fflush(stdout);
	require_names_bound();

	static struct worker workers[MAX_THREADS];
	for (unsigned i = 0; i < threads; i++) {
		workers[i].number = i;
		workers[i].count = threads;
		workers[i].operations = operations;
		workers[i].random = seed * 1000 + i;
		int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < threads; i++)
		mailbox_empty(&mailboxes[i], &seed);
	return 0;
}

/*
 * Threads that hand objects over through bounded rings: what one allocates, another frees. An operation is one object,
 * with its malloc here and its free there, and counts where it is freed. See threads.h.
 */
#include "pattern.h"
#include "threads.h"
#include "touch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Objects are handed over in groups, so that the rings cost little beside the allocator. */
#define GROUP     64
#define RING_SIZE 1024

/* Every producer has a ring to every consumer. More would only cost address space. */
#define THREADS_MAXIMUM 16

/* The sizes of producer-consumer, which no allocator serves from one class alone. */
#define SMALLEST   16
#define LARGEST    1024
#define SIZE_COUNT 4096

/* One sender, one receiver. `sent` and `received` only grow; each has cache lines of its own. */
struct ring {
	alignas(128) atomic_size_t sent;
	alignas(128) atomic_size_t received;
	alignas(128) char *objects[RING_SIZE];
};

static struct ring rings[THREADS_MAXIMUM][THREADS_MAXIMUM]; /* from, to */
static size_t senders;                                      /* the workers from 0 on */
static size_t first_receiver;                               /* and from here on those that receive */
static size_t thread_count;
static struct random_step steps[SIZE_COUNT]; /* only the sizes */

/* Allocates a group of objects and sends them; false if the ring has no room for them. */
static bool send_group(struct ring *ring, struct worker *worker)
{
	size_t sent = atomic_load_explicit(&ring->sent, memory_order_relaxed);
	if (sent - atomic_load_explicit(&ring->received, memory_order_acquire) > RING_SIZE - GROUP)
		return false;
	for (size_t i = 0; i < GROUP; i++) {
		size_t size = steps[worker->position++ % SIZE_COUNT].size;
		char *object = malloc(size);
		touch(object, size);
		ring->objects[(sent + i) % RING_SIZE] = object;
	}
	atomic_store_explicit(&ring->sent, sent + GROUP, memory_order_release);
	return true;
}

/* Receives a group of objects and frees them; false if there is none. */
static bool receive_group(struct ring *ring)
{
	size_t received = atomic_load_explicit(&ring->received, memory_order_relaxed);
	if (atomic_load_explicit(&ring->sent, memory_order_acquire) == received)
		return false;
	for (size_t i = 0; i < GROUP; i++)
		free(ring->objects[(received + i) % RING_SIZE]);
	atomic_store_explicit(&ring->received, received + GROUP, memory_order_release);
	return true;
}

/* Nobody waits for a certain ring: a worker does what can be done, and says so if that is nothing. */
void work_handover(struct worker *worker)
{
	size_t self = worker->index, received;
	unsigned spins = 0;
	do {
		bool sent = false;
		received = 0;
		for (size_t other = first_receiver; self < senders && other < thread_count; other++)
			sent |= other != self && send_group(&rings[self][other], worker);
		for (size_t other = 0; self >= first_receiver && other < senders; other++)
			received += other != self && receive_group(&rings[other][self]);
		if (!sent && received == 0)
			wait_a_little(&spins);
	} while (worker_goes_on(worker, received * GROUP));
}

static void prepare_sizes(size_t smallest, size_t largest)
{
	fill_uniform_steps(steps, SIZE_COUNT, 1, smallest, largest);
}

void prepare_exchange(const struct row *row)
{
	if (row->size == 0 || row->threads != 2)
		refuse_row();
	senders = first_receiver = 1;
	thread_count = 2;
	prepare_sizes(row->size, row->size);
}

void prepare_exchange_both_ways(const struct row *row)
{
	if (row->size == 0 || row->threads < 2 || row->threads > THREADS_MAXIMUM)
		refuse_row();
	senders = thread_count = row->threads;
	first_receiver = 0;
	prepare_sizes(row->size, row->size);
}

void prepare_producer_consumer(const struct row *row)
{
	size_t producers, consumers;
	if (sscanf(row->argument, "%zu:%zu", &producers, &consumers) != 2 || producers == 0 || consumers == 0 ||
	    producers > THREADS_MAXIMUM || consumers > THREADS_MAXIMUM || producers + consumers != row->threads ||
	    row->threads > THREADS_MAXIMUM)
		refuse_row();
	senders = first_receiver = producers;
	thread_count = row->threads;
	prepare_sizes(SMALLEST, LARGEST);
}

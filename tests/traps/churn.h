/*
 * Threads that keep the heap busy with small, medium and large blocks until told to
 * stop, checking that no block changes under them; and one short round of heap use
 * for a child of fork.
 *
 * Relies on trap.h; C only (atomics).
 */
#ifndef TRAPS_CHURN_H
#define TRAPS_CHURN_H

#include "trap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { CHURN_SLOTS = 128, CHURN_MAX_THREADS = 16 };

struct block {
	unsigned char *start;
	size_t size;
	unsigned char tag;
};

struct churn {
	uint64_t random;
	struct block slots[CHURN_SLOTS];
};

/* Mostly small, sometimes medium, seldom large: every tier is at work. */
static inline size_t churn_size(uint64_t *random)
{
	uint64_t number = random_next(random);
	uint64_t kind = number % 100;
	number >>= 8;
	if (kind < 80)
		return 1 + number % 1024;
	if (kind < 96)
		return 1 + number % (64 * KIB);
	return 64 * KIB + number % (2 * MIB);
}

/* Small blocks are written whole. Of larger ones the ends, where a neighbour would
 * trespass, and one byte in the middle: page faults are not what is tested. */
static inline void block_mark(const struct block *block)
{
	if (block->size <= 256) {
		memset(block->start, block->tag, block->size);
		return;
	}
	memset(block->start, block->tag, 16);
	block->start[block->size / 2] = block->tag;
	memset(block->start + block->size - 16, block->tag, 16);
}

static inline void bytes_check(const unsigned char *start, size_t count, unsigned char tag)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(start[i] == tag, "block at %p: byte %zu is %02x, not %02x", (const void *)start, i, start[i],
			tag);
}

static inline void block_check(const struct block *block)
{
	if (block->size <= 256) {
		bytes_check(block->start, block->size, block->tag);
		return;
	}
	bytes_check(block->start, 16, block->tag);
	bytes_check(block->start + block->size / 2, 1, block->tag);
	bytes_check(block->start + block->size - 16, 16, block->tag);
}

static inline struct block block_new(uint64_t *random)
{
	struct block block = {NULL, churn_size(random), (unsigned char)random_next(random)};
	block.start = malloc(block.size);
	REQUIRE(block.start, "malloc(%zu): %s", block.size, strerror(errno));
	block_mark(&block);
	return block;
}

static inline void block_end(struct block *block)
{
	block_check(block);
	free(block->start);
	block->start = NULL;
}

static inline void churn_step(struct churn *churn)
{
	struct block *slot = &churn->slots[random_next(&churn->random) % CHURN_SLOTS];
	if (slot->start)
		block_end(slot);
	else
		*slot = block_new(&churn->random);
}

static inline void churn_end(struct churn *churn)
{
	for (int i = 0; i < CHURN_SLOTS; i++)
		if (churn->slots[i].start)
			block_end(&churn->slots[i]);
}

/* What a child of fork does with the heap it inherited: a few of each size, a
 * realloc across classes, everything freed. */
static inline void use_heap_briefly(uint64_t seed)
{
	struct churn churn = {.random = seed};
	for (int i = 0; i < 200; i++)
		churn_step(&churn);
	unsigned char *block = malloc(24);
	REQUIRE(block, "malloc(24): %s", strerror(errno));
	memset(block, 0x5a, 24);
	for (size_t size = 100; size <= 4 * MIB; size *= 8) {
		block = realloc(block, size);
		REQUIRE(block, "realloc(%zu): %s", size, strerror(errno));
		bytes_check(block, 24, 0x5a);
	}
	free(block);
	churn_end(&churn);
}

struct churners {
	unsigned count;
	atomic_bool stop;
	pthread_t threads[CHURN_MAX_THREADS];
	struct churn states[CHURN_MAX_THREADS];
	atomic_uint next;
};

static inline void *churn_thread(void *argument_of_thread)
{
	struct churners *churners = argument_of_thread;
	struct churn *churn = &churners->states[atomic_fetch_add(&churners->next, 1)];
	while (!atomic_load_explicit(&churners->stop, memory_order_relaxed))
		churn_step(churn);
	churn_end(churn);
	return NULL;
}

static inline void churners_start(struct churners *churners, unsigned count, uint64_t seed)
{
	REQUIRE(count <= CHURN_MAX_THREADS, "too many threads");
	churners->count = count;
	for (unsigned i = 0; i < count; i++) {
		churners->states[i].random = seed * 1000 + i;
		int error = pthread_create(&churners->threads[i], NULL, churn_thread, churners);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
}

static inline void churners_stop(struct churners *churners)
{
	atomic_store(&churners->stop, true);
	for (unsigned i = 0; i < churners->count; i++)
		pthread_join(churners->threads[i], NULL);
}

#endif

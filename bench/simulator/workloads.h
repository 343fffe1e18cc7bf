/*
 * The workloads that traces are generated from, and what they are written with: blocks of the allocator under the prefix
 * tm_, random numbers with a seed, and a clock that only they move on.
 */
#ifndef BENCH_SIMULATOR_WORKLOADS_H
#define BENCH_SIMULATOR_WORKLOADS_H

#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

#define MICROSECOND ((uint64_t)1000)
#define MILLISECOND ((uint64_t)1000000)
#define SECOND      ((uint64_t)1000000000)

struct workload {
	const char *name;
	const char *what;
	void (*run)(void);
};

/* Ends with one without a name. */
extern const struct workload workloads[];

/* What is generated, set by the command line: 1 is what the workload says, less makes a smaller one. */
extern double workload_scale;

static inline size_t scaled(size_t amount)
{
	size_t result = (size_t)((double)amount * workload_scale);

	return result != 0 ? result : 1;
}

/* The clock, in nanoseconds. */
extern uint64_t workload_time;

static inline void pass(uint64_t nanoseconds)
{
	workload_time += nanoseconds;
}

void random_seed(uint64_t seed);
uint64_t random_below(uint64_t end);
double random_share(void);                                /* at least 0, below 1 */
uint64_t random_exponential(uint64_t mean);               /* a life's length, if dying is equally likely at any age */
size_t random_size(size_t smallest, size_t largest);      /* evenly spread */
size_t random_long_tail(size_t smallest, size_t largest); /* half as many are larger than twice a size as than it */

/* Blocks of which any can be freed. */
struct blocks {
	void **pointers;
	size_t count;
	size_t capacity;
};

void *block_allocate(size_t size);
void *block_resize(void *pointer, size_t size);
void block_free(void *pointer);
void blocks_add(struct blocks *blocks, size_t size);
void blocks_free_random(struct blocks *blocks);

/* Frees in random order until `count` are left, one each `interval`. */
void blocks_free_down_to(struct blocks *blocks, size_t count, uint64_t interval);

/* Blocks that die at a time of their own. */
struct lives;
struct lives *lives_new(void);
void lives_add(struct lives *lives, size_t size, uint64_t length);

/* Frees those whose time has come. */
void lives_end(struct lives *lives);

/* The program goes on for a while, with little to do: a few blocks come and go each millisecond. */
void light_activity(uint64_t nanoseconds);

#endif

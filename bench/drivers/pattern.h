/*
 * Fixed pseudo-random patterns for the benchmark programs: the same for every allocator and every run, made before the
 * clock starts. Relies on nothing.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* One step of a row with random sizes: the object in `slot` is replaced by one of `size` bytes. */
struct random_step {
	uint32_t slot;
	uint32_t size;
};

/* The next number of a xorshift generator; the state must not be 0. */
uint64_t next_random(uint64_t *state);

/* A state for the generator: another one for each `stream`. */
uint64_t random_state(size_t stream);

/* A number from `smallest` to `largest`, as by Pareto's law: half as many are larger than twice a value as are larger
 * than it. As sizes of objects: many small ones, few large ones, as in most programs. */
uint32_t random_power_law(uint64_t *state, uint32_t smallest, uint32_t largest);

/* A random permutation of 0 .. count - 1. */
void shuffle_order(uint32_t *order, size_t count);

/* Sizes evenly spread over smallest .. largest. */
void fill_uniform_steps(struct random_step *steps, size_t count, size_t slots, size_t smallest, size_t largest);

/* Sizes by the power law. */
void fill_power_law_steps(struct random_step *steps, size_t count, size_t slots, size_t smallest, size_t largest);

#endif

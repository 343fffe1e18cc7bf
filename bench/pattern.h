/*
 * Fixed pseudo-random patterns for the microbenchmark: the same for every allocator and every run, made before the
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

/* A random permutation of 0 .. count - 1. */
void shuffle_order(uint32_t *order, size_t count);

/* Sizes evenly spread over 1 .. largest. */
void fill_uniform_steps(struct random_step *steps, size_t count, size_t slots, size_t largest);

/* Sizes from 16 to `largest` such that half as many are larger than twice a size as are larger than it: many small
 * objects, few large ones, as in most programs. */
void fill_power_law_steps(struct random_step *steps, size_t count, size_t slots, size_t largest);

#endif

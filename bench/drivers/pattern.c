/* Fixed pseudo-random patterns for the benchmark programs. See pattern.h. */
#include "pattern.h"

#define SEED UINT64_C(0x9e3779b97f4a7c15)

uint64_t next_random(uint64_t *state)
{
	uint64_t value = *state;
	value ^= value << 13;
	value ^= value >> 7;
	value ^= value << 17;
	*state = value;
	return value;
}

uint64_t random_state(size_t stream)
{
	/* A product of odd numbers is odd, and so not 0. */
	return SEED * (2 * (uint64_t)stream + 1);
}

uint32_t random_power_law(uint64_t *state, uint32_t smallest, uint32_t largest)
{
	/* With u even in (0, 1], smallest / u exceeds s with probability smallest / s. */
	double u = (double)((next_random(state) >> 40) + 1) / (double)(1 << 24);
	double value = (double)smallest / u;
	return value < (double)largest ? (uint32_t)value : largest;
}

void shuffle_order(uint32_t *order, size_t count)
{
	uint64_t state = SEED;
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t i = count; i > 1; i--) {
		size_t other = next_random(&state) % i;
		uint32_t moved = order[i - 1];
		order[i - 1] = order[other];
		order[other] = moved;
	}
}

void fill_uniform_steps(struct random_step *steps, size_t count, size_t slots, size_t smallest, size_t largest)
{
	uint64_t state = SEED;
	for (size_t i = 0; i < count; i++) {
		steps[i].slot = (uint32_t)(next_random(&state) % slots);
		steps[i].size = (uint32_t)(smallest + next_random(&state) % (largest - smallest + 1));
	}
}

void fill_power_law_steps(struct random_step *steps, size_t count, size_t slots, size_t smallest, size_t largest)
{
	uint64_t state = SEED;
	for (size_t i = 0; i < count; i++) {
		steps[i].size = random_power_law(&state, (uint32_t)smallest, (uint32_t)largest);
		steps[i].slot = (uint32_t)(next_random(&state) % slots);
	}
}

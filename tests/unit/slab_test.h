/*
 * What the tests of the CPUs' slabs share: whether they serve in this process at all, and CPUs of the test's own.
 *
 * Such a CPU has a number beyond the machine's, and an area of its own with which any thread can act for it, one at a time: nobody
 * runs there, so what is tested on it does not depend on where the kernel lets threads run.
 */
#ifndef TIERMALLOC_TESTS_SLAB_TEST_H
#define TIERMALLOC_TESTS_SLAB_TEST_H

#include "heap_test.h"

#include "base/options.h"
#include "frontend/cpu_cache.h"
#include "frontend/slab.h"
#include "frontend/thread_cache.h"

#define OWN_CPUS 40

/* The machine's. */
static uint32_t real_numbers;

static inline const char *frontend_kind(void)
{
	struct frontend_statistics statistics;

	frontend_read_statistics(&statistics);
	return statistics.kind;
}

static inline bool slabs_serve(void)
{
	return strncmp(frontend_kind(), "CPUs", 4) == 0;
}

/* For main: why there is nothing to test, or NULL. */
static inline const char *reason_to_skip(void)
{
	if (!PER_CPU_IS_POSSIBLE) {
		REQUIRE(!slabs_serve(), "slabs in a build without them");
		return "this build has no slabs for CPUs";
	}
	return slabs_serve() ? NULL
			     : "the CPUs' slabs do not serve here: TIERMALLOC_CONF is not frontend:cpu, or the kernel "
			       "has refused";
}

static inline int skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	return 0;
}

/* Once: from now on numbers up to OWN_CPUS beyond the machine's can have slabs. */
static inline void add_own_cpus(void)
{
	real_numbers = rseq_process.numbers;
	for (uint32_t i = 0; i < OWN_CPUS; i++)
		slab_table[real_numbers + i] = (struct cache_stacks *)&closed_cache;
	rseq_process.numbers += OWN_CPUS;
	rseq_process.open_numbers = rseq_process.numbers;
}

struct own_cpu {
	struct rseq_area area;
	struct slab *slab;
};

/* Each test takes numbers that no other one has. */
static inline void open_cpu(struct own_cpu *cpu)
{
	static uint32_t next;
	uint32_t number = real_numbers + next++;

	REQUIRE(next <= OWN_CPUS, "more CPUs than there are");
	cpu->area = (struct rseq_area){.cpu_id_start = number, .cpu_id = number, .mm_cid = number};
	cpu->slab = slab_of(number);
	REQUIRE(cpu->slab != NULL && cpu->slab->number == number, "no slab for number %u", number);
}

static inline size_t left_of(const struct slab *slab)
{
	return slab->grant - slab->charged;
}

/* Whether a CPU that has used nothing of its grant can give as much as is taken at a time. */
static inline bool grants_can_move(void)
{
	if (STEAL_AMOUNT <= options.cpu_cache_size / 2)
		return true;
	not_tested("grants that move between CPUs", "steal_amount of this profile is more than they can give");
	return false;
}

static inline struct slab *next_slab(struct slab *slab)
{
	for (uint32_t number = slab == NULL ? 0 : slab->number + 1; number < rseq_process.numbers; number++) {
		if (slab_made(number) != NULL)
			return slab_made(number);
	}
	return NULL;
}

static inline size_t slabs_made(void)
{
	size_t count = 0;

	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		count++;
	return count;
}

static inline size_t sum_of_grants(void)
{
	size_t sum = 0;

	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		sum += slab->grant;
	return sum;
}

/* Objects in all slabs. */
static inline size_t held_in_slabs(void)
{
	size_t held = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		held += cpu_cache_held(class);
	return held;
}

#endif

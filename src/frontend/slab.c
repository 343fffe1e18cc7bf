/* The CPUs' slabs: making them, taking them away from their CPUs, and their budget. */
#include "frontend/slab.h"

#include "base/arena.h"
#include "frontend/thread_cache.h"

CACHE_ALIGNED struct cache_stacks *slab_table[RSEQ_NUMBERS];

static struct {
	struct slab *made[RSEQ_NUMBERS];
	size_t first_slot[CLASS_COUNT]; /* in slots from the beginning of them; below it lies the NULL */
	size_t bytes;                   /* of a slab with all its slots */
	size_t grant;
	uint32_t victim; /* where the next search for a grant to lower begins */
} slabs;

size_t slab_most_slots(unsigned class)
{
	size_t fitting = slabs.grant / size_classes[class].size;

	return maximum(minimum(fitting, PEAK_CAPACITY), size_classes[class].capacity);
}

void slabs_begin(size_t bytes)
{
	size_t slots = 0;

	slabs.grant = bytes;
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		slabs.first_slot[class] = slots + 1;
		slots += 1 + (class == 0 ? 0 : slab_most_slots(class));
	}
	slabs.bytes = sizeof(struct slab) + slots * sizeof(void *);
	for (uint32_t number = 0; number < rseq_process.numbers; number++)
		slab_table[number] = (struct cache_stacks *)&closed_cache;
}

void **slab_bottom(const struct slab *slab, unsigned class)
{
	return (void **)slab->slots + slabs.first_slot[class];
}

static NOINLINE struct slab *make(uint32_t number)
{
	struct slab *expected = NULL;
	struct slab *slab = arena_allocate(slabs.bytes);

	if (slab == NULL)
		return NULL;
	slab->number = number;
	slab->grant = slabs.grant;
	/* Until it is in the table nobody else may take it away, and put it there. */
	slab->taker = &thread_state;
	for (unsigned class = 0; class < CLASS_COUNT; class ++)
		slab->stacks.top[class] = slab->stacks.limit[class] = slab_bottom(slab, class);
	if (!__atomic_compare_exchange_n(&slabs.made[number], &expected, slab, false, __ATOMIC_RELEASE,
					 __ATOMIC_ACQUIRE)) {
		arena_free(slab, slabs.bytes);
		return expected;
	}
	registry_count_slab();
	slab_put_back(slab);
	return slab;
}

struct slab *slab_made(uint32_t number)
{
	return __atomic_load_n(&slabs.made[number], __ATOMIC_ACQUIRE);
}

struct slab *slab_of(uint32_t number)
{
	struct slab *slab;

	if (unlikely(number >= rseq_process.numbers))
		return NULL;
	slab = slab_made(number);
	return likely(slab != NULL) ? slab : make(number);
}

size_t slab_sum(const struct slab *slab)
{
	size_t sum = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		sum += slab_capacity(slab, class) * size_classes[class].size;
	return sum;
}

bool slab_take_away(struct slab *slab)
{
	struct thread_state *nobody = NULL;

	if (!__atomic_compare_exchange_n(&slab->taker, &nobody, &thread_state, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	__atomic_store_n(&slab_table[slab->number], (struct cache_stacks *)&closed_cache, __ATOMIC_SEQ_CST);
	if (rseq_fence())
		return true;
	slab_put_back(slab);
	return false;
}

void slab_put_back(struct slab *slab)
{
	__atomic_store_n(&slab_table[slab->number], &slab->stacks, __ATOMIC_RELEASE);
	__atomic_store_n(&slab->taker, NULL, __ATOMIC_RELEASE);
}

static size_t left(const struct slab *slab)
{
	size_t grant = load_relaxed(&slab->grant);
	size_t charged = load_relaxed(&slab->charged);

	return grant > charged ? grant - charged : 0;
}

/* A CPU that has little to do has much left; it keeps a quarter of its first grant in any case. */
static bool lower_grant(struct slab *victim, size_t bytes)
{
	size_t grant = load_relaxed(&victim->grant);

	return left(victim) >= bytes && grant >= bytes + slabs.grant / 4 &&
	       __atomic_compare_exchange_n(&victim->grant, &grant, grant - bytes, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

/* Moves part of another CPU's grant here. */
static void steal_grant(struct slab *slab, size_t bytes)
{
	uint32_t first = load_relaxed(&slabs.victim);

	for (uint32_t i = 0; i < rseq_process.numbers; i++) {
		uint32_t number = (first + i) % rseq_process.numbers;
		struct slab *victim = slab_made(number);

		if (victim == NULL || victim == slab || !lower_grant(victim, bytes))
			continue;
		__atomic_fetch_add(&slab->grant, bytes, __ATOMIC_RELAXED);
		store_relaxed(&slabs.victim, number);
		return;
	}
}

size_t slab_charge(struct slab *slab, size_t bytes, size_t unit)
{
	size_t charged;
	size_t granted;

	if (left(slab) < bytes)
		steal_grant(slab, maximum(bytes, STEAL_AMOUNT));
	charged = load_relaxed(&slab->charged);
	do {
		size_t grant = load_relaxed(&slab->grant);

		granted = minimum(grant > charged ? grant - charged : 0, bytes) / unit * unit;
	} while (granted != 0 && !__atomic_compare_exchange_n(&slab->charged, &charged, charged + granted, false,
							      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return granted;
}

void slab_discharge(struct slab *slab, size_t bytes)
{
	__atomic_fetch_sub(&slab->charged, bytes, __ATOMIC_RELAXED);
}

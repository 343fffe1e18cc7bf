/*
 * The CPUs' slabs: their layout, making them, taking them away and putting them back, and the budget, with random charges against a
 * model.
 */
#include "slab_test.h"

#include <sched.h>

#include "base/arena.h"
#include "base/lock.h"

#define THREADS 4

static uint64_t state;

static void a_new_slab_is_closed(void **unused)
{
	struct own_cpu cpu;

	(void)unused;
	open_cpu(&cpu);
	assert_ptr_equal(slab_of(cpu.slab->number), cpu.slab);
	assert_ptr_equal(slab_made(cpu.slab->number), cpu.slab);
	assert_true(slab_is_there(cpu.slab));
	assert_int_equal(cpu.slab->grant, options.cpu_cache_size);
	assert_int_equal(cpu.slab->charged, 0);
	assert_int_equal(slab_sum(cpu.slab), 0);
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		assert_int_equal(slab_capacity(cpu.slab, class), 0);
		assert_int_equal(slab_held(cpu.slab, class), 0);
		assert_null(slab_bottom(cpu.slab, class)[-1]);
		assert_null(section_pop(&cpu.area, &rseq_process.numbers, class));
	}
	REQUIRE_VALID(cpu_cache_validate);
}

/* Each class has room for its most slots and the NULL below them. */
static void stacks_do_not_overlap(void **unused)
{
	struct own_cpu cpu;

	(void)unused;
	open_cpu(&cpu);
	assert_true(slab_bottom(cpu.slab, 0) - 1 >= cpu.slab->slots);
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t most = slab_most_slots(class);

		assert_true(most >= size_classes[class].capacity);
		assert_true(most <= maximum(PEAK_CAPACITY, size_classes[class].capacity));
		if (class + 1 < CLASS_COUNT)
			assert_true(slab_bottom(cpu.slab, class) + most <= slab_bottom(cpu.slab, class + 1) - 1);
		/* It is all there to be written to. */
		slab_bottom(cpu.slab, class)[0] = cpu.slab;
		slab_bottom(cpu.slab, class)[most - 1] = cpu.slab;
	}
	REQUIRE_VALID(cpu_cache_validate);
}

static void numbers_beyond_all(void **unused)
{
	size_t made = slabs_made();

	(void)unused;
	assert_null(slab_of(rseq_process.numbers));
	assert_null(slab_of(UINT32_MAX));
	assert_int_equal(slabs_made(), made);
}

static pthread_barrier_t barrier;
static struct slab *found[THREADS];
static uint32_t wanted_number;

static void *make_slab(void *place)
{
	pthread_barrier_wait(&barrier);
	*(struct slab **)place = slab_of(wanted_number);
	return NULL;
}

static size_t arena_used(void)
{
	struct arena_statistics statistics;

	arena_read_statistics(&statistics);
	return statistics.used;
}

/* Whoever comes second takes the first one's, and leaves nothing behind. */
static void made_by_several_at_once(void **unused)
{
	struct own_cpu first;
	size_t before = arena_used();
	size_t block;

	(void)unused;
	open_cpu(&first);
	block = arena_used() - before;
	pthread_barrier_init(&barrier, NULL, THREADS);
	/* Numbers at the far end, which open_cpu does not reach in this program. */
	for (uint32_t i = 1; i <= 20; i++) {
		pthread_t threads[THREADS];

		wanted_number = rseq_process.numbers - i;
		before = arena_used();
		for (int j = 0; j < THREADS; j++)
			threads[j] = thread_start(make_slab, &found[j]);
		for (int j = 0; j < THREADS; j++) {
			pthread_join(threads[j], NULL);
			assert_non_null(found[j]);
			assert_ptr_equal(found[j], found[0]);
		}
		assert_int_equal(arena_used() - before, block);
		assert_ptr_equal(slab_table[wanted_number], &found[0]->stacks);
	}
	pthread_barrier_destroy(&barrier);
	REQUIRE_VALID(cpu_cache_validate);
}

static void *make_slab_of_number(void *unused)
{
	(void)unused;
	found[0] = slab_of(wanted_number);
	return NULL;
}

/* This thread makes it while the other one, which has found none, waits for its memory. */
static void made_by_two_for_sure(void **unused)
{
	struct own_cpu own;
	size_t before = arena_used();
	size_t block;
	pthread_t maker;

	(void)unused;
	open_cpu(&own);
	block = arena_used() - before;
	wanted_number = own.slab->number + 1;
	lock_acquire(arena_lock());
	maker = thread_start(make_slab_of_number, NULL);
	while ((load_relaxed(&arena_lock()->word) & LOCK_WAITERS) == 0)
		sched_yield();
	/* It may take the lock that it has, as a thread that forks. */
	lock_allow_nesting(true);
	open_cpu(&own);
	lock_allow_nesting(false);
	assert_int_equal(own.slab->number, wanted_number);
	lock_release(arena_lock());
	pthread_join(maker, NULL);
	assert_ptr_equal(found[0], own.slab);
	assert_int_equal(arena_used() - before, 2 * block);
	assert_true(slab_is_there(own.slab));
}

/* Its maker still has to enter it into the table: taken away before, it would be there for all while it is worked on. */
static void a_half_made_slab_is_not_taken(void **unused)
{
	struct own_cpu unmade;
	pthread_t maker;
	struct slab *half;

	(void)unused;
	open_cpu(&unmade);
	/* The number behind it. */
	wanted_number = unmade.slab->number + 1;
	/* The maker wants it on its way. */
	lock_acquire(frontend_lock());
	maker = thread_start(make_slab_of_number, NULL);
	while ((half = slab_made(wanted_number)) == NULL)
		sched_yield();
	assert_false(slab_take_away(half));
	assert_false(slab_is_there(half));
	lock_release(frontend_lock());
	pthread_join(maker, NULL);
	assert_true(slab_is_there(half));
	assert_true(slab_take_away(half));
	assert_false(slab_is_there(half));
	slab_put_back(half);
	open_cpu(&unmade);
	assert_ptr_equal(unmade.slab, half);
}

static void away_and_back(void **unused)
{
	struct own_cpu cpu;
	void *object = &cpu;
	void *const *end = &object + 1;

	(void)unused;
	open_cpu(&cpu);
	assert_true(section_set_limit(&cpu.area, &rseq_process.numbers, 1, &cpu.slab->stacks, slab_bottom(cpu.slab, 1),
				      slab_bottom(cpu.slab, 1) + 1));
	assert_true(slab_take_away(cpu.slab));
	assert_ptr_equal(slab_table[cpu.slab->number], &closed_cache);
	assert_false(slab_take_away(cpu.slab));
	assert_ptr_equal(slab_table[cpu.slab->number], &closed_cache);
	assert_int_equal(section_push_batch(&cpu.area, &rseq_process.numbers, 1, end, 1), 0);
	slab_put_back(cpu.slab);
	assert_ptr_equal(slab_table[cpu.slab->number], &cpu.slab->stacks);
	assert_int_equal(section_push_batch(&cpu.area, &rseq_process.numbers, 1, end, 1), 1);
	assert_true(slab_take_away(cpu.slab));
	/* Now it is this thread's alone. */
	cpu.slab->stacks.top[1] = cpu.slab->stacks.limit[1] = slab_bottom(cpu.slab, 1);
	slab_put_back(cpu.slab);
	REQUIRE_VALID(cpu_cache_validate);
}

static struct own_cpu contended;
static uint32_t owner; /* of the contended slab */
static uint32_t times;

static void *contend(void *unused)
{
	for (int taken = 0; taken < 3000; taken++) {
		uint32_t nobody = 0;

		/* Not too patiently: they are to try at the same time. */
		for (int tries = 1; !slab_take_away(contended.slab); tries++) {
			if (tries % 1000 == 0)
				sched_yield();
		}
		REQUIRE(__atomic_compare_exchange_n(&owner, &nobody, thread_id(), false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED),
			"two have taken it away");
		REQUIRE(!slab_is_there(contended.slab), "it is still there");
		times++;
		/* Now the others try. */
		sched_yield();
		REQUIRE(load_relaxed(&owner) == thread_id(), "somebody else has taken it, too");
		store_relaxed(&owner, 0);
		slab_put_back(contended.slab);
	}
	return unused;
}

static void claimed_by_several_at_once(void **unused)
{
	pthread_t threads[THREADS];

	(void)unused;
	open_cpu(&contended);
	for (int i = 0; i < THREADS; i++)
		threads[i] = thread_start(contend, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(times, THREADS * 3000);
	assert_true(slab_is_there(contended.slab));
}

#define BUDGETED 4

/* What this slab could give to another one. */
static bool can_give(const struct slab *slab, size_t bytes)
{
	return left_of(slab) >= bytes && slab->grant >= bytes + options.cpu_cache_size / 4;
}

/* Slabs of other tests have all their grants left: they are used up for the time of the test. */
static void use_up_others(const struct own_cpu *cpus, size_t *used)
{
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		bool other = true;

		for (size_t i = 0; i < BUDGETED; i++)
			other = other && slab != cpus[i].slab;
		used[slab->number] = 0;
		if (other)
			used[slab->number] = slab_charge(slab, left_of(slab), 1);
	}
}

static void give_back_others(const size_t *used)
{
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		slab_discharge(slab, used[slab->number]);
}

static void check_budget(const struct own_cpu *cpus, const size_t *charged, size_t sum)
{
	assert_int_equal(sum_of_grants(), sum);
	for (size_t i = 0; i < BUDGETED; i++) {
		assert_int_equal(cpus[i].slab->charged, charged[i]);
		assert_true(cpus[i].slab->charged <= cpus[i].slab->grant);
		assert_true(cpus[i].slab->grant >= options.cpu_cache_size / 4);
	}
}

static void charge_one(const struct own_cpu *cpus, size_t *charged, size_t which)
{
	struct slab *slab = cpus[which].slab;
	size_t unit = 8 * (1 + random_below(&state, 1000));
	size_t bytes = unit * (1 + random_below(&state, 300));
	size_t had = left_of(slab);
	size_t got = slab_charge(slab, bytes, unit);

	assert_true(got <= bytes);
	assert_int_equal(got % unit, 0);
	charged[which] += got;
	if (had >= bytes)
		assert_int_equal(got, bytes);
	if (got == bytes)
		return;
	assert_true(left_of(slab) < unit);
	for (size_t i = 0; i < BUDGETED; i++)
		assert_false(i != which && can_give(cpus[i].slab, maximum(bytes, STEAL_AMOUNT)));
}

static void random_charges(void **unused)
{
	struct own_cpu cpus[BUDGETED];
	size_t charged[BUDGETED] = {0};
	static size_t used[RSEQ_NUMBERS];
	size_t sum;
	size_t moved = 0;

	(void)unused;
	for (size_t i = 0; i < BUDGETED; i++)
		open_cpu(&cpus[i]);
	use_up_others(cpus, used);
	sum = sum_of_grants();
	for (int i = 0; i < 100000; i++) {
		size_t which = random_below(&state, BUDGETED);
		/* Now this one, now that one is in need. */
		bool needs = which == (size_t)i / 1000 % BUDGETED ? random_below(&state, 8) != 0
								  : random_below(&state, 8) == 0;

		if (needs) {
			charge_one(cpus, charged, which);
		} else {
			size_t bytes = random_below(&state, charged[which] + 1);

			slab_discharge(cpus[which].slab, bytes);
			charged[which] -= bytes;
		}
		check_budget(cpus, charged, sum);
		moved += cpus[which].slab->grant > options.cpu_cache_size;
	}
	assert_true(moved != 0 || !grants_can_move());
	for (size_t i = 0; i < BUDGETED; i++)
		slab_discharge(cpus[i].slab, charged[i]);
	give_back_others(used);
	REQUIRE_VALID(cpu_cache_validate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_slab_is_closed), cmocka_unit_test(stacks_do_not_overlap),
		cmocka_unit_test(numbers_beyond_all),   cmocka_unit_test(made_by_several_at_once),
		cmocka_unit_test(made_by_two_for_sure), cmocka_unit_test(a_half_made_slab_is_not_taken),
		cmocka_unit_test(away_and_back),        cmocka_unit_test(claimed_by_several_at_once),
		cmocka_unit_test(random_charges),
	};

	if (reason_to_skip() != NULL)
		return skip_all(reason_to_skip());
	add_own_cpus();
	state = seed_of_run("slab");
	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}

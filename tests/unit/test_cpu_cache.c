/*
 * The frontend per CPU on CPUs of the test's own, where every step is known: slow start, growth and its bounds, capacity that moves
 * between classes and between CPUs, CPUs that fall idle. What threads on the machine's CPUs do is in test_cpu_threads.c.
 */
#include "slab_test.h"

#include "base/os.h"
#include "reentrant.h"

#define MAXIMUM_OBJECTS 5000

static struct own_cpu busy;
static struct own_cpu other;
static void *objects[MAXIMUM_OBJECTS];

/* Up to here a test leaves grants for others. */
static size_t used_up[RSEQ_NUMBERS];

static int begin(void **unused)
{
	(void)unused;
	memset(used_up, 0, sizeof(used_up));
	return door_enter() ? 0 : 1;
}

static int end(void **unused)
{
	(void)unused;
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		slab_discharge(slab, used_up[slab->number]);
		/* Each test begins with what a slab gets. */
		slab->grant = options.cpu_cache_size;
	}
	os_clock = NULL;
	cpu_cache_flush_all();
	door_leave();
	REQUIRE_VALID(heap_validate);
	REQUIRE(bytes_in_use() == 0, "%zu bytes are in use", bytes_in_use());
	return 0;
}

/* The slab cannot grow any more, nor give anything away. */
static void use_up(struct slab *slab)
{
	used_up[slab->number] += slab_charge(slab, left_of(slab), 1);
	REQUIRE(left_of(slab) == 0, "%zu are left", left_of(slab));
}

static void use_up_all(void)
{
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		use_up(slab);
}

static void *take(struct own_cpu *cpu, unsigned class)
{
	void *object = cpu_cache_allocate(&cpu->area, class);

	REQUIRE(object != NULL, "out of memory");
	return object;
}

static void give(struct own_cpu *cpu, unsigned class, void *object)
{
	cpu_cache_free(&cpu->area, class, object, "test");
}

static void take_some(struct own_cpu *cpu, unsigned class, size_t count)
{
	for (size_t i = 0; i < count; i++)
		objects[i] = take(cpu, class);
}

static void give_some(struct own_cpu *cpu, unsigned class, size_t count)
{
	for (size_t i = 0; i < count; i++)
		give(cpu, class, objects[i]);
}

static void swing(struct own_cpu *cpu, unsigned class, size_t count, int rounds)
{
	while (rounds-- > 0) {
		take_some(cpu, class, count);
		give_some(cpu, class, count);
	}
}

static void check_charge(const struct slab *slab)
{
	assert_int_equal(slab->charged, slab_sum(slab) + used_up[slab->number]);
	assert_true(slab->charged <= slab->grant);
}

static void slow_start(void **unused)
{
	unsigned class = class_near(64);
	size_t first = minimum(size_classes[class].capacity, size_classes[class].size * 2 > CACHE_LINE ? 7 : 15);

	(void)unused;
	open_cpu(&busy);
	objects[0] = take(&busy, class);
	/* Where several objects share a cache line, the others come along. */
	if (2 * size_classes[class].size > CACHE_LINE) {
		assert_int_equal(slab_capacity(busy.slab, class), 0);
		assert_int_equal(busy.slab->charged, 0);
	}
	objects[1] = take(&busy, class);
	/* One slot is no more than a batch of one needs. */
	if (size_classes[class].batch > 1)
		assert_int_equal(slab_capacity(busy.slab, class), first);
	assert_true(slab_held(busy.slab, class) <= slab_capacity(busy.slab, class));
	check_charge(busy.slab);
	/* The objects that are freed stay here. */
	give_some(&busy, class, 2);
	assert_true(slab_held(busy.slab, class) >= minimum(2, slab_capacity(busy.slab, class)));
	assert_int_equal(cpu_cache_held(class), slab_held(busy.slab, class));
	check_charge(busy.slab);
}

/* So many slots a stack has that is only emptied: doubled until they hold a batch, or 8 KiB. */
static size_t flow_slots(unsigned class)
{
	const struct size_class *info = &size_classes[class];
	size_t needed = maximum(info->batch, 8 * KIB / info->size) - 1;
	size_t slots = 2 * info->size > CACHE_LINE ? 7 : 15;

	while (slots < needed)
		slots = 2 * slots + 1;
	return minimum(slots, info->capacity);
}

static void check_growth(unsigned class, size_t *before)
{
	size_t now = slab_capacity(busy.slab, class);

	assert_true(now >= *before);
	assert_true(now <= maximum(15, 2 * *before + 1));
	assert_true(now <= slab_most_slots(class));
	check_charge(busy.slab);
	*before = now;
}

static void grow_class(unsigned class)
{
	size_t count = minimum(MAXIMUM_OBJECTS, 16 * MIB / size_classes[class].size);
	size_t before = 0;

	for (size_t i = 0; i < count; i++) {
		objects[i] = take(&busy, class);
		check_growth(class, &before);
	}
	assert_true(before <= flow_slots(class));
	for (size_t i = 0; i < count; i++) {
		give(&busy, class, objects[i]);
		assert_true(slab_capacity(busy.slab, class) <= slab_most_slots(class));
		check_charge(busy.slab);
	}
	/* All that it may have, for who takes and gives in turn. */
	count = minimum(count, size_classes[class].capacity + 1u);
	swing(&busy, class, count, 12);
	assert_true(slab_capacity(busy.slab, class) >=
		    minimum(count - 1, options.cpu_cache_size / size_classes[class].size));
	check_charge(busy.slab);
	cpu_cache_flush_all();
	assert_int_equal(busy.slab->charged, 0);
}

static void growth_by_class(void **unused)
{
	static const size_t sizes[] = {8, 64, 1024, 8192, 65536, 1u << 20};

	(void)unused;
	open_cpu(&busy);
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		grow_class(class_near(sizes[i]));
}

/* All classes in turn want more than there is. */
static void growth_by_budget(void **unused)
{
	size_t wanted = 0;

	(void)unused;
	open_cpu(&busy);
	open_cpu(&other);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		if (slab != busy.slab)
			use_up(slab);
	}
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t count = minimum(size_classes[class].capacity + 1u, MAXIMUM_OBJECTS);

		swing(&busy, class, count, 12);
		wanted += size_classes[class].capacity * (size_t)size_classes[class].size;
		check_charge(busy.slab);
	}
	assert_int_equal(busy.slab->grant, options.cpu_cache_size);
	if (wanted >= 2 * options.cpu_cache_size)
		assert_true(slab_sum(busy.slab) >= options.cpu_cache_size / 4);
	else
		not_tested("that the budget is used", "the classes of this profile do not want so much");
}

static void bytes_move_between_classes(void **unused)
{
	unsigned old = class_near(1024);
	unsigned new = class_near(256);
	size_t count = minimum(MAXIMUM_OBJECTS, size_classes[old].capacity + 1u);
	size_t before;
	size_t moved;

	(void)unused;
	open_cpu(&busy);
	if (old == new) {
		not_tested("moving between classes", "this profile has one class for 256 and 1024 bytes");
		return;
	}
	swing(&busy, old, count, 12);
	before = slab_capacity(busy.slab, old);
	assert_true(before != 0);
	use_up_all();
	/* The old one is looked at, and gives up half: soon, because at each visit several classes are asked. */
	for (size_t i = 0; i < CLASS_COUNT; i++)
		swing(&busy, new, 1, 1);
	assert_true(slab_capacity(busy.slab, old) < before);
	/* And again as long as the new one wants more. */
	count = minimum(MAXIMUM_OBJECTS, size_classes[new].capacity + 1u);
	for (size_t i = 0; i < 32 * CLASS_COUNT; i++)
		swing(&busy, new, count, 1);
	moved = (before - slab_capacity(busy.slab, old)) * size_classes[old].size;
	assert_true(moved != 0);
	assert_true(slab_capacity(busy.slab, new) != 0);
	assert_true(slab_capacity(busy.slab, new) * size_classes[new].size <= moved);
	assert_true(slab_capacity(busy.slab, new) >= size_classes[new].capacity ||
		    (slab_capacity(busy.slab, new) + 1) * size_classes[new].size > moved);
	check_charge(busy.slab);
}

/* Tries to grow, however little this profile's classes want: the rest is used up. */
static void grow_on(struct own_cpu *cpu)
{
	unsigned class = class_near(512);

	use_up(cpu->slab);
	swing(cpu, class, minimum(MAXIMUM_OBJECTS, size_classes[class].capacity + 1u), 12);
	assert_true(slab_capacity(cpu->slab, class) != 0);
	check_charge(cpu->slab);
}

static void grants_move_between_cpus(void **unused)
{
	size_t sum;
	size_t of_other;

	(void)unused;
	if (!grants_can_move())
		return;
	open_cpu(&busy);
	open_cpu(&other);
	sum = sum_of_grants();
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		if (slab != busy.slab && slab != other.slab)
			use_up(slab);
	}
	grow_on(&busy);
	assert_true(busy.slab->grant > options.cpu_cache_size);
	assert_true(other.slab->grant < options.cpu_cache_size);
	assert_true(other.slab->grant >= options.cpu_cache_size / 4);
	assert_int_equal(sum_of_grants(), sum);
	/* And back, when this one needs it and the first one does not. */
	slab_discharge(busy.slab, used_up[busy.slab->number]);
	used_up[busy.slab->number] = 0;
	of_other = other.slab->grant;
	grow_on(&other);
	assert_true(other.slab->grant > of_other);
	assert_int_equal(sum_of_grants(), sum);
	/* The last quarter of its grant nobody gives away. */
	for (int i = 0; i < 1000; i++)
		used_up[other.slab->number] += slab_charge(other.slab, 64 * KIB, 64);
	assert_true(busy.slab->grant >= options.cpu_cache_size / 4);
	assert_true(busy.slab->grant < options.cpu_cache_size / 4 + maximum(64 * KIB, STEAL_AMOUNT) ||
		    left_of(busy.slab) < maximum(64 * KIB, STEAL_AMOUNT));
	assert_int_equal(sum_of_grants(), sum);
}

static uint64_t now;

static uint64_t clock_of_test(void)
{
	return now;
}

/* So many milliseconds later, the busy CPU comes to the door until it has looked at the clock. */
static void tick(uint64_t milliseconds)
{
	unsigned class = class_near(2048);

	now += milliseconds;
	do {
		/* There is no budget: each of the two is a visit. */
		give(&busy, class, take(&busy, class));
	} while (busy.slab->visits % VISITS_PER_TICK > 1);
}

static void fill_other(void)
{
	unsigned class = class_near(64);

	swing(&other, class, minimum(MAXIMUM_OBJECTS, size_classes[class].capacity + 1u), 4);
	REQUIRE(slab_held(other.slab, class) != 0, "nothing stays on the slab");
}

static void idle_cpu_is_drained(void **unused)
{
	unsigned class = class_near(64);
	size_t held;

	(void)unused;
	now = os_milliseconds();
	os_clock = clock_of_test;
	open_cpu(&busy);
	open_cpu(&other);
	fill_other();
	use_up_all();
	held = slab_held(other.slab, class);
	tick(1000);
	/* Too soon: nobody looks. */
	for (int i = 0; i < 10; i++)
		tick(90);
	assert_int_equal(slab_held(other.slab, class), held);
	tick(1000);
	/* Now it is used, on its fast path alone. */
	objects[0] = section_pop(&other.area, &rseq_process.numbers, class);
	tick(1000);
	assert_int_equal(slab_held(other.slab, class), held - 1);
	tick(1000);
	assert_int_equal(slab_held(other.slab, class), held - 1);
	tick(1000);
	assert_int_equal(slab_held(other.slab, class), 0);
	assert_int_equal(slab_sum(other.slab), 0);
	check_charge(other.slab);
	assert_true(slab_is_there(other.slab));
	/* It begins anew. */
	slab_discharge(other.slab, used_up[other.slab->number]);
	used_up[other.slab->number] = 0;
	give(&other, class, objects[0]);
	fill_other();
}

static uint64_t migrate_and_tell_time(void)
{
	busy.area.cpu_id = busy.area.mm_cid = other.slab->number;
	return now;
}

/* In the middle of the door, just when it has looked which slab is its own. What it has charged for is not to be had. */
static void migrated_behind_the_door(void **unused)
{
	unsigned class = class_near(64);

	(void)unused;
	open_cpu(&busy);
	open_cpu(&other);
	take_some(&busy, class, 1);
	assert_int_equal(slab_sum(other.slab), 0);
	cpu_cache_flush_all();
	now = os_milliseconds();
	os_clock = migrate_and_tell_time;
	busy.slab->visits = VISITS_PER_TICK - 1;
	objects[1] = take(&busy, class);
	assert_int_equal(rseq_number(&busy.area), other.slab->number);
	assert_int_equal(slab_sum(busy.slab), 0);
	assert_int_equal(slab_sum(other.slab), 0);
	check_charge(busy.slab);
	check_charge(other.slab);
	give_some(&busy, class, 2);
	assert_int_equal(slab_sum(busy.slab), 0);
	check_charge(busy.slab);
	check_charge(other.slab);
}

static void flush_empties_all(void **unused)
{
	size_t held = 0;

	(void)unused;
	open_cpu(&busy);
	open_cpu(&other);
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		swing(class % 2 != 0 ? &busy : &other, class, 5, 2);
	/* Some have been halved again by now. */
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		held += cpu_cache_held(class) * size_classes[class].size;
	assert_true(held != 0);
	assert_int_equal(cpu_cache_flush_all(), held);
	assert_int_equal(held_in_slabs(), 0);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		assert_int_equal(slab->charged, 0);
		assert_true(slab_is_there(slab));
	}
	assert_int_equal(cpu_cache_flush_all(), 0);
}

/* Its CPU's threads are served by the central tier. */
static void while_a_slab_is_away(void **unused)
{
	unsigned class = class_near(64);
	size_t held;
	size_t charged;

	(void)unused;
	open_cpu(&busy);
	swing(&busy, class, 100, 3);
	held = slab_held(busy.slab, class);
	charged = busy.slab->charged;
	assert_true(slab_take_away(busy.slab));
	take_some(&busy, class, 300);
	give_some(&busy, class, 300);
	assert_int_equal(slab_held(busy.slab, class), held);
	assert_int_equal(busy.slab->charged, charged);
	assert_int_equal(cpu_cache_flush_all(), 0);
	slab_put_back(busy.slab);
	take_some(&busy, class, 1);
	assert_int_equal(slab_held(busy.slab, class), held - 1);
	give_some(&busy, class, 1);
}

static void free_twice(const void *full)
{
	void *twice = (void *)(uintptr_t)full;

	cpu_cache_free(&busy.area, class_near(64), twice, "test");
}

/* Also where there is no room, and something would have to go before it. */
static void double_free_at_once(void **unused)
{
	unsigned class = class_near(64);
	char what[96];
	char line[192];
	size_t given = 0;
	void *last;

	(void)unused;
	open_cpu(&busy);
	take_some(&busy, class, 3000);
	do {
		last = objects[given];
		give(&busy, class, objects[given++]);
	} while (given < 3000 && slab_held(busy.slab, class) < slab_capacity(busy.slab, class));
	assert_int_equal(slab_held(busy.slab, class), slab_capacity(busy.slab, class));
	/* Nor can it grow. */
	use_up_all();
	snprintf(what, sizeof(what), "object is already free (double free); size class %u",
		 (unsigned)size_classes[class].size);
	expect_stop(free_twice, last, stop_line(line, sizeof(line), "test", last, what));
	while (given < 3000)
		give(&busy, class, objects[given++]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slow_start, begin, end),
		cmocka_unit_test_setup_teardown(growth_by_class, begin, end),
		cmocka_unit_test_setup_teardown(growth_by_budget, begin, end),
		cmocka_unit_test_setup_teardown(bytes_move_between_classes, begin, end),
		cmocka_unit_test_setup_teardown(grants_move_between_cpus, begin, end),
		cmocka_unit_test_setup_teardown(idle_cpu_is_drained, begin, end),
		cmocka_unit_test_setup_teardown(migrated_behind_the_door, begin, end),
		cmocka_unit_test_setup_teardown(flush_empties_all, begin, end),
		cmocka_unit_test_setup_teardown(while_a_slab_is_away, begin, end),
		cmocka_unit_test_setup_teardown(double_free_at_once, begin, end),
	};

	if (reason_to_skip() != NULL)
		return skip_all(reason_to_skip());
	add_own_cpus();
	return cmocka_run_group_tests_name("cpu cache", tests, NULL, NULL);
}

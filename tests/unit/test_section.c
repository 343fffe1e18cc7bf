/*
 * The sections one by one, against a model: each class of a slab is an array with a count and a limit.
 *
 * They work on slabs of the test's own, entered into the table under numbers that no CPU has, and on an area of the test's own,
 * whose number the test sets: the kernel makes nobody start again who is not in the area that it knows, so this is their logic
 * without the restarting. Runs in every build.
 */
#include "support.h"

#include "frontend/section.h"
#include "pageheap/page_map.h"

#define SLOTS   40
#define SLABS   3
#define FIRST   (RSEQ_NUMBERS - SLABS)
#define OUTSIDE ((void *)0x5a5a5a5a5a5a5a5a)

/* Three, as far as the profile has so many: the last one, and the first two. */
#define CLASSES (CLASS_COUNT > 3 ? 3 : CLASS_COUNT - 1)

static unsigned class_at(size_t at)
{
	return at == 0 ? CLASS_COUNT - 1 : (unsigned)at;
}

/* What lies behind a class: NULL, the slots, and words that must stay as they are on both sides. */
struct array {
	void *before;
	void *below;
	void *slots[SLOTS];
	void *behind;
};

struct model {
	struct cache_stacks stacks;
	struct array arrays[CLASSES];
	void *held[CLASSES][SLOTS];
	size_t count[CLASSES];
	size_t limit[CLASSES];
};

static struct model slabs[SLABS];
static struct rseq_area area = {.cpu_id_start = 1, .cpu_id = 1, .flags = 2, .node_id = 3, .mm_cid = 1, .padding = 4};
static uint32_t numbers;
static uint64_t state;
static uintptr_t last_object;

static void set_number(uint32_t number)
{
	area.cpu_id = area.mm_cid = number;
}

static void *new_object(void)
{
	last_object += 16;
	return (void *)last_object;
}

static void begin(void)
{
	memset(slabs, 0, sizeof(slabs));
	for (size_t i = 0; i < SLABS; i++) {
		struct model *slab = &slabs[i];

		/* All other classes are closed. */
		slab->stacks = closed_cache;
		for (size_t at = 0; at < CLASSES; at++) {
			struct array *array = &slab->arrays[at];

			array->before = array->behind = OUTSIDE;
			slab->stacks.top[class_at(at)] = slab->stacks.limit[class_at(at)] = array->slots;
		}
		slab_table[FIRST + i] = &slab->stacks;
	}
	numbers = FIRST + SLABS;
	set_number(FIRST);
}

static int leave(void **unused)
{
	(void)unused;
	memset(slab_table + FIRST, 0, SLABS * sizeof(slab_table[0]));
	return 0;
}

/* The slab that a section finds, as far as it finds one. */
static struct model *current(void)
{
	uint32_t number = rseq_number(&area);

	return number < numbers && slab_table[number] == &slabs[number - FIRST].stacks ? &slabs[number - FIRST] : NULL;
}

static void check_class(const struct model *slab, size_t at)
{
	const struct array *array = &slab->arrays[at];

	assert_ptr_equal(slab->stacks.top[class_at(at)], array->slots + slab->count[at]);
	assert_ptr_equal(slab->stacks.limit[class_at(at)], array->slots + slab->limit[at]);
	assert_memory_equal(array->slots, slab->held[at], slab->count[at] * sizeof(void *));
	assert_ptr_equal(array->before, OUTSIDE);
	assert_null(array->below);
	assert_ptr_equal(array->behind, OUTSIDE);
}

/* What lies above a limit belongs to nobody, but a section has no business there. */
static void check_all(void)
{
	for (size_t i = 0; i < SLABS; i++) {
		for (size_t at = 0; at < CLASSES; at++)
			check_class(&slabs[i], at);
		assert_ptr_equal(slabs[i].stacks.top[0], CLOSED_TOP);
		assert_ptr_equal(slabs[i].stacks.limit[0], CLOSED_TOP);
	}
	assert_int_equal(area.cpu_id_start, 1);
	assert_int_equal(area.flags, 2);
	assert_int_equal(area.node_id, 3);
	assert_int_equal(area.padding, 4);
}

static void pop_one(size_t at)
{
	struct model *slab = current();
	void *object = section_pop(&area, &numbers, class_at(at));

	if (slab == NULL || slab->count[at] == 0)
		assert_null(object);
	else
		assert_ptr_equal(object, slab->held[at][--slab->count[at]]);
}

static void push_one(size_t at, void *object, enum section_result expected)
{
	struct model *slab = current();

	assert_int_equal(section_push(&area, &numbers, CLASS_OFFSET(class_at(at)), object), expected);
	if (expected == SECTION_DONE)
		slab->held[at][slab->count[at]++] = object;
}

static void push_new(size_t at)
{
	struct model *slab = current();

	push_one(at, new_object(), slab == NULL || slab->count[at] == slab->limit[at] ? SECTION_FULL : SECTION_DONE);
}

/* Also when the stack is full. */
static void push_top_again(size_t at)
{
	struct model *slab = current();

	if (slab != NULL && slab->count[at] != 0)
		push_one(at, slab->held[at][slab->count[at] - 1], SECTION_TWICE);
}

static void pop_some(size_t at, size_t count)
{
	struct model *slab = current();
	void *taken[2 * SLOTS + 2];
	void **end = taken + 2 * SLOTS + 1;
	size_t expected = slab == NULL ? 0 : minimum(count, slab->count[at]);

	for (size_t i = 0; i < COUNT_OF(taken); i++)
		taken[i] = OUTSIDE;
	assert_int_equal(section_pop_batch(&area, &numbers, class_at(at), end, count), expected);
	assert_ptr_equal(end[0], OUTSIDE);
	assert_ptr_equal(end[-1 - (ptrdiff_t)expected], OUTSIDE);
	if (expected == 0)
		return;
	slab->count[at] -= expected;
	assert_memory_equal(end - expected, slab->held[at] + slab->count[at], expected * sizeof(void *));
}

static void push_some(size_t at, size_t count)
{
	struct model *slab = current();
	void *given[2 * SLOTS];
	void **end = given + 2 * SLOTS;
	size_t expected = slab == NULL ? 0 : minimum(count, slab->limit[at] - slab->count[at]);

	for (size_t i = 1; i <= count; i++)
		end[-(ptrdiff_t)i] = new_object();
	assert_int_equal(section_push_batch(&area, &numbers, class_at(at), end, count), expected);
	if (expected == 0)
		return;
	memcpy(slab->held[at] + slab->count[at], end - expected, expected * sizeof(void *));
	slab->count[at] += expected;
}

/* From the slab `named`, which need not be the current one, and the limit that it is thought to have. */
static void set_limit(size_t at, struct model *named, size_t believed, size_t wanted)
{
	void **slots = named->arrays[at].slots;
	bool expected = named == current() && believed == named->limit[at] && wanted >= named->count[at];

	assert_int_equal(
		section_set_limit(&area, &numbers, class_at(at), &named->stacks, slots + believed, slots + wanted),
		expected);
	if (expected)
		named->limit[at] = wanted;
}

static void open_class(size_t at, size_t limit)
{
	set_limit(at, current(), current()->limit[at], limit);
	assert_int_equal(current()->limit[at], limit);
}

static void every_section_writes_its_descriptor(void **unused)
{
	uint64_t seen[5];
	size_t count = 0;
	void *objects[1] = {new_object()};

	(void)unused;
	begin();
	section_pop(&area, &numbers, 1);
	seen[count++] = area.rseq_cs;
	section_push(&area, &numbers, CLASS_OFFSET(1), objects[0]);
	seen[count++] = area.rseq_cs;
	section_pop_batch(&area, &numbers, 1, objects + 1, 1);
	seen[count++] = area.rseq_cs;
	section_push_batch(&area, &numbers, 1, objects + 1, 1);
	seen[count++] = area.rseq_cs;
	section_set_limit(&area, &numbers, 1, &slabs[0].stacks, NULL, NULL);
	seen[count++] = area.rseq_cs;
	for (size_t i = 0; i < count; i++) {
		const uint32_t *words = (const uint32_t *)(uintptr_t)seen[i];

		assert_int_equal(seen[i] % 32, 0);
		/* Version and flags. */
		assert_int_equal(words[0], 0);
		assert_int_equal(words[1], 0);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(seen[i], seen[j]);
	}
	check_all();
}

static void pop(void **unused)
{
	(void)unused;
	begin();
	pop_one(0);
	open_class(0, 3);
	pop_one(0);
	push_new(0);
	push_new(0);
	pop_one(CLASSES - 1);
	check_all();
	pop_one(0);
	pop_one(0);
	pop_one(0);
	check_all();
}

static void push(void **unused)
{
	(void)unused;
	begin();
	push_new(0);
	open_class(0, 2);
	push_new(0);
	push_top_again(0);
	check_all();
	push_new(0);
	push_new(0);
	check_all();
	/* Full, and twice at the same time: twice it is. */
	push_top_again(0);
	/* Below the top it is not looked for. */
	pop_one(0);
	open_class(0, 3);
	push_new(0);
	push_one(0, current()->held[0][0], SECTION_DONE);
	check_all();
}

/* Every number of objects, asked of every number. */
static void batches(void **unused)
{
	(void)unused;
	for (size_t limit = 0; limit <= 9; limit++) {
		for (size_t held = 0; held <= limit; held++) {
			for (size_t count = 1; count <= 12; count++) {
				begin();
				open_class(0, limit);
				for (size_t i = 0; i < held; i++)
					push_new(0);
				push_some(0, count);
				check_all();
				pop_some(0, count);
				check_all();
				pop_some(0, 2 * SLOTS);
				assert_int_equal(current()->count[0], 0);
				check_all();
			}
		}
	}
}

static void limits(void **unused)
{
	(void)unused;
	begin();
	open_class(0, SLOTS);
	for (int i = 0; i < 10; i++)
		push_new(0);
	/* Not below what is held; down to it. */
	set_limit(0, &slabs[0], SLOTS, 9);
	check_all();
	set_limit(0, &slabs[0], SLOTS, 10);
	assert_int_equal(slabs[0].limit[0], 10);
	push_new(0);
	/* Not the limit that it has; not the slab of this CPU. */
	set_limit(0, &slabs[0], 11, 12);
	set_limit(0, &slabs[1], 0, 12);
	assert_int_equal(slabs[1].limit[0], 0);
	check_all();
}

static void try_all(void)
{
	for (size_t at = 0; at < CLASSES; at++) {
		pop_one(at);
		push_new(at);
		push_top_again(at);
		pop_some(at, 1);
		pop_some(at, SLOTS);
		push_some(at, 1);
		push_some(at, SLOTS);
		set_limit(at, &slabs[0], slabs[0].limit[at], SLOTS);
	}
	check_all();
}

/* Half full slabs that sections do not find. */
static void half_full(void)
{
	begin();
	for (size_t at = 0; at < CLASSES; at++) {
		open_class(at, 10);
		push_some(at, 5);
	}
}

static void no_slab_is_found(void **unused)
{
	static const uint32_t beyond[] = {FIRST + SLABS, RSEQ_NUMBERS, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX};

	(void)unused;
	half_full();
	for (size_t i = 0; i < COUNT_OF(beyond); i++) {
		set_number(beyond[i]);
		assert_null(current());
		try_all();
	}
	/* Closed for all. */
	half_full();
	numbers = 0;
	set_number(0);
	try_all();
	/* Taken away. */
	half_full();
	slab_table[FIRST] = (struct cache_stacks *)&closed_cache;
	try_all();
	slab_table[FIRST] = &slabs[0].stacks;
	try_all();
	assert_int_equal(slabs[0].limit[0], SLOTS);
}

/* The area that threads without one have. */
static void closed_area(void **unused)
{
	void *objects[2] = {new_object(), new_object()};

	(void)unused;
	half_full();
	assert_null(section_pop(&closed_rseq_area, &numbers, class_at(0)));
	assert_int_equal(section_push(&closed_rseq_area, &numbers, CLASS_OFFSET(class_at(0)), objects[0]),
			 SECTION_FULL);
	assert_int_equal(section_pop_batch(&closed_rseq_area, &numbers, class_at(0), objects + 2, 2), 0);
	assert_int_equal(section_push_batch(&closed_rseq_area, &numbers, class_at(0), objects + 2, 2), 0);
	assert_false(section_set_limit(&closed_rseq_area, &numbers, class_at(0), &slabs[0].stacks,
				       slabs[0].arrays[0].slots + 10, slabs[0].arrays[0].slots + 20));
	check_all();
}

static void change_something(void)
{
	struct model *any = &slabs[random_below(&state, SLABS)];
	uint32_t entry = (uint32_t)(any - slabs) + FIRST;

	switch (random_below(&state, 4)) {
	case 0:
		slab_table[entry] = (struct cache_stacks *)&closed_cache;
		break;
	case 1:
		numbers = FIRST + (uint32_t)random_below(&state, SLABS + 1);
		break;
	default:
		for (uint32_t i = 0; i < SLABS; i++)
			slab_table[FIRST + i] = &slabs[i].stacks;
		numbers = FIRST + SLABS;
		set_number(entry);
	}
}

static void do_something(size_t at)
{
	struct model *any = &slabs[random_below(&state, SLABS)];
	size_t count = 1 + random_below(&state, random_below(&state, 4) == 0 ? 2 * SLOTS : 8);

	switch (random_below(&state, 8)) {
	case 0:
		pop_one(at);
		break;
	case 1:
	case 2:
		push_new(at);
		break;
	case 3:
		push_top_again(at);
		break;
	case 4:
		pop_some(at, count);
		break;
	case 5:
	case 6:
		push_some(at, count);
		break;
	default:
		if (random_below(&state, 3) != 0 && current() != NULL)
			any = current();
		set_limit(at, any, random_below(&state, 8) == 0 ? random_below(&state, SLOTS + 1) : any->limit[at],
			  random_below(&state, SLOTS + 1));
	}
}

static void random_operations(void **unused)
{
	(void)unused;
	begin();
	for (int i = 0; i < (SANITIZED ? 50000 : 500000); i++) {
		if (random_below(&state, 20) == 0)
			change_something();
		do_something(random_below(&state, CLASSES));
		if (i % 16 == 0)
			check_all();
	}
	check_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_section_writes_its_descriptor, leave),
		cmocka_unit_test_teardown(pop, leave),
		cmocka_unit_test_teardown(push, leave),
		cmocka_unit_test_teardown(batches, leave),
		cmocka_unit_test_teardown(limits, leave),
		cmocka_unit_test_teardown(no_slab_is_found, leave),
		cmocka_unit_test_teardown(closed_area, leave),
		cmocka_unit_test_teardown(random_operations, leave),
	};

	state = seed_of_run("section");
	return cmocka_run_group_tests_name("section", tests, NULL, NULL);
}

/*
 * The page heap: random operations against a model (pageheap_model.h), and its choices one by one: the
 * tightest range, the two kinds apart, tails of large runs, alignment, the top, impossible requests.
 */
#include "support.h"

#include "pageheap_model.h"

#define STEPS                (SANITIZED ? 6000 : 20000)
#define STEPS_BETWEEN_CHECKS 100
#define MOST_PAGES           ((size_t)64 << 20 >> PAGE_SHIFT) /* in use at a time */

static uint64_t state;

static size_t random_pages(void)
{
	switch (random_below(&state, 16)) {
	case 0:
		return 1 + random_below(&state, 4 * HUGEPAGE_PAGES);
	case 1:
		return HUGEPAGE_PAGES * (1 + random_below(&state, 3)) + random_below(&state, 3) - 1;
	case 2:
	case 3:
		return 1 + random_below(&state, HUGEPAGE_PAGES);
	default:
		return 1 + random_below(&state, 16);
	}
}

static struct page_request random_request(void)
{
	return (struct page_request){
		.pages = random_pages(),
		.alignment = random_below(&state, 4) == 0 ? (size_t)1 << random_below(&state, 12) : 1,
		.kind = (enum page_kind)random_below(&state, PAGE_KINDS),
		.zeroed = random_below(&state, 2) != 0,
		.growing = random_below(&state, 32) == 0,
		.dense = random_below(&state, 4) == 0,
	};
}

static void change_run(struct run *run)
{
	size_t pages = run->pages;

	switch (random_below(&state, 8)) {
	case 0:
	case 1:
		if (model_grow(run, pages + 1 + random_below(&state, 2 * HUGEPAGE_PAGES)))
			break;
		model_grow(run, pages + 1);
		break;
	case 2:
		if (pages > 1)
			model_shrink(run, 1 + random_below(&state, pages - 1));
		break;
	case 3:
		/* Refused if it is short, or enough has been moved (test_moved.c). */
		model_move(run, pages + random_below(&state, HUGEPAGE_PAGES));
		break;
	default:
		model_free(run);
	}
}

static void release_some(void)
{
	size_t keep = random_below(&state, 3) == 0 ? 0 : random_below(&state, (size_t)8 << 20);
	struct pageheap_statistics before = heap_statistics();
	size_t released = pageheap_release(keep);
	struct pageheap_statistics after = heap_statistics();

	/* What shares a page of the kernel with pages in use is not given back. */
	assert_true(after.free <= keep || os_page_size() > PAGE_SIZE);
	assert_int_equal(after.released_total - before.released_total, released);
	assert_int_equal(before.free - after.free, released);
	if (before.free <= keep >> PAGE_SHIFT << PAGE_SHIFT)
		assert_int_equal(released, 0);
}

static void random_step(void)
{
	struct run *run = &model.runs[random_below(&state, MODEL_RUNS)];

	if (random_below(&state, 200) == 0)
		release_some();
	if (random_below(&state, 50) == 0)
		pageheap_tick();
	if (run->address != 0) {
		change_run(run);
	} else if (model.pages < MOST_PAGES) {
		const struct page_request request = random_request();

		assert_true(model_allocate(run, &request));
	}
	model_check_totals();
}

static void random_operations(void **unused)
{
	time_t end = soak_end();

	(void)unused;
	do {
		for (int step = 0; step < STEPS; step++) {
			random_step();
			if (step % STEPS_BETWEEN_CHECKS == 0)
				model_check_all();
		}
		model_free_all();
		pageheap_release(0);
		assert_int_equal(heap_statistics().free, 0);
	} while (time(NULL) < end);
}

static uintptr_t allocate(size_t pages, enum page_kind kind)
{
	const struct page_request request = {.pages = pages, .alignment = 1, .kind = kind};
	struct page_run run;

	assert_true(pageheap_allocate(&request, &run));
	return run.address;
}

static void free_part(uintptr_t run, size_t page, size_t pages)
{
	pageheap_free(run + (page << PAGE_SHIFT), pages);
}

static uintptr_t nth_page(uintptr_t run, size_t page)
{
	return run + (page << PAGE_SHIFT);
}

static void assert_valid(void)
{
	const char *wrong = pageheap_validate();

	assert_string_equal(wrong != NULL ? wrong : "in order", "in order");
}

/* The last 32 pages of a hugepage, which has no more where pages have 64 KiB. */
#define FAR (HUGEPAGE_PAGES - 32)

/* Two hugepages with holes: a request goes into the smallest hole that takes it. */
static void tightest_range(void **unused)
{
	const enum page_kind kind = PAGES_MANY_OBJECTS;
	uintptr_t one = allocate(HUGEPAGE_PAGES - 1, kind);
	uintptr_t one_rest = allocate(1, kind);
	uintptr_t two = allocate(HUGEPAGE_PAGES - 1, kind);
	uintptr_t two_rest = allocate(1, kind);

	(void)unused;
	assert_int_equal(one_rest, nth_page(one, HUGEPAGE_PAGES - 1));
	assert_int_equal(two_rest, nth_page(two, HUGEPAGE_PAGES - 1));
	free_part(one, 1, 12);
	free_part(one, FAR + 20, 5);
	free_part(two, 5, 8);
	free_part(two, FAR + 20, 3);
	/* The hugepage whose longest range is the tightest, and in it the tightest range. */
	assert_int_equal(allocate(3, kind), nth_page(two, FAR + 20));
	assert_int_equal(allocate(6, kind), nth_page(two, 5));
	assert_int_equal(allocate(2, kind), nth_page(two, 11));
	assert_int_equal(allocate(4, kind), nth_page(one, FAR + 20));
	assert_int_equal(allocate(1, kind), nth_page(one, FAR + 24));
	assert_int_equal(allocate(12, kind), nth_page(one, 1));
	assert_valid();
	assert_int_equal(heap_statistics().used, 2 * HUGEPAGE_SIZE);
	pageheap_free(one, HUGEPAGE_PAGES);
	pageheap_free(two, HUGEPAGE_PAGES);
	assert_valid();
}

static bool no_maps(enum os_call call)
{
	return call == OS_MAP;
}

static size_t hugepage_of(uintptr_t address)
{
	return page_of(address) / HUGEPAGE_PAGES;
}

/* Spans of many objects and of few don't share a hugepage while there is memory. */
static void kinds_apart(void **unused)
{
	uintptr_t many = allocate(1, PAGES_MANY_OBJECTS);
	uintptr_t few = allocate(1, PAGES_FEW_OBJECTS);
	uintptr_t reused;

	(void)unused;
	assert_int_not_equal(hugepage_of(many), hugepage_of(few));
	assert_int_equal(hugepage_of(allocate(1, PAGES_MANY_OBJECTS)), hugepage_of(many));
	assert_int_equal(hugepage_of(allocate(1, PAGES_FEW_OBJECTS)), hugepage_of(few));
	pageheap_free(few, 2);
	/* A hugepage that has become free serves either kind. */
	reused = allocate(HUGEPAGE_PAGES - 1, PAGES_MANY_OBJECTS);
	assert_int_equal(hugepage_of(reused), hugepage_of(few));
	pageheap_free(reused, HUGEPAGE_PAGES - 1);
	pageheap_free(many, 2);
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

/* The rest of a large run's last hugepage goes to small ones. */
static void tail_is_used(void **unused)
{
	uintptr_t large = allocate(HUGEPAGE_PAGES + 10, PAGES_FEW_OBJECTS);
	uintptr_t small = allocate(7, PAGES_FEW_OBJECTS);
	uintptr_t elsewhere;

	(void)unused;
	assert_int_equal(large % HUGEPAGE_SIZE, 0);
	assert_int_equal(small, nth_page(large, HUGEPAGE_PAGES + 10));
	pageheap_free(large, HUGEPAGE_PAGES + 10);
	/* The tail's user keeps its hugepage; a run of two has to go elsewhere, one of one into the first. */
	assert_int_equal(allocate(HUGEPAGE_PAGES, PAGES_FEW_OBJECTS), large);
	elsewhere = allocate(2 * HUGEPAGE_PAGES, PAGES_FEW_OBJECTS);
	assert_true(elsewhere > small);
	assert_valid();
	pageheap_free(elsewhere, 2 * HUGEPAGE_PAGES);
	pageheap_free(small, 7);
	pageheap_free(large, HUGEPAGE_PAGES);
	assert_valid();
}

/* Where it can become twice as long; or above all that is in use, and so it grows as far as it likes. */
static void growing(void **unused)
{
	struct page_request request = {
		.pages = HUGEPAGE_PAGES + 3, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	uintptr_t below = allocate(3 * HUGEPAGE_PAGES, PAGES_FEW_OBJECTS);
	uintptr_t between = allocate(HUGEPAGE_PAGES, PAGES_FEW_OBJECTS);
	struct page_run low;
	struct page_run top;
	bool zeroed;

	(void)unused;
	assert_true(between > below);
	pageheap_free(below, 3 * HUGEPAGE_PAGES);
	assert_true(pageheap_allocate(&request, &low));
	assert_int_equal(low.address, below);
	pageheap_free(low.address, request.pages);
	request.pages = 3 * HUGEPAGE_PAGES / 2 + 1;
	assert_true(pageheap_allocate(&request, &top));
	assert_true(top.address > between);
	assert_int_equal(top.address % HUGEPAGE_SIZE, 0);
	for (size_t number = hugepage_of(top.address) + 2; number < heap.top; number++)
		assert_int_equal(hugepage_records[number].used_count, 0);
	assert_true(pageheap_grow(top.address, request.pages, 40 * HUGEPAGE_PAGES + 5, &zeroed));
	assert_valid();
	pageheap_free(top.address, 40 * HUGEPAGE_PAGES + 5);
	pageheap_free(between, HUGEPAGE_PAGES);
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

/* A short run that will grow takes the longest range, at its start, and not the tightest; or a free hugepage. */
static void growing_in_filler(void **unused)
{
	struct page_request request = {.pages = 2, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	struct page_run one;
	struct page_run run;
	struct page_run next;
	uintptr_t other;
	bool zeroed;

	(void)unused;
	request.pages = HUGEPAGE_PAGES - 1;
	assert_true(pageheap_allocate(&request, &one));
	free_part(one.address, 1, 5);
	free_part(one.address, 7, 13);
	free_part(one.address, FAR + 21, 7);
	/* Others have hugepages of their own, which would hold this one when it is gone. */
	other = allocate(6, PAGES_FEW_OBJECTS);
	assert_int_not_equal(hugepage_of(other), hugepage_of(one.address));
	request.pages = 2;
	assert_true(pageheap_allocate(&request, &run));
	assert_int_equal(run.address, nth_page(one.address, 7));
	assert_true(pageheap_grow(run.address, 2, 13, &zeroed));
	assert_true(pageheap_allocate(&request, &next));
	assert_int_not_equal(hugepage_of(next.address), hugepage_of(one.address));
	assert_int_not_equal(hugepage_of(next.address), hugepage_of(other));
	assert_valid();
	pageheap_free(next.address, 2);
	pageheap_free(other, 6);
	free_part(one.address, 0, 1);
	free_part(one.address, 6, FAR + 21 - 6);
	free_part(one.address, FAR + 28, 3);
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

/* What such runs leave in their hugepages is given back as well. */
static void growing_is_released(void **unused)
{
	const struct page_request request = {.pages = 2, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	struct page_run run;
	bool zeroed;

	(void)unused;
	assert_true(pageheap_allocate(&request, &run));
	assert_true(pageheap_grow(run.address, 2, HUGEPAGE_PAGES / 2, &zeroed));
	free_part(run.address, 2, HUGEPAGE_PAGES / 2 - 2);
	pageheap_release(0);
	assert_true(heap_backed_free() == 0 || os_page_size() > PAGE_SIZE);
	pageheap_free(run.address, 2);
	assert_valid();
}

/* Longer runs begin behind what a hugepage holds, and their tail takes what is shorter: nothing is lost between. */
static void hugepages_are_shared(void **unused)
{
	const size_t third = HUGEPAGE_PAGES / 3;
	uintptr_t one = allocate(HUGEPAGE_PAGES + third, PAGES_FEW_OBJECTS);
	uintptr_t two = allocate(3 * HUGEPAGE_PAGES + third, PAGES_FEW_OBJECTS);
	uintptr_t tail;

	(void)unused;
	assert_int_equal(two, nth_page(one, HUGEPAGE_PAGES + third));
	/* The heap's free hugepages behind it are longer than this one's place. */
	pageheap_free(one, HUGEPAGE_PAGES + third);
	assert_int_equal(allocate(HUGEPAGE_PAGES, PAGES_FEW_OBJECTS), one);
	tail = allocate(third, PAGES_FEW_OBJECTS);
	assert_int_equal(hugepage_of(tail), hugepage_of(two));
	assert_valid();
	pageheap_free(tail, third);
	pageheap_free(one, HUGEPAGE_PAGES);
	pageheap_free(two, 3 * HUGEPAGE_PAGES + third);
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

/* Pages that are about to be written become resident in steps, which follow the size of the heap. */
static void populating(void **unused)
{
	struct page_request request = {.pages = 2, .alignment = 1, .kind = PAGES_MANY_OBJECTS, .dense = true};
	uintptr_t large = allocate(2 * HUGEPAGE_PAGES, PAGES_FEW_OBJECTS);
	size_t step = maximum(2 * HUGEPAGE_PAGES / 64, request.pages);
	struct page_run run;
	struct page_run sparse;

	(void)unused;
	/* qemu's user mode does nothing, and calls it a success. */
	if (madvise((void *)large, PAGE_SIZE, MADV_POPULATE_WRITE) != 0 || resident_pages(large, PAGE_SIZE) == 0) {
		not_tested("populating", "no MADV_POPULATE_WRITE before Linux 5.14, and under qemu");
		pageheap_free(large, 2 * HUGEPAGE_PAGES);
		return;
	}
	pageheap_release(0);
	/* Also where the kernel gives huge pages to everybody. */
	pageheap_set_huge_pages(HUGE_PAGES_NEVER, os_huge_pages());
	assert_true(pageheap_allocate(&request, &run));
	assert_int_equal(resident_pages(run.address, step << PAGE_SHIFT), (step << PAGE_SHIFT) / os_page_size());
	assert_int_equal(resident_pages(run.address + (step << PAGE_SHIFT), PAGE_SIZE), 0);
	assert_int_equal(heap_backed_free(), step - 2);
	request.kind = PAGES_FEW_OBJECTS;
	request.dense = false;
	assert_true(pageheap_allocate(&request, &sparse));
	assert_int_equal(resident_pages(sparse.address, 2 << PAGE_SHIFT), 0);
	assert_valid();
	pageheap_free(run.address, 2);
	pageheap_free(sparse.address, 2);
	pageheap_free(large, 2 * HUGEPAGE_PAGES);
	assert_valid();
}

/* Growing stops at the next run, whatever lies between. */
static void growth_is_stopped(void **unused)
{
	uintptr_t one = allocate(4, PAGES_FEW_OBJECTS);
	uintptr_t gap = allocate(6, PAGES_FEW_OBJECTS);
	uintptr_t next = allocate(1, PAGES_FEW_OBJECTS);
	bool zeroed = true;

	(void)unused;
	assert_int_equal(gap, nth_page(one, 4));
	assert_int_equal(next, nth_page(one, 10));
	assert_false(pageheap_grow(one, 4, 5, &zeroed));
	memset((void *)gap, 1, 6 << PAGE_SHIFT);
	pageheap_free(gap, 6);
	assert_false(pageheap_grow(one, 4, 11, &zeroed));
	assert_false(pageheap_grow(one, 4, 3 * HUGEPAGE_PAGES, &zeroed));
	assert_false(pageheap_grow(one, 4, SIZE_MAX >> PAGE_SHIFT >> 1, &zeroed));
	assert_true(pageheap_grow(one, 4, 10, &zeroed));
	if (zeroed)
		model_check_zero(gap, 6);
	assert_valid();
	pageheap_free(one, 11);
	assert_int_equal(heap_statistics().used, 0);
}

/* An alignment costs no pages: what lies before and behind the run serves others. */
static void nothing_lost_for_alignment(void **unused)
{
	const size_t bytes[] = {(size_t)64 << 10, (size_t)1 << 20, (size_t)2 << 20, (size_t)64 << 20, (size_t)1 << 30};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(bytes); i++) {
		const struct page_request aligned = {.pages = HUGEPAGE_PAGES + 3,
						     .alignment = maximum(bytes[i] >> PAGE_SHIFT, 1),
						     .kind = PAGES_FEW_OBJECTS};
		size_t before = heap_statistics().used;
		uintptr_t first = allocate(HUGEPAGE_PAGES + 1, PAGES_FEW_OBJECTS);
		struct page_run run;
		size_t gap;

		assert_true(pageheap_allocate(&aligned, &run));
		assert_int_equal(run.address & (bytes[i] - 1), 0);
		assert_int_equal(heap_statistics().used - before, 2 * HUGEPAGE_SIZE + (4 << PAGE_SHIFT));
		assert_valid();
		/* All between the two can be had. */
		gap = (run.address - nth_page(first, HUGEPAGE_PAGES + 1)) >> PAGE_SHIFT;
		if (run.address > first && gap != 0) {
			bool zeroed;

			assert_true(pageheap_grow(first, HUGEPAGE_PAGES + 1, HUGEPAGE_PAGES + 1 + gap, &zeroed));
			assert_valid();
			free_part(first, HUGEPAGE_PAGES + 1, gap);
		}
		pageheap_free(first, HUGEPAGE_PAGES + 1);
		pageheap_free(run.address, aligned.pages);
	}
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

/* Every power of two that the window has room for. */
static void alignments(void **unused)
{
	(void)unused;
	for (size_t alignment = 1; alignment <= (size_t)1 << 30 >> PAGE_SHIFT; alignment *= 2) {
		for (size_t pages = 1; pages <= 300; pages += 299) {
			const struct page_request request = {
				.pages = pages, .alignment = alignment, .kind = PAGES_FEW_OBJECTS};

			assert_true(model_allocate(&model.runs[0], &request));
			assert_true(model_allocate(&model.runs[1], &request));
			model_check_all();
			model_free_all();
		}
	}
}

static void impossible(void **unused)
{
	const size_t sizes[] = {page_map_capacity() * HUGEPAGE_PAGES + 1, SIZE_MAX >> PAGE_SHIFT,
				PTRDIFF_MAX >> PAGE_SHIFT, SIZE_MAX >> PAGE_SHIFT >> 1};
	struct pageheap_statistics before = heap_statistics();
	struct pageheap_statistics after;

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		for (int top = 0; top < 2; top++) {
			const struct page_request request = {.pages = sizes[i], .alignment = 1, .growing = top != 0};
			const struct page_request aligned = {
				.pages = 1, .alignment = (SIZE_MAX >> PAGE_SHIFT >> 1) + 1, .growing = top != 0};
			struct page_run run;

			assert_false(pageheap_allocate(&request, &run));
			assert_false(pageheap_allocate(&aligned, &run));
		}
	}
	after = heap_statistics();
	assert_int_equal(after.mapped, before.mapped);
	assert_int_equal(after.map_bytes, before.map_bytes);
	assert_valid();
}

/* With no new memory to be had, a free range in a hugepage of the other kind serves. */
static void other_kind_in_need(void **unused)
{
	uintptr_t many = allocate(2, PAGES_MANY_OBJECTS);
	const struct page_request request = {.pages = 5, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	struct page_run run;
	uintptr_t all[2048];
	size_t count = 0;

	(void)unused;
	/* All whole hugepages that have addresses. */
	for (; count < COUNT_OF(all) && heap_statistics().whole_free_hugepages != 0; count++)
		all[count] = allocate(HUGEPAGE_PAGES - 1, PAGES_MANY_OBJECTS);
	os_fault = no_maps;
	assert_true(pageheap_allocate(&request, &run));
	os_fault = NULL;
	assert_int_equal(hugepage_of(run.address), hugepage_of(many));
	pageheap_free(run.address, 5);
	pageheap_free(many, 2);
	while (count-- > 0)
		pageheap_free(all[count], HUGEPAGE_PAGES - 1);
	assert_int_equal(heap_statistics().used, 0);
	assert_valid();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tightest_range),
		cmocka_unit_test(kinds_apart),
		cmocka_unit_test(tail_is_used),
		cmocka_unit_test(growing),
		cmocka_unit_test(growing_in_filler),
		cmocka_unit_test(growing_is_released),
		cmocka_unit_test(hugepages_are_shared),
		cmocka_unit_test(populating),
		cmocka_unit_test(nothing_lost_for_alignment),
		cmocka_unit_test(growth_is_stopped),
		cmocka_unit_test(alignments),
		cmocka_unit_test(impossible),
		cmocka_unit_test(other_kind_in_need),
		cmocka_unit_test(random_operations),
	};

	state = seed_of_run("pageheap");
	return cmocka_run_group_tests_name("pageheap", tests, NULL, NULL);
}

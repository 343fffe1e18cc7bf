/*
 * The index of free extents by itself, on hugepage records of the test's own, against a search through all pages: what
 * it finds after random runs have been taken and given back, in a heap whose top rises. Relies on pageheap/extents.h,
 * pageheap/hugepage.h and base/bits; the page heap is not used.
 */
#include "support.h"

#include "pageheap/extents.h"
#include "pageheap/hugepage.h"

#define RECORDS 64
#define PAGES   (RECORDS * HUGEPAGE_PAGES)
#define RUNS    400
#define STEPS   20000

static uint64_t state;
static struct hugepage records[RECORDS];
static size_t top; /* hugepages */

static struct {
	size_t page;
	size_t pages; /* 0: none */
} runs[RUNS];

static bool is_free(size_t page)
{
	return !bit_test(records[page / HUGEPAGE_PAGES].used, page % HUGEPAGE_PAGES);
}

static void set_used(size_t page, size_t pages, bool used)
{
	for (size_t at = page; at < page + pages; at++) {
		if (used)
			bit_set(records[at / HUGEPAGE_PAGES].used, at % HUGEPAGE_PAGES);
		else
			bit_clear(records[at / HUGEPAGE_PAGES].used, at % HUGEPAGE_PAGES);
	}
}

static void take(size_t page, size_t pages)
{
	extents_take(page, pages);
	set_used(page, pages, true);
}

static void give(size_t page, size_t pages)
{
	set_used(page, pages, false);
	extents_add(page, pages, top);
}

/* The next free run of a hugepage and more from a page on, which is used or the beginning. */
static struct extent next_in_model(size_t page)
{
	size_t end = top * HUGEPAGE_PAGES;

	while (page < end) {
		size_t first;

		while (page < end && !is_free(page))
			page++;
		first = page;
		while (page < end && is_free(page))
			page++;
		if (page - first >= HUGEPAGE_PAGES)
			return (struct extent){first, page - first};
	}
	return (struct extent){0, 0};
}

/* All that is free is found from each of its pages, and nothing else is. */
static void check_index(void)
{
	size_t count = 0;
	size_t page = 0;

	for (struct extent extent = next_in_model(0); extent.pages != 0; extent = next_in_model(page)) {
		for (; page < extent.first; page++)
			assert_int_equal(extents_at(page).pages, 0);
		for (; page < extent.first + extent.pages; page++) {
			assert_int_equal(extents_at(page).first, extent.first);
			assert_int_equal(extents_at(page).pages, extent.pages);
		}
		count++;
	}
	for (; page < top * HUGEPAGE_PAGES; page++)
		assert_int_equal(extents_at(page).pages, 0);
	assert_int_equal(extents_count(), count);
}

static size_t aligned(size_t page, size_t alignment)
{
	size_t base = window.base >> PAGE_SHIFT;

	return round_up(base + page, alignment) - base;
}

/* The best by a search. It is promised to be found where there is no alignment, or all long enough have room. */
static void check_fit(size_t pages, size_t alignment)
{
	size_t found = extents_fit(pages, alignment);
	struct extent best = {0, SIZE_MAX};
	bool any = false;
	struct extent extent;

	for (extent = next_in_model(0); extent.pages != 0; extent = next_in_model(extent.first + extent.pages)) {
		if (aligned(extent.first, alignment) + pages > extent.first + extent.pages)
			continue;
		any = any || extent.pages >= pages + alignment - 1;
		if (extent.pages < best.pages)
			best = extent;
	}
	if (found == NO_NUMBER) {
		assert_false(any || (alignment == 1 && best.pages != SIZE_MAX));
		return;
	}
	extent = extents_at(found);
	assert_int_equal(found, aligned(extent.first, alignment));
	assert_true(found + pages <= extent.first + extent.pages);
	if (alignment == 1)
		assert_int_equal(extent.first, best.first);
}

static void raise_top(void)
{
	size_t old = top;

	top = minimum(top + 1 + random_below(&state, 5), RECORDS);
	if (top != old)
		extents_add(old * HUGEPAGE_PAGES, (top - old) * HUGEPAGE_PAGES, top);
}

static size_t random_pages(void)
{
	switch (random_below(&state, 4)) {
	case 0:
		return 1 + random_below(&state, 6 * HUGEPAGE_PAGES);
	case 1:
		return HUGEPAGE_PAGES * (1 + random_below(&state, 2));
	default:
		return 1 + random_below(&state, HUGEPAGE_PAGES);
	}
}

/* Takes a run where it fits or, if it is short, anywhere. */
static void take_random(size_t run)
{
	size_t pages = random_pages();
	size_t alignment = random_below(&state, 4) == 0 ? (size_t)1 << random_below(&state, 11) : 1;
	size_t page = extents_fit(pages, alignment);

	if (random_below(&state, 2) != 0) {
		page = random_below(&state, top * HUGEPAGE_PAGES);
		for (size_t at = page; at < page + pages; at++) {
			if (at >= top * HUGEPAGE_PAGES || !is_free(at))
				pages = at - page;
		}
	}
	if (page == NO_NUMBER || pages == 0)
		return;
	take(page, pages);
	runs[run].page = page;
	runs[run].pages = pages;
}

/* All of a run, or what lies behind its first pages. */
static void give_random(size_t run)
{
	size_t kept = random_below(&state, 3) == 0 ? random_below(&state, runs[run].pages) : 0;

	give(runs[run].page + kept, runs[run].pages - kept);
	runs[run].pages = kept;
}

static void random_runs(void **unused)
{
	(void)unused;
	raise_top();
	for (int step = 0; step < STEPS; step++) {
		size_t run = random_below(&state, RUNS);

		if (runs[run].pages != 0)
			give_random(run);
		else
			take_random(run);
		if (random_below(&state, 500) == 0)
			raise_top();
		check_fit(random_pages(), 1);
		check_fit(random_pages(), (size_t)1 << random_below(&state, 12));
		if (step % 100 == 0)
			check_index();
	}
	for (size_t run = 0; run < RUNS; run++) {
		if (runs[run].pages != 0)
			give(runs[run].page, runs[run].pages);
	}
	check_index();
	assert_int_equal(extents_count(), 1);
	assert_int_equal(extents_at(0).pages, top * HUGEPAGE_PAGES);
	assert_int_equal(extents_start_of(top * HUGEPAGE_PAGES), 0);
	take(0, top * HUGEPAGE_PAGES);
	assert_int_equal(extents_count(), 0);
	assert_int_equal(extents_start_of(top * HUGEPAGE_PAGES), top * HUGEPAGE_PAGES);
}

/* The shortest, and of two that are as long the lower; the ends of partly used hugepages count. */
static void shortest_then_lowest(void **unused)
{
	const size_t half = HUGEPAGE_PAGES / 2;

	(void)unused;
	top = RECORDS;
	set_used(0, PAGES, true);
	give(2 * HUGEPAGE_PAGES, 4 * HUGEPAGE_PAGES);
	give(10 * HUGEPAGE_PAGES + half, 2 * HUGEPAGE_PAGES);
	give(20 * HUGEPAGE_PAGES, 2 * HUGEPAGE_PAGES);
	give(30 * HUGEPAGE_PAGES + half, HUGEPAGE_PAGES - 1);
	assert_int_equal(extents_count(), 3);
	assert_int_equal(extents_fit(1, 1), 10 * HUGEPAGE_PAGES + half);
	assert_int_equal(extents_fit(2 * HUGEPAGE_PAGES, 1), 10 * HUGEPAGE_PAGES + half);
	assert_int_equal(extents_fit(2 * HUGEPAGE_PAGES + 1, 1), 2 * HUGEPAGE_PAGES);
	assert_int_equal(extents_fit(4 * HUGEPAGE_PAGES + 1, 1), NO_NUMBER);
	/* Only the second of those that are as long has room at a multiple of a hugepage. */
	assert_int_equal(extents_fit(2 * HUGEPAGE_PAGES, HUGEPAGE_PAGES), 20 * HUGEPAGE_PAGES);
	/* One more page makes a hugepage of what was too short. */
	give(30 * HUGEPAGE_PAGES + half - 1, 1);
	assert_int_equal(extents_fit(HUGEPAGE_PAGES, 1), 30 * HUGEPAGE_PAGES + half - 1);
	assert_int_equal(extents_start_of(31 * HUGEPAGE_PAGES + 3), 30 * HUGEPAGE_PAGES + half - 1);
	take(30 * HUGEPAGE_PAGES + half, 1);
	assert_int_equal(extents_start_of(31 * HUGEPAGE_PAGES + 3), 30 * HUGEPAGE_PAGES + half + 1);
	give(30 * HUGEPAGE_PAGES + half, 1);
	take(2 * HUGEPAGE_PAGES, 4 * HUGEPAGE_PAGES);
	take(10 * HUGEPAGE_PAGES + half, 2 * HUGEPAGE_PAGES);
	take(20 * HUGEPAGE_PAGES, 2 * HUGEPAGE_PAGES);
	take(30 * HUGEPAGE_PAGES + half - 1, HUGEPAGE_PAGES);
	assert_int_equal(extents_count(), 0);
	set_used(0, PAGES, false);
	top = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shortest_then_lowest),
		cmocka_unit_test(random_runs),
	};

	state = seed_of_run("extents");
	hugepage_records = records;
	/* Such that not every multiple of an alignment in the heap is one of addresses. */
	window.base = 37 * HUGEPAGE_SIZE;
	return cmocka_run_group_tests_name("extents", tests, NULL, NULL);
}

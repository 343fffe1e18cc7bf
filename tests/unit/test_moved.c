/*
 * What mremap has moved: memory stays when it is freed, mappings become one again when it is given back, and there are
 * never many of them.
 */
#include "support.h"

#include <stdio.h>

#include "pageheap/moved.h"
#include "pageheap_model.h"

#define MANY (MODEL_RUNS - 1)

/* More than the limit on borders, and the mappings of all that was not moved. */
#define MOST_MAPPINGS 540

/* The kernel's mappings in the window. */
static size_t mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long start;
	unsigned long end;
	size_t count = 0;

	assert_non_null(file);
	while (fscanf(file, "%lx-%lx%*[^\n]", &start, &end) == 2)
		count += start < window.base + (heap.top << HUGEPAGE_SHIFT) && end > window.base;
	fclose(file);
	return count;
}

static void take(struct run *run, size_t pages)
{
	const struct page_request request = {.pages = pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS};

	assert_true(model_allocate(run, &request));
}

static void nothing_left(void)
{
	model_free_all();
	pageheap_release(0);
	model_check_all();
}

static void freed_memory_stays(void **unused)
{
	struct pageheap_statistics before;
	struct run *run = &model.runs[0];

	(void)unused;
	if (!pages_are_moved())
		return;
	take(run, 2 * HUGEPAGE_PAGES);
	assert_true(model_move(run, 3 * HUGEPAGE_PAGES));
	assert_true(moved_to(page_of(run->address) / HUGEPAGE_PAGES));
	pageheap_set_retain((size_t)64 << 20);
	pageheap_release(0);
	before = heap_statistics();
	model_free(run);
	assert_int_equal(heap_statistics().free, before.free + 3 * HUGEPAGE_SIZE);
	pageheap_set_retain(0);
	nothing_left();
}

static void given_back_it_is_one_mapping_again(void **unused)
{
	size_t before;
	size_t number;

	(void)unused;
	if (!pages_are_moved())
		return;
	nothing_left();
	/* So that all addresses are there. */
	take(&model.runs[9], 40 * HUGEPAGE_PAGES);
	model_free(&model.runs[9]);
	before = mappings();
	for (size_t i = 0; i < 8; i++)
		take(&model.runs[i], HUGEPAGE_PAGES + i);
	assert_true(model_move(&model.runs[3], 2 * HUGEPAGE_PAGES));
	assert_true(model_move(&model.runs[5], 2 * HUGEPAGE_PAGES));
	number = page_of(model.runs[5].address) / HUGEPAGE_PAGES;
	assert_true(moved_to(number));
	assert_true(mappings() > before);
	nothing_left();
	assert_false(moved_to(number));
	assert_int_equal(mappings(), before);
}

static void no_more_than_some(void **unused)
{
	size_t moved = 0;

	(void)unused;
	if (!pages_are_moved())
		return;
	for (size_t i = 0; i < MANY; i++)
		take(&model.runs[i], HUGEPAGE_PAGES);
	/* The second time there are two mappings in each run. */
	for (size_t i = 0; i < 2 * MANY; i++)
		moved += model_move(&model.runs[i % MANY], HUGEPAGE_PAGES + 1 + i / MANY);
	assert_true(moved > 100 && moved < 2 * MANY);
	assert_true(mappings() < MOST_MAPPINGS);
	nothing_left();
	/* And again. */
	take(&model.runs[0], HUGEPAGE_PAGES);
	assert_true(model_move(&model.runs[0], HUGEPAGE_PAGES + 1));
	nothing_left();
}

/* A long run still is when short ones are not any more. */
static void short_runs_stop_sooner(void **unused)
{
	const size_t pages = HUGEPAGE_PAGES / 8;
	size_t i = 1;

	(void)unused;
	if (!pages_are_moved())
		return;
	take(&model.runs[0], HUGEPAGE_PAGES);
	do
		take(&model.runs[i], pages);
	while (model_move(&model.runs[i], pages + 1) && ++i < MANY);
	assert_true(i > 10 && i < MANY);
	assert_true(model_move(&model.runs[0], HUGEPAGE_PAGES + 1));
	nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freed_memory_stays),
		cmocka_unit_test(given_back_it_is_one_mapping_again),
		cmocka_unit_test(no_more_than_some),
		cmocka_unit_test(short_runs_stop_sooner),
	};

	return cmocka_run_group_tests_name("moved", tests, NULL, NULL);
}

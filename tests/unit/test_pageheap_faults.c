/*
 * The page heap when the system refuses: a fixed workload runs again and again, and each time another call to
 * the system fails, alone or with all that follow it. Whatever fails fails cleanly: nothing is lost or half
 * done, contents stay, and after it everything works again.
 */
#include "support.h"

#include "pageheap_model.h"

#define MOST_CALLS 4000 /* more than the workload makes */

static struct {
	unsigned calls; /* in this round */
	unsigned first; /* that fails */
	unsigned last;
	unsigned failed;
	unsigned of_kind[OS_CALLS];
} plan;

static bool fail_as_planned(enum os_call call)
{
	unsigned number = ++plan.calls;

	plan.of_kind[call]++;
	if (number < plan.first || number > plan.last)
		return false;
	plan.failed++;
	return true;
}

/* 40 pages of 8 KiB. */
#define PART (5 * HUGEPAGE_PAGES / 32)

static const struct page_request requests[] = {
	{.pages = 1, .alignment = 1, .kind = PAGES_MANY_OBJECTS},
	{.pages = 3, .alignment = 1, .kind = PAGES_FEW_OBJECTS},
	/* Whole pages of any kernel, so that they can be moved. */
	{.pages = HUGEPAGE_PAGES + 16, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .zeroed = true},
	{.pages = PART, .alignment = HUGEPAGE_PAGES / 16, .kind = PAGES_MANY_OBJECTS, .zeroed = true},
	{.pages = 3 * HUGEPAGE_PAGES, .alignment = 4 * HUGEPAGE_PAGES, .kind = PAGES_FEW_OBJECTS},
	{.pages = 5 * PART, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .dense = true},
	{.pages = HUGEPAGE_PAGES, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true},
	{.pages = 2, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true},
};

static void grow_if_there(struct run *run, size_t more)
{
	if (run->address != 0)
		model_grow(run, run->pages + more);
}

/* Also where growing in place is refused. */
static void move_if_there(struct run *run, size_t more)
{
	if (run->address != 0)
		model_move(run, run->pages + more);
}

static void free_if_there(struct run *run)
{
	if (run->address != 0)
		model_free(run);
}

static void workload(void)
{
	struct run *runs = model.runs;

	for (size_t i = 0; i < COUNT_OF(requests); i++)
		model_allocate(&runs[i], &requests[i]);
	grow_if_there(&runs[6], 2 * HUGEPAGE_PAGES);
	move_if_there(&runs[1], 5);
	move_if_there(&runs[2], HUGEPAGE_PAGES);
	model_check_all();
	free_if_there(&runs[3]);
	free_if_there(&runs[2]);
	pageheap_release(0);
	model_check_all();
	model_allocate(&runs[2], &requests[2]);
	model_allocate(&runs[3], &requests[3]);
	move_if_there(&runs[2], 1);
	if (runs[4].address != 0)
		model_shrink(&runs[4], HUGEPAGE_PAGES + 1);
	assert_true(make_addresses_scarce(true));
	pageheap_release(HUGEPAGE_SIZE);
	free_if_there(&runs[6]);
	pageheap_tick();
	pageheap_release(0);
	model_allocate(&runs[6], &requests[2]);
	assert_true(make_addresses_scarce(false));
	model_check_all();
}

/* Everything works, and everything can be had and given back. */
static void normal_again(void)
{
	os_fault = NULL;
	assert_true(make_addresses_scarce(false));
	model_free_all();
	for (size_t i = 0; i < COUNT_OF(requests); i++)
		assert_true(model_allocate(&model.runs[i], &requests[i]));
	assert_true(!pages_are_moved() || model_move(&model.runs[2], 3 * HUGEPAGE_PAGES));
	model_free_all();
	/* The next round begins without any hugepage, so that it has to ask for each. */
	model_unmap_all();
}

/* Returns whether anything was made to fail. */
static bool round_with(unsigned first, unsigned last)
{
	plan.calls = 0;
	plan.failed = 0;
	plan.first = first;
	plan.last = last;
	/* So that hugepages that are broken are told of. */
	pageheap_set_huge_pages(HUGE_PAGES_AUTO, OS_HUGE_ALWAYS);
	os_fault = fail_as_planned;
	workload();
	os_fault = NULL;
	normal_again();
	return plan.failed != 0;
}

static void without_faults(void **unused)
{
	(void)unused;
	assert_false(round_with(UINT32_MAX, UINT32_MAX));
	memset(plan.of_kind, 0, sizeof(plan.of_kind));
	assert_false(round_with(UINT32_MAX, UINT32_MAX));
	/* The workload does what it is for. */
	for (size_t call = 0; call < OS_CALLS; call++)
		assert_true(plan.of_kind[call] != 0 || (call == OS_MOVE && !pages_are_moved()));
	assert_true(plan.calls < MOST_CALLS);
}

static void each_call_fails(void **unused)
{
	unsigned call = 1;

	(void)unused;
	while (call < MOST_CALLS && round_with(call, call))
		call++;
	printf("# %u calls failed, one in each round\n", call - 1);
	assert_true(call > 12 && call < MOST_CALLS);
}

static void all_calls_fail_from(void **unused)
{
	unsigned call = 1;

	(void)unused;
	while (call < MOST_CALLS && round_with(call, UINT32_MAX))
		call++;
	printf("# %u calls failed, one in each round\n", call - 1);
	assert_true(call > 12 && call < MOST_CALLS);
}

static bool fail_all(enum os_call call)
{
	(void)call;
	return true;
}

/*
 * With no system at all: requests fail, what is there stays, and freeing what can't be released keeps it for
 * reuse.
 */
static void nothing_works(void **unused)
{
	struct run *run = &model.runs[0];
	struct pageheap_statistics before;
	struct pageheap_statistics after;

	(void)unused;
	os_fault = fail_all;
	for (size_t i = 0; i < COUNT_OF(requests); i++)
		assert_false(model_allocate(&model.runs[i], &requests[i]));
	assert_int_equal(heap_statistics().mapped, 0);
	os_fault = NULL;
	assert_true(model_allocate(run, &requests[2]));
	before = heap_statistics();
	os_fault = fail_all;
	assert_false(model_grow(run, run->pages + 2 * HUGEPAGE_PAGES));
	assert_false(model_move(run, run->pages));
	assert_int_equal(pageheap_release(0), 0);
	after = heap_statistics();
	assert_int_equal(after.mapped, before.mapped);
	model_free(run);
	pageheap_tick();
	assert_int_equal(pageheap_release(0), 0);
	assert_int_equal(heap_statistics().released_total, before.released_total);
	/* It is still there, and not taken for zeroed. */
	assert_true(model_allocate(run, &requests[2]));
	model_check_all();
	os_fault = NULL;
	normal_again();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_faults),
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(all_calls_fail_from),
		cmocka_unit_test(nothing_works),
	};

	return cmocka_run_group_tests_name("pageheap faults", tests, NULL, NULL);
}

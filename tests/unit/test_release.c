/*
 * Giving memory back: the limit, what is kept for a demand that swings (on a clock of the test's own), partly used hugepages, scarce
 * addresses, locked memory, empty spans of the tier above, and what malloc_trim says. What is resident is
 * asked of the kernel.
 */
#include "support.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/options.h"
#include "fast_path.h"
#include "pageheap_model.h"

#define MEBIBYTE   ((size_t)1 << 20)
#define BASE_LIMIT (8 * MEBIBYTE)
#define SECOND     1000

int tm_malloc_trim(size_t pad);
void *tm_malloc(size_t size);
void tm_free(void *pointer);

static uint64_t milliseconds = 1000001;

static uint64_t test_clock(void)
{
	return milliseconds;
}

/* Nothing in use, nothing kept, nothing remembered. */
static int start_afresh(void **unused)
{
	(void)unused;
	memset(&model, 0, sizeof(model));
	pageheap_set_retain(BASE_LIMIT);
	milliseconds += 1000 * SECOND;
	pageheap_tick();
	pageheap_release(0);
	milliseconds += SECOND;
	return heap_statistics().used == 0 && heap_statistics().free == 0 &&
			       heap_statistics().release_limit == BASE_LIMIT
		       ? 0
		       : -1;
}

static int finish(void **unused)
{
	(void)unused;
	model_free_all();
	return 0;
}

/* Bytes of the heap that the kernel has memory for. */
static size_t resident(void)
{
	size_t pages = 0;

	for (size_t number = 0; number < heap.top; number++) {
		if (hugepage_records[number].state == HUGEPAGE_MAPPED)
			pages += resident_pages(page_address(number * HUGEPAGE_PAGES), HUGEPAGE_SIZE);
	}
	return pages * os_page_size();
}

static void take(struct run *run, size_t bytes)
{
	const struct page_request request = {.pages = bytes >> PAGE_SHIFT, .alignment = 1, .kind = PAGES_FEW_OBJECTS};

	assert_true(model_allocate(run, &request));
	memset((void *)run->address, 0x5a, bytes);
	model_mark(run, 0);
}

static void take_many(size_t count, size_t bytes)
{
	for (size_t i = 0; i < count; i++)
		take(&model.runs[i], bytes);
}

static void limit_is_kept(void **unused)
{
	(void)unused;
	take_many(200, MEBIBYTE / 4);
	assert_true(resident() >= 50 * MEBIBYTE);
	/* In an order that leaves hugepages partly free for a while. */
	for (size_t i = 0; i < 200; i++) {
		struct pageheap_statistics now;

		model_free(&model.runs[i * 7 % 200]);
		now = heap_statistics();
		/* What is kept, and what a free may leave to the next ones. */
		assert_true(now.free <= maximum(BASE_LIMIT + now.used / 8, now.used / 2) + now.used / 64);
		assert_true(now.release_limit == BASE_LIMIT);
	}
	assert_true(heap_statistics().free <= BASE_LIMIT);
	assert_true(resident() <= heap_statistics().free);
	assert_true(heap_statistics().released_total >= 40 * MEBIBYTE);
	model_check_all();
}

/* A little more than is kept waits for more of the same, or for a tick. */
static void little_waits(void **unused)
{
	uint64_t before = heap_statistics().released_total;

	(void)unused;
	take_many(200, MEBIBYTE);
	/* So long ago that nothing is kept for the demand that there was. */
	milliseconds += DEFAULT_TREND_MS;
	pageheap_tick();
	milliseconds += DEFAULT_TREND_MS;
	pageheap_tick();
	for (size_t i = 0; i < 10; i++)
		model_free(&model.runs[i]);
	assert_true(heap_statistics().free > BASE_LIMIT);
	assert_int_equal(heap_statistics().released_total, before);
	milliseconds += DEFAULT_TREND_MS;
	pageheap_tick();
	assert_true(heap_statistics().free <= BASE_LIMIT);
	for (size_t i = 10; i < 40; i++)
		model_free(&model.runs[i]);
	assert_true(heap_statistics().released_total > before + 20 * MEBIBYTE);
}

static void below_limit_nothing_goes(void **unused)
{
	struct pageheap_statistics before = heap_statistics();

	(void)unused;
	for (int round = 0; round < 5; round++) {
		take_many(7, MEBIBYTE);
		model_free_all();
		pageheap_tick();
	}
	assert_int_equal(heap_statistics().released_total, before.released_total);
	assert_int_equal(heap_statistics().free, 7 * MEBIBYTE);
}

static void limits(void **unused)
{
	struct pageheap_statistics before;

	(void)unused;
	pageheap_set_retain(0);
	take(&model.runs[0], 16 * MEBIBYTE);
	take(&model.runs[1], MEBIBYTE);
	model_free_all();
	assert_int_equal(heap_statistics().free, 0);
	assert_int_equal(resident(), 0);
	pageheap_set_retain((size_t)1 << 40);
	milliseconds += SECOND;
	before = heap_statistics();
	take(&model.runs[0], 64 * MEBIBYTE);
	model_free_all();
	assert_int_equal(heap_statistics().free, 64 * MEBIBYTE);
	assert_int_equal(heap_statistics().released_total, before.released_total);
	/* A limit that has become smaller counts from the next tick on. */
	pageheap_set_retain(2 * MEBIBYTE);
	pageheap_tick();
	assert_true(heap_statistics().free <= 2 * MEBIBYTE);
	model_check_all();
}

/* One peak, taken and given back. Returns the bytes that were released by it. */
static size_t swing(size_t bytes)
{
	uint64_t before = heap_statistics().released_total;

	take(&model.runs[0], bytes);
	model_free(&model.runs[0]);
	return heap_statistics().released_total - before;
}

/*
 * Demand that swings by 40 MiB several times a second is left alone after a while, and no longer than it
 * swings.
 */
static void fast_swings(void **unused)
{
	(void)unused;
	assert_true(swing(40 * MEBIBYTE) >= 32 * MEBIBYTE);
	for (int round = 0; round < 10; round++) {
		swing(40 * MEBIBYTE);
		milliseconds += 10;
	}
	assert_int_equal(swing(40 * MEBIBYTE), 0);
	assert_int_equal(heap_statistics().free, 40 * MEBIBYTE);
	assert_int_equal(heap_statistics().release_limit, 40 * MEBIBYTE);
	milliseconds += DEFAULT_DECAY_MS / 2;
	pageheap_tick();
	assert_int_equal(heap_statistics().free, 40 * MEBIBYTE);
	milliseconds += DEFAULT_DECAY_MS / 2;
	pageheap_tick();
	assert_int_equal(heap_statistics().release_limit, BASE_LIMIT);
	assert_true(heap_statistics().free <= BASE_LIMIT);
	assert_true(resident() <= BASE_LIMIT);
}

/*
 * What comes up again does not find all of its pages free: what is left of it holds a hugepage that is filled first, and was not
 * full before. So it is on all pages of its hugepages in the end, and none of them is given back in between.
 */
static void swings_keep_their_hugepages(void **unused)
{
	enum { RUNS = 50, LEFT = 2 };
	uint64_t settled = 0;
	size_t first = 0;

	(void)unused;
	pageheap_set_retain(0);
	take_many(RUNS, MEBIBYTE / 8);
	for (size_t round = 0; round < 40; round++) {
		if (round == 20)
			settled = heap_statistics().released_total;
		for (size_t i = 0; i < RUNS - LEFT; i++)
			model_free(&model.runs[(first + i) % RUNS]);
		for (size_t i = 0; i < RUNS - LEFT; i++)
			take(&model.runs[(first + i) % RUNS], MEBIBYTE / 8);
		first += RUNS - LEFT;
		milliseconds += 5;
	}
	assert_int_equal(heap_statistics().released_total, settled);
}

/* Far more time than can be counted. */
/* What has been given back costs a fault: of a hugepage's free pages, small objects get those that have memory, tight or not. */
static void small_objects_take_backed_pages(void **unused)
{
	size_t pages = maximum(PAGE_SIZE, os_page_size()) >> PAGE_SHIFT;
	const struct page_request request = {.pages = pages, .alignment = pages, .kind = PAGES_MANY_OBJECTS};
	uintptr_t backed[2];
	uintptr_t given_back;

	(void)unused;
	for (size_t i = 0; i < 12; i++) {
		assert_true(model_allocate(&model.runs[i], &request));
		memset((void *)model.runs[i].address, 0x5a, pages << PAGE_SHIFT);
		model_mark(&model.runs[i], 0);
	}
	given_back = model.runs[3].address;
	model_free(&model.runs[3]);
	pageheap_release(0);
	assert_int_equal(heap_statistics().free, 0);
	for (size_t i = 0; i < 2; i++) {
		backed[i] = model.runs[7 + i].address;
		model_free(&model.runs[7 + i]);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_true(model_allocate(&model.runs[7 + i], &request));
		assert_true(model.runs[7 + i].address == backed[0] || model.runs[7 + i].address == backed[1]);
	}
	assert_int_equal(heap_statistics().free, 0);
	assert_true(model_allocate(&model.runs[3], &request));
	assert_int_equal(model.runs[3].address, given_back);
	model_check_all();
}

static void long_pause(void **unused)
{
	(void)unused;
	for (int round = 0; round < 10; round++)
		swing(40 * MEBIBYTE);
	assert_int_equal(heap_statistics().free, 40 * MEBIBYTE);
	milliseconds += 1000000 * (uint64_t)SECOND;
	pageheap_tick();
	/* What happened last may count as having happened only now. */
	milliseconds += DEFAULT_DECAY_MS;
	pageheap_tick();
	assert_int_equal(heap_statistics().release_limit, BASE_LIMIT);
	assert_true(heap_statistics().free <= BASE_LIMIT);
}

/* However much is taken again within the second, no more is kept than was in use at a time. */
static void keeps_no_more_than_demand(void **unused)
{
	(void)unused;
	for (int round = 0; round < 100; round++) {
		swing(40 * MEBIBYTE);
		pageheap_release(0);
	}
	assert_int_equal(heap_statistics().release_limit, 40 * MEBIBYTE);
}

/* A peak now and then goes back each time. */
static void slow_swings(void **unused)
{
	(void)unused;
	for (int round = 0; round < 10; round++) {
		assert_true(swing(100 * MEBIBYTE) >= 80 * MEBIBYTE);
		assert_int_equal(heap_statistics().release_limit, BASE_LIMIT);
		milliseconds += DEFAULT_DECAY_MS;
	}
}

/* Takes 200 runs of a quarter of a MiB, and gives back every n-th. */
static void take_with_holes(size_t n)
{
	take_many(200, MEBIBYTE / 4);
	for (size_t i = 0; i < 200; i += n)
		model_free(&model.runs[i]);
}

/* Holes in hugepages are kept as long as the demand was higher a moment ago, and go some seconds after that. */
static void steady_hugepages_stay_whole(void **unused)
{
	size_t holes;

	(void)unused;
	pageheap_set_retain(0);
	take_with_holes(4);
	holes = heap_statistics().free;
	assert_true(holes >= 12 * MEBIBYTE);
	milliseconds += DEFAULT_PEAK_MS / 2;
	pageheap_tick();
	assert_int_equal(heap_statistics().free, holes);
	milliseconds += DEFAULT_PEAK_MS / 2;
	pageheap_tick();
	assert_int_equal(heap_statistics().free, 0);
	assert_int_equal(resident(), heap_statistics().used);
	model_check_all();
}

/* Nor do they stay for a peak that the demand has fallen far from. */
static void collapsed_demand_keeps_nothing(void **unused)
{
	(void)unused;
	take_many(200, MEBIBYTE / 4);
	for (size_t i = 0; i < 200; i++) {
		if (i % 8 != 0)
			model_free(&model.runs[i]);
	}
	assert_true(heap_statistics().free <= BASE_LIMIT);
	pageheap_set_retain(0);
	pageheap_tick();
	assert_int_equal(heap_statistics().free, 0);
	assert_int_equal(resident(), heap_statistics().used);
	model_check_all();
}

/* A demand that has fallen and risen in the last minutes will do so again: for half of what is in use. */
static void slow_swings_keep_hugepages_whole(void **unused)
{
	size_t free;

	(void)unused;
	pageheap_set_retain(0);
	for (int round = 0; round < 3; round++) {
		take_with_holes(4);
		milliseconds += DEFAULT_TREND_MS / 6;
		pageheap_tick();
		for (size_t i = 0; i < 200; i += 4)
			take(&model.runs[i], MEBIBYTE / 4);
		milliseconds += DEFAULT_TREND_MS / 6;
		pageheap_tick();
		free = heap_statistics().free;
		model_free_all();
	}
	take_with_holes(4);
	milliseconds += DEFAULT_PEAK_MS;
	pageheap_tick();
	assert_true(free < MEBIBYTE);
	assert_true(heap_statistics().free >= 12 * MEBIBYTE);
	milliseconds += DEFAULT_TREND_MS;
	pageheap_tick();
	assert_int_equal(heap_statistics().free, 0);
}

/* The clock's 32 bits wrap after 49 days. */
static void clock_wraps(void **unused)
{
	(void)unused;
	milliseconds = (milliseconds | UINT32_MAX) - 20;
	pageheap_tick();
	fast_swings(unused);
}

static void spare_spans_count(void **unused)
{
	const size_t limit_pages = BASE_LIMIT >> PAGE_SHIFT;

	(void)unused;
	assert_true(pageheap_spare_fits());
	assert_true(pageheap_spare_add(limit_pages - 1));
	assert_true(pageheap_spare_add(1));
	assert_true(pageheap_spare_fits());
	assert_false(pageheap_spare_add(1));
	/* They are all that may be kept. */
	take(&model.runs[0], 10 * MEBIBYTE);
	model_free(&model.runs[0]);
	assert_int_equal(heap_statistics().free, 0);
	pageheap_set_retain(BASE_LIMIT / 2);
	assert_false(pageheap_spare_fits());
	pageheap_spare_remove(limit_pages / 2, true);
	assert_true(pageheap_spare_fits());
	pageheap_spare_remove(limit_pages / 2, true);
	assert_true(pageheap_spare_add(1));
	pageheap_spare_remove(1, true);
}

static void partly_used(void **unused)
{
	size_t released;
	struct pageheap_statistics before;

	(void)unused;
	pageheap_set_retain((size_t)1 << 40);
	/* Four hugepages; then only each third run is left. */
	take_many(128, HUGEPAGE_SIZE / 32);
	for (size_t i = 0; i < 128; i++) {
		if (i % 3 != 0)
			model_free(&model.runs[i]);
	}
	before = heap_statistics();
	assert_int_equal(before.free, 4 * HUGEPAGE_SIZE - before.used);
	/* Keep some of it: what goes is a hugepage's whole rest at a time. */
	released = pageheap_release(2 * MEBIBYTE);
	assert_int_equal(heap_statistics().free, before.free - released);
	assert_true(heap_statistics().free <= 2 * MEBIBYTE);
	assert_true(heap_statistics().free > 0);
	model_check_all();
	assert_int_equal(pageheap_release(0), before.free - released);
	assert_int_equal(heap_statistics().free, 0);
	assert_int_equal(resident(), before.used);
	assert_int_equal(pageheap_release(0), 0);
	model_check_all();
	/* They serve again, and read zero. */
	for (size_t i = 0; i < 128; i++) {
		const struct page_request request = {
			.pages = HUGEPAGE_PAGES / 32, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .zeroed = true};

		if (model.runs[i].address == 0)
			assert_true(model_allocate(&model.runs[i], &request));
	}
	assert_int_equal(heap_statistics().hugepages, before.hugepages);
	model_check_all();
}

static void scarce_addresses(void **unused)
{
	uintptr_t address;

	(void)unused;
	take(&model.runs[1], MEBIBYTE);
	model_use_up_free(&model.runs[2]);
	take(&model.runs[0], 32 * MEBIBYTE);
	address = model.runs[0].address;
	assert_true(make_addresses_scarce(true));
	model_free(&model.runs[0]);
	assert_true(heap_statistics().free <= BASE_LIMIT + heap_statistics().used / 8);
	pageheap_release(0);
	assert_true(make_addresses_scarce(false));
	assert_int_equal(heap_statistics().free, 0);
	/* The first of its hugepages may be another run's as well. */
	for (uintptr_t at = round_up(address, HUGEPAGE_SIZE); at + HUGEPAGE_SIZE <= address + 32 * MEBIBYTE;
	     at += HUGEPAGE_SIZE)
		assert_int_equal(resident_pages(at, os_page_size()), SIZE_MAX);
	model_check_all();
	take(&model.runs[0], 32 * MEBIBYTE);
	assert_int_equal(model.runs[0].address, address);
	model_check_all();
}

/*
 * Hugepages whose memory is gone already give up their addresses as well: here those that a move has left
 * behind.
 */
static void scarce_addresses_without_memory(void **unused)
{
	uintptr_t left;

	(void)unused;
	if (!pages_are_moved())
		return;
	take(&model.runs[0], 4 * HUGEPAGE_SIZE);
	left = model.runs[0].address;
	assert_true(model_move(&model.runs[0], model.runs[0].pages));
	assert_int_not_equal(resident_pages(left, HUGEPAGE_SIZE), SIZE_MAX);
	assert_true(make_addresses_scarce(true));
	pageheap_release(0);
	assert_true(make_addresses_scarce(false));
	assert_int_equal(resident_pages(left, os_page_size()), SIZE_MAX);
	assert_int_equal(heap_statistics().whole_free_hugepages, 0);
	assert_int_equal(heap_statistics().mapped, 4 * HUGEPAGE_SIZE);
	model_check_all();
}

/* What can't be given back is neither counted nor taken for zeroed, and does not keep the heap busy. */
static void locked_memory(void **unused)
{
	const struct page_request request = {
		.pages = HUGEPAGE_PAGES, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .zeroed = true};
	struct pageheap_statistics before;

	(void)unused;
	take(&model.runs[0], HUGEPAGE_SIZE);
	/* Sanitizers make the C library's do nothing. */
	if (syscall(SYS_mlock, model.runs[0].address, HUGEPAGE_SIZE) != 0) {
		not_tested("locked memory", strerror(errno));
		return;
	}
	pageheap_set_retain(0);
	before = heap_statistics();
	model_free(&model.runs[0]);
	assert_int_equal(pageheap_release(0), 0);
	pageheap_tick();
	assert_int_equal(heap_statistics().released_total, before.released_total);
	assert_int_equal(heap_statistics().free, HUGEPAGE_SIZE);
	model_check_all();
	assert_true(model_allocate(&model.runs[0], &request));
	syscall(SYS_munlock, model.runs[0].address, HUGEPAGE_SIZE);
	model_free(&model.runs[0]);
	milliseconds += DEFAULT_DECAY_MS;
	pageheap_tick();
	assert_int_equal(heap_statistics().free, 0);
	assert_true(heap_statistics().released_total > before.released_total);
	model_check_all();
}

/* One page that is locked keeps its hugepage, and nothing else. */
static void locked_memory_among_other(void **unused)
{
	const struct page_request request = {.pages = 100 * HUGEPAGE_PAGES, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	struct page_run run;
	uintptr_t locked;

	(void)unused;
	assert_true(pageheap_allocate(&request, &run));
	memset((void *)run.address, 1, 100 * HUGEPAGE_SIZE);
	locked = run.address + 95 * HUGEPAGE_SIZE;
	if (syscall(SYS_mlock, locked, os_page_size()) != 0) {
		not_tested("locked memory among other", strerror(errno));
		pageheap_free(run.address, request.pages);
		return;
	}
	pageheap_set_retain(0);
	pageheap_free(run.address, request.pages);
	pageheap_release(0);
	assert_int_equal(heap_statistics().free, HUGEPAGE_SIZE);
	syscall(SYS_munlock, locked, os_page_size());
	pageheap_release(0);
	assert_int_equal(heap_statistics().free, 0);
}

/* A program that does so little that it never leaves its cache gives back as well, when the time has come. */
static void light_activity_is_enough(void **unused)
{
	void *blocks[200];
	size_t free;

	(void)unused;
	if (LARGEST_CLASS_SIZE >= MEBIBYTE / 2 && size_classes[class_for(1, MEBIBYTE / 2)].objects > 1) {
		not_tested("light activity", "spans of this profile hold more than half a MiB");
		return;
	}
	pageheap_set_retain(0);
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		memset(blocks[i] = tm_malloc(MEBIBYTE / 2), 1, MEBIBYTE / 2);
	for (size_t i = 0; i < COUNT_OF(blocks); i += 4)
		tm_free(blocks[i]);
	free = heap_statistics().free;
	assert_true(free >= 20 * MEBIBYTE);
	for (int i = 0; i < DEFAULT_PEAK_MS / 10 + 10; i++) {
		milliseconds += 10;
		tm_free(tm_malloc(64));
	}
	/* What shares a page of the kernel with what is in use stays. */
	assert_true(heap_statistics().free <= (os_page_size() > PAGE_SIZE ? COUNT_OF(blocks) * os_page_size() : 0));
	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		if (i % 4 != 0)
			tm_free(blocks[i]);
	}
	tm_malloc_trim(0);
}

/* The amounts that malloc_trim leaves, and whether it has given back anything. */
static void trim(void **unused)
{
	void *blocks[8];

	(void)unused;
	pageheap_set_retain((size_t)1 << 40);
	for (int i = 0; i < 8; i++) {
		blocks[i] = tm_malloc(4 * MEBIBYTE);
		memset(blocks[i], 1, 4 * MEBIBYTE);
	}
	for (int i = 0; i < 8; i++)
		tm_free(blocks[i]);
	assert_true(heap_statistics().free >= 32 * MEBIBYTE);
	assert_int_equal(tm_malloc_trim(8 * MEBIBYTE), 1);
	assert_true(heap_statistics().free <= 8 * MEBIBYTE);
	assert_true(heap_statistics().free > 4 * MEBIBYTE);
	assert_int_equal(tm_malloc_trim(8 * MEBIBYTE), 0);
	assert_int_equal(tm_malloc_trim(0), 1);
	assert_int_equal(heap_statistics().free, 0);
	assert_int_equal(resident(), heap_statistics().used);
	assert_int_equal(tm_malloc_trim(0), 0);
}

/* What caches and spans give up counts, even if the page heap has passed it on at once. */
static void trim_with_nothing_kept(void **unused)
{
	static void *objects[20000];
	uint64_t before;

	(void)unused;
	pageheap_set_retain(0);
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		memset(objects[i] = tm_malloc(100), 1, 100);
	for (size_t i = 0; i < COUNT_OF(objects); i++)
		tm_free(objects[i]);
	assert_true(heap_statistics().used > 0);
	before = heap_statistics().released_total;
	assert_int_equal(tm_malloc_trim(0), 1);
	assert_true(heap_statistics().released_total > before);
	assert_int_equal(heap_statistics().used, 0);
	assert_int_equal(tm_malloc_trim(0), 0);
}

#define RELEASE_TEST(test) cmocka_unit_test_setup_teardown(test, start_afresh, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RELEASE_TEST(limit_is_kept),
		RELEASE_TEST(little_waits),
		RELEASE_TEST(below_limit_nothing_goes),
		RELEASE_TEST(limits),
		RELEASE_TEST(fast_swings),
		RELEASE_TEST(swings_keep_their_hugepages),
		RELEASE_TEST(small_objects_take_backed_pages),
		RELEASE_TEST(long_pause),
		RELEASE_TEST(keeps_no_more_than_demand),
		RELEASE_TEST(slow_swings),
		RELEASE_TEST(steady_hugepages_stay_whole),
		RELEASE_TEST(collapsed_demand_keeps_nothing),
		RELEASE_TEST(slow_swings_keep_hugepages_whole),
		RELEASE_TEST(clock_wraps),
		RELEASE_TEST(spare_spans_count),
		RELEASE_TEST(partly_used),
		RELEASE_TEST(scarce_addresses),
		RELEASE_TEST(scarce_addresses_without_memory),
		RELEASE_TEST(locked_memory),
		RELEASE_TEST(locked_memory_among_other),
		cmocka_unit_test_setup(light_activity_is_enough, start_afresh),
		cmocka_unit_test_setup(trim, start_afresh),
		cmocka_unit_test_setup(trim_with_nothing_kept, start_afresh),
	};

	/* A page of the heap is resident or not, whatever its neighbours are. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	os_clock = test_clock;
	return cmocka_run_group_tests_name("release", tests, NULL, NULL);
}

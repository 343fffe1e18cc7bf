/*
 * Which hugepages the kernel is asked to make huge pages: the rules one by one, and random operations after which the
 * kernel must have been told what the records say.
 *
 * The calls that the library makes for it are this file's: nothing is made resident ahead, a huge page and small ones
 * cost what the test says, and so does what mincore sees.
 */
#include "support.h"

#include <stdarg.h>
#include <sys/syscall.h>

#include "pageheap/huge_pages.h"
#include "pageheap_model.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGEPAGES 4096 /* of window that the test knows about */

static struct {
	uint8_t advice[HUGEPAGES];
	size_t asked; /* hugepages that were advised to be huge, as often as that happened */
	size_t kept_small;
	size_t calls;
	size_t touched; /* hugepages that were made resident as a whole */
	uint64_t nanoseconds;
	uint64_t huge_cost; /* of 2 MiB */
	uint64_t small_cost;
	size_t filled; /* percent of what is looked at */
	uint64_t milliseconds;
	bool refuses;
} kernel;

static bool in_heap(uintptr_t address)
{
	return window.base != 0 && address >= window.base && address - window.base < HUGEPAGES * HUGEPAGE_SIZE;
}

/* Of the hugepages that lie wholly in the range. */
static void set_whole(uintptr_t address, size_t bytes, uint8_t advice)
{
	size_t first;

	if (!in_heap(address))
		return;
	first = (address - window.base + HUGEPAGE_SIZE - 1) >> HUGEPAGE_SHIFT;
	for (size_t number = first; number < (address + bytes - window.base) >> HUGEPAGE_SHIFT; number++)
		kernel.advice[number] = advice;
}

int madvise(void *start, size_t bytes, int advice)
{
	uintptr_t address = (uintptr_t)start;

	if (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE) {
		bool ask = advice == MADV_HUGEPAGE;

		kernel.calls++;
		assert_true(in_heap(address));
		assert_int_equal((address | bytes) % HUGEPAGE_SIZE, 0);
		if (kernel.refuses) {
			errno = EINVAL;
			return -1;
		}
		*(ask ? &kernel.asked : &kernel.kept_small) += bytes >> HUGEPAGE_SHIFT;
		set_whole(address, bytes, ask ? ADVICE_HUGE : ADVICE_SMALL);
		return 0;
	}
	if (advice == MADV_POPULATE_WRITE) {
		bool whole = bytes == HUGEPAGE_SIZE;

		kernel.touched += whole;
		kernel.nanoseconds += (whole ? kernel.huge_cost : kernel.small_cost) * bytes / HUGEPAGE_SIZE;
		return 0;
	}
	return (int)syscall(SYS_madvise, start, bytes, advice);
}

int mincore(void *start, size_t bytes, unsigned char *in_core)
{
	size_t pages = (bytes + os_page_size() - 1) / os_page_size();

	if (!in_heap((uintptr_t)start))
		return (int)syscall(SYS_mincore, start, bytes, in_core);
	for (size_t page = 0; page < pages; page++)
		in_core[page] = page * 100 < pages * kernel.filled;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	if (clock != CLOCK_THREAD_CPUTIME_ID)
		return (int)syscall(SYS_clock_gettime, clock, time);
	time->tv_sec = (time_t)(kernel.nanoseconds / 1000000000);
	time->tv_nsec = (long)(kernel.nanoseconds % 1000000000);
	return 0;
}

int munmap(void *start, size_t bytes)
{
	set_whole((uintptr_t)start, bytes, ADVICE_NONE);
	return (int)syscall(SYS_munmap, start, bytes);
}

void *mmap(void *start, size_t bytes, int protection, int flags, int file, off_t offset)
{
	void *mapped = (void *)syscall(SYS_mmap, start, bytes, protection, flags, file, offset);

	if (mapped != MAP_FAILED)
		set_whole((uintptr_t)mapped, bytes, ADVICE_NONE);
	return mapped;
}

void *mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...)
{
	va_list arguments;
	uintptr_t to;
	void *result;

	va_start(arguments, flags);
	to = (uintptr_t)va_arg(arguments, void *);
	va_end(arguments);
	result = (void *)syscall(SYS_mremap, from, old_bytes, bytes, flags, to);
	if (result == MAP_FAILED || !in_heap(to) || (((uintptr_t)from | to) - window.base * 2) % HUGEPAGE_SIZE != 0)
		return result;
	for (size_t at = 0; at + HUGEPAGE_SIZE <= bytes; at += HUGEPAGE_SIZE)
		set_whole(to + at, HUGEPAGE_SIZE,
			  kernel.advice[((uintptr_t)from + at - window.base) >> HUGEPAGE_SHIFT]);
	return result;
}

static uint64_t test_clock(void)
{
	return kernel.milliseconds;
}

#define MIB_PAGES(mib) ((size_t)(mib) << 20 >> PAGE_SHIFT)

/* Without a heap, and with a kernel that has not been asked for anything. */
static void begin(enum huge_page_policy policy, enum os_huge_pages setting)
{
	pageheap_set_huge_pages(policy, OS_HUGE_NEVER);
	model_free_all();
	model_unmap_all();
	memset(kernel.advice, 0, sizeof(kernel.advice));
	kernel.asked = kernel.kept_small = kernel.calls = kernel.touched = 0;
	kernel.huge_cost = 200000;
	kernel.small_cost = 700000;
	kernel.filled = 100;
	kernel.refuses = false;
	kernel.milliseconds = 1000000;
	pageheap_set_retain((size_t)4 << 20);
	pageheap_set_huge_pages(policy, setting);
}

#define PART (HUGEPAGE_PAGES / 16)

static uintptr_t parts[16 * HUGEPAGES];
static size_t part_count;

/* Grows the heap by runs of a sixteenth of a hugepage. */
static void grow_by(size_t pages, bool dense)
{
	const struct page_request request = {.pages = PART, .alignment = 1, .kind = PAGES_MANY_OBJECTS, .dense = dense};

	for (size_t grown = 0; grown < pages; grown += PART) {
		struct page_run run;

		assert_true(pageheap_allocate(&request, &run));
		parts[part_count++] = run.address;
	}
}

static void free_parts(void)
{
	while (part_count != 0)
		pageheap_free(parts[--part_count], PART);
}

static void assert_told(void)
{
	const char *wrong = pageheap_validate();
	size_t borders = 0;

	if (wrong != NULL)
		fail_msg("%s", wrong);
	for (size_t number = 0; number < heap.top; number++) {
		const struct hugepage *hugepage = &hugepage_records[number];

		if (hugepage->state != HUGEPAGE_MAPPED)
			continue;
		if (hugepage->advice != kernel.advice[number])
			fail_msg("hugepage %zu: the record says %u, the kernel was told %u", number, hugepage->advice,
				 kernel.advice[number]);
		borders += number != 0 && kernel.advice[number] != kernel.advice[number - 1];
	}
	assert_true(borders <= 2 * 128);
}

static void small_heaps_are_left_alone(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(63), true);
	assert_int_equal(kernel.calls, 0);
	assert_int_equal(kernel.touched, 0);
	free_parts();
}

static void full_hugepages_are_asked_for(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(64), false);
	grow_by(MIB_PAGES(256), false);
	/* 128 hugepages but the one in sixteen that is left to small pages. */
	assert_in_range(kernel.touched, 118, 121);
	/* These are advised like the others when they have been seen to be full. */
	assert_in_range(kernel.asked, kernel.touched + 5, kernel.touched + 8);
	assert_int_equal(heap_statistics().huge_pages.dear, 0);
	assert_told();
	/* All of a huge page is backed: nothing that is free in it is taken for zeroed. */
	do {
		grow_by(HUGEPAGE_PAGES - PART, false);
		grow_by(PART, false);
		grow_by(PART, false);
	} while (kernel.advice[heap.top - 1] != ADVICE_HUGE);
	assert_int_not_equal(heap_statistics().free, 0);
	assert_int_equal(heap_statistics().free % (PART << PAGE_SHIFT), 0);
	free_parts();
}

static void sparse_hugepages_are_not(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	kernel.filled = 80;
	grow_by(MIB_PAGES(320), false);
	assert_int_equal(kernel.asked, 0);
	/* It is noticed when they begin to fill, and when they no longer do. */
	kernel.filled = 100;
	grow_by(MIB_PAGES(64), false);
	assert_true(kernel.asked > 20);
	kernel.filled = 80;
	grow_by(MIB_PAGES(64), false);
	kernel.asked = 0;
	grow_by(MIB_PAGES(256), false);
	assert_int_equal(kernel.asked, 0);
	free_parts();
}

/* What is lost by dear ones is a thirty-second of what small pages cost, and one to begin with. */
static void dear_ones_are_passed_over(void **unused)
{
	struct pageheap_statistics now;

	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	kernel.huge_cost = 5000000;
	grow_by(MIB_PAGES(1088), false);
	now = heap_statistics();
	assert_in_range(kernel.touched, 2, 4);
	assert_int_equal(now.huge_pages.dear, kernel.touched);
	assert_true(now.huge_pages.passed_over > 450);
	kernel.huge_cost = 200000;
	kernel.asked = 0;
	grow_by(MIB_PAGES(1024), false);
	assert_true(kernel.asked > 200);
	free_parts();
}

/* Where small pages are as dear, huge ones are not: that is noticed by populating. */
static void small_ones_are_the_measure(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	kernel.huge_cost = 4000000;
	kernel.small_cost = 8000000;
	grow_by(MIB_PAGES(544), true);
	assert_true(kernel.asked > 200);
	free_parts();
}

static struct run *allocate_run(size_t index, size_t pages, bool zeroed)
{
	const struct page_request request = {
		.pages = pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .zeroed = zeroed};
	struct page_run got;

	assert_true(pageheap_allocate(&request, &got));
	model.runs[index].address = got.address;
	model.runs[index].pages = pages;
	return &model.runs[index];
}

/* And its memory goes back: only a run of which nothing is backed is asked for. */
static void free_run(struct run *run)
{
	pageheap_free(run->address, run->pages);
	run->address = 0;
	pageheap_release(0);
}

static void runs_are_sampled(void **unused)
{
	struct run *run;

	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	/* Who wants zeros may use a part only. */
	run = allocate_run(0, 512 * HUGEPAGE_PAGES, true);
	assert_int_equal(kernel.calls, 0);
	free_run(run);
	/* Eight are touched; so many, and two for each, are asked for. */
	run = allocate_run(0, 512 * HUGEPAGE_PAGES, false);
	assert_int_equal(kernel.touched, 8);
	assert_int_equal(kernel.asked, 24);
	assert_told();
	free_run(run);
	/* Within a second nothing is measured again, and no trust is left. */
	kernel.milliseconds += 900;
	kernel.asked = 0;
	run = allocate_run(0, 512 * HUGEPAGE_PAGES, false);
	assert_int_equal(kernel.touched, 8);
	assert_int_equal(kernel.asked, 0);
	assert_told();
	free_run(run);
	kernel.milliseconds += 200;
	kernel.huge_cost = 5000000;
	run = allocate_run(0, 512 * HUGEPAGE_PAGES, false);
	/* What had been saved pays for the first dear one. */
	assert_in_range(kernel.touched, 9, 11);
	assert_told();
	free_run(run);
}

static void long_runs_are_asked_for_where_they_grow(void **unused)
{
	bool zeroed;
	struct run *run;

	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(1056), false);
	kernel.asked = 0;
	run = allocate_run(0, 20 * HUGEPAGE_PAGES, true);
	assert_true(pageheap_grow(run->address, run->pages, run->pages + HUGEPAGE_PAGES / 2, &zeroed));
	assert_int_equal(kernel.asked, 0);
	run->pages += HUGEPAGE_PAGES / 2;
	assert_true(pageheap_grow(run->address, run->pages, run->pages + 4 * HUGEPAGE_PAGES, &zeroed));
	assert_int_equal(kernel.asked, 3);
	run->pages += 4 * HUGEPAGE_PAGES;
	assert_told();
	free_run(run);
	free_parts();
}

/* A hugepage of which a part was given back is not joined again, and one that was given back whole may be. */
static void broken_ones_are_kept_small(void **unused)
{
	size_t number;

	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(128), false);
	number = heap.top - 2;
	while (kernel.advice[number] != ADVICE_HUGE)
		number--;
	for (size_t i = 0; i < part_count; i++) {
		if (page_of(parts[i]) / HUGEPAGE_PAGES == number && page_of(parts[i]) % HUGEPAGE_PAGES != 0) {
			pageheap_free(parts[i], PART);
			parts[i--] = parts[--part_count];
		}
	}
	assert_int_equal(kernel.kept_small, 0);
	pageheap_release(0);
	assert_int_equal(kernel.advice[number], ADVICE_SMALL);
	/* The last hugepage of each kind may have been broken as well. */
	assert_in_range(kernel.kept_small, 1, 2);
	assert_int_equal(heap_statistics().huge_pages.broken, kernel.kept_small);
	assert_told();
	free_parts();
	pageheap_release(0);
	assert_in_range(kernel.kept_small, 1, 2);
	assert_told();
}

/* Every second hugepage is broken: the number of mappings stays within bounds. */
static void borders_are_limited(void **unused)
{
	size_t kept = 0;

	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(2048), false);
	for (size_t i = 0; i < part_count; i++) {
		if (page_of(parts[i]) / HUGEPAGE_PAGES % 2 == 0 && page_of(parts[i]) % HUGEPAGE_PAGES != 0)
			pageheap_free(parts[i], PART);
		else
			parts[kept++] = parts[i];
	}
	part_count = kept;
	pageheap_release(0);
	for (size_t number = 0; number < heap.top; number += 2)
		assert_int_not_equal(kernel.advice[number], ADVICE_HUGE);
	assert_told();
	free_parts();
}

static void a_kernel_without_is_asked_once(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_AUTO, OS_HUGE_ADVISED);
	kernel.refuses = true;
	grow_by(MIB_PAGES(256), false);
	assert_int_equal(kernel.calls, 1);
	assert_int_equal(kernel.touched, 0);
	free_parts();
	pageheap_release(0);
}

static void settings_of_the_kernel(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_ALWAYS, OS_HUGE_NEVER);
	grow_by(MIB_PAGES(128), false);
	assert_int_equal(kernel.calls, 0);
	free_parts();
	/* It gives them unasked. */
	begin(HUGE_PAGES_AUTO, OS_HUGE_ALWAYS);
	grow_by(MIB_PAGES(128), false);
	assert_int_equal(kernel.calls, 0);
	pageheap_free(parts[3], PART);
	pageheap_release(0);
	assert_int_equal(kernel.advice[page_of(parts[3]) / HUGEPAGE_PAGES], ADVICE_SMALL);
	parts[3] = parts[--part_count];
	free_parts();
}

static void policies(void **unused)
{
	(void)unused;
	begin(HUGE_PAGES_NEVER, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(128), false);
	assert_int_equal(kernel.calls, 0);
	free_parts();
	begin(HUGE_PAGES_NEVER, OS_HUGE_ALWAYS);
	grow_by(MIB_PAGES(16), false);
	free_run(allocate_run(0, 3 * HUGEPAGE_PAGES + 1, false));
	assert_int_equal(kernel.kept_small, 12);
	assert_int_equal(kernel.asked, 0);
	assert_told();
	free_parts();
	begin(HUGE_PAGES_ALWAYS, OS_HUGE_ADVISED);
	grow_by(MIB_PAGES(16), false);
	free_run(allocate_run(0, 3 * HUGEPAGE_PAGES + 1, false));
	assert_int_equal(kernel.asked, 12);
	assert_int_equal(kernel.touched, 0);
	assert_told();
	free_parts();
}

#define STEPS      (SANITIZED ? 1500 : 6000)
#define MOST_PAGES MIB_PAGES(256)

static uint64_t state;

static void random_step(struct run *run)
{
	const struct page_request request = {
		.pages = random_below(&state, 4) == 0 ? 1 + random_below(&state, 6 * HUGEPAGE_PAGES)
						      : 1 + random_below(&state, HUGEPAGE_PAGES),
		.alignment = 1,
		.kind = (enum page_kind)random_below(&state, PAGE_KINDS),
		.zeroed = random_below(&state, 4) == 0,
		.growing = random_below(&state, 16) == 0,
		.dense = random_below(&state, 2) == 0,
	};

	if (run->address == 0) {
		if (model.pages + request.pages < MOST_PAGES)
			assert_true(model_allocate(run, &request));
	} else if (random_below(&state, 4) == 0 && run->pages < 8 * HUGEPAGE_PAGES) {
		if (!model_grow(run, run->pages + request.pages))
			model_move(run, run->pages + request.pages);
	} else {
		model_free(run);
	}
	if (random_below(&state, 64) == 0)
		pageheap_release(random_below(&state, 2) * HUGEPAGE_SIZE);
	if (random_below(&state, 200) == 0)
		kernel.filled = random_below(&state, 2) * 100;
	if (random_below(&state, 200) == 0)
		kernel.huge_cost = random_below(&state, 4) == 0 ? 3000000 : 200000;
	kernel.milliseconds += random_below(&state, 50);
}

static void random_operations(void **unused)
{
	(void)unused;
	state = seed_of_run("huge pages");
	for (unsigned policy = 0; policy < 4; policy++) {
		begin(policy == 3 ? HUGE_PAGES_AUTO : (enum huge_page_policy)policy,
		      policy >= 2 ? OS_HUGE_ALWAYS : OS_HUGE_ADVISED);
		for (unsigned step = 0; step < STEPS / 4; step++) {
			random_step(&model.runs[random_below(&state, 64)]);
			if (step % 50 == 0) {
				assert_told();
				model_check_all();
			}
		}
		printf("# policy %u: asked for %zu, kept small %zu\n", policy, kernel.asked, kernel.kept_small);
		assert_int_not_equal(kernel.asked + kernel.kept_small, 0);
	}
	model_free_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_heaps_are_left_alone),
		cmocka_unit_test(full_hugepages_are_asked_for),
		cmocka_unit_test(sparse_hugepages_are_not),
		cmocka_unit_test(dear_ones_are_passed_over),
		cmocka_unit_test(small_ones_are_the_measure),
		cmocka_unit_test(runs_are_sampled),
		cmocka_unit_test(long_runs_are_asked_for_where_they_grow),
		cmocka_unit_test(broken_ones_are_kept_small),
		cmocka_unit_test(borders_are_limited),
		cmocka_unit_test(a_kernel_without_is_asked_once),
		cmocka_unit_test(settings_of_the_kernel),
		cmocka_unit_test(policies),
		cmocka_unit_test(random_operations),
	};

	os_clock = test_clock;
	return cmocka_run_group_tests_name("huge pages", tests, NULL, NULL);
}

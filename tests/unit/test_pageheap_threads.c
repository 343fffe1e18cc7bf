/*
 * The page heap among threads: that it maps and moves memory without its lock, what happens to what was chosen before when
 * another thread takes part of it meanwhile, and threads that all make the heap grow, shrink and move.
 */
#include "support.h"

#include <pthread.h>

#include "base/thread_state.h"
#include "pageheap_model.h"

#define THREADS 4
#define STEPS   1500
#define RUNS    16

static uint64_t state;

static bool lock_is_mine(void)
{
	return (load_relaxed(&heap.lock.word) & LOCK_OWNER) == thread_state.id;
}

static unsigned calls_under_lock;
static unsigned calls_without;

static bool note_lock(enum os_call call)
{
	if (call == OS_MAP || call == OS_MOVE || call == OS_POPULATE) {
		calls_under_lock += lock_is_mine();
		calls_without += !lock_is_mine();
	}
	return false;
}

static void no_call_under_lock(void **unused)
{
	struct run *runs = model.runs;
	const struct page_request large = {.pages = 3 * HUGEPAGE_PAGES + 5, .alignment = 1, .kind = PAGES_FEW_OBJECTS};

	(void)unused;
	os_fault = note_lock;
	assert_true(model_allocate(&runs[0], &large));
	assert_true(model_grow(&runs[0], 9 * HUGEPAGE_PAGES));
	assert_true(!pages_are_moved() || model_move(&runs[0], 10 * HUGEPAGE_PAGES));
	model_free_all();
	os_fault = NULL;
	assert_int_equal(calls_under_lock, 0);
	assert_true(calls_without >= (pages_are_moved() ? 4 : 2));
}

/* What another thread does while the first one maps hugepages. */
static struct run intruder;
static bool intruded;

static void *take_the_tail(void *unused)
{
	const struct page_request request = {.pages = 3, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	struct page_run run;

	(void)unused;
	if (pageheap_allocate(&request, &run))
		intruder = (struct run){.address = run.address, .pages = 3};
	return NULL;
}

static bool intrude(enum os_call call)
{
	pthread_t thread;

	if (call == OS_MAP && !intruded) {
		intruded = true;
		if (pthread_create(&thread, NULL, take_the_tail, NULL) == 0)
			pthread_join(thread, NULL);
	}
	return false;
}

/* The run that was to begin in a hugepage's free end, and to go on beyond the heap's top, has to begin behind it. */
static void place_is_taken(void **unused)
{
	const struct page_request request = {.pages = 2 * HUGEPAGE_PAGES, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	const struct page_request most = {.pages = HUGEPAGE_PAGES - 8, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	struct run *runs = model.runs;

	(void)unused;
	model_use_up_free(&runs[20]);
	assert_true(model_allocate(&runs[0], &most));
	intruder.address = 0;
	intruded = false;
	os_fault = intrude;
	assert_true(model_allocate(&runs[1], &request));
	os_fault = NULL;
	assert_int_equal(intruder.address, runs[0].address + (most.pages << PAGE_SHIFT));
	assert_int_equal(runs[1].address, intruder.address + (3 << PAGE_SHIFT));
	pageheap_free(intruder.address, intruder.pages);
	model_check_all();
	model_free_all();
}

/* The pages behind a run are taken while it grows. */
static void growth_is_overtaken(void **unused)
{
	const struct page_request request = {.pages = HUGEPAGE_PAGES - 8, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
	struct run *runs = model.runs;

	(void)unused;
	model_use_up_free(&runs[20]);
	assert_true(model_allocate(&runs[0], &request));
	intruder.address = 0;
	intruded = false;
	os_fault = intrude;
	assert_false(model_grow(&runs[0], 2 * HUGEPAGE_PAGES));
	os_fault = NULL;
	assert_int_equal(intruder.address, runs[0].address + (request.pages << PAGE_SHIFT));
	pageheap_free(intruder.address, intruder.pages);
	model_check_all();
	assert_true(model_grow(&runs[0], 2 * HUGEPAGE_PAGES));
	model_free_all();
}

/* A thread's own runs: it marks the first and the last word of each page. */
struct worker {
	uint64_t state;
	struct run runs[RUNS];
	unsigned failures;
};

static void mark(struct run *run, size_t from)
{
	for (size_t page = from; page < run->pages; page++) {
		*page_start(run->address, page) = run->mark + page;
		*page_end(run->address, page) = ~(run->mark + page);
	}
}

static bool is_marked(const struct run *run, size_t pages)
{
	for (size_t page = 0; page < pages; page++) {
		if (*page_start(run->address, page) != run->mark + page ||
		    *page_end(run->address, page) != ~(run->mark + page))
			return false;
	}
	return true;
}

static bool is_zero(const struct run *run, size_t from)
{
	for (size_t page = from; page < run->pages; page++) {
		if (*page_start(run->address, page) != 0 || *page_end(run->address, page) != 0)
			return false;
	}
	return true;
}

static bool worker_allocate(struct worker *worker, struct run *run)
{
	const struct page_request request = {
		.pages = 1 +
			 random_below(&worker->state, random_below(&worker->state, 3) == 0 ? 3 * HUGEPAGE_PAGES : 20),
		.alignment = (size_t)1 << random_below(&worker->state, 6),
		.kind = (enum page_kind)random_below(&worker->state, PAGES_GROWING),
		.zeroed = random_below(&worker->state, 2) != 0,
		.growing = random_below(&worker->state, 4) == 0,
		.dense = random_below(&worker->state, 2) != 0,
	};
	struct page_run got;

	if (!pageheap_allocate(&request, &got))
		return false;
	*run = (struct run){.address = got.address, .pages = request.pages, .mark = random_next(&worker->state)};
	if (got.zeroed && !is_zero(run, 0))
		return false;
	mark(run, 0);
	return true;
}

static bool worker_grow(struct worker *worker, struct run *run)
{
	size_t before = run->pages;
	size_t pages = before + 1 + random_below(&worker->state, HUGEPAGE_PAGES);
	bool zeroed = false;

	if (pageheap_grow(run->address, before, pages, &zeroed)) {
		run->pages = pages;
		if (zeroed && !is_zero(run, before))
			return false;
		mark(run, before);
	}
	return is_marked(run, run->pages);
}

/* Refused where enough has been moved: then nothing has changed. */
static bool worker_move(struct worker *worker, struct run *run)
{
	const struct page_request request = {.pages = run->pages + random_below(&worker->state, HUGEPAGE_PAGES),
					     .alignment = 1,
					     .kind = PAGES_FEW_OBJECTS,
					     .growing = true,
					     .moved = run->pages};
	struct run target = {.pages = request.pages, .mark = run->mark};
	struct page_run got;

	if (!pageheap_allocate(&request, &got))
		return false;
	if (!pageheap_move(run->address, &got, run->pages)) {
		pageheap_free(got.address, request.pages);
		return is_marked(run, run->pages);
	}
	target.address = got.address;
	mark(&target, run->pages);
	*run = target;
	return is_marked(run, run->pages);
}

/* Gives back what is inside a part of a run. Only that is gone. */
static bool worker_purge(struct worker *worker, struct run *run)
{
	size_t first = random_below(&worker->state, run->pages);
	size_t count = 1 + random_below(&worker->state, run->pages - first);
	uintptr_t start = round_up(run->address + (first << PAGE_SHIFT), os_page_size());
	uintptr_t end = round_down(run->address + ((first + count) << PAGE_SHIFT), os_page_size());

	if (start >= end || !pageheap_purge(start, end - start))
		return is_marked(run, run->pages);
	for (uintptr_t address = start; address < end; address += os_page_size()) {
		if (*(uint64_t *)address != 0)
			return false;
	}
	mark(run, 0);
	return true;
}

static bool worker_free(struct run *run)
{
	bool marked = is_marked(run, run->pages);

	pageheap_free(run->address, run->pages);
	run->address = 0;
	return marked;
}

static bool worker_step(struct worker *worker, struct run *run)
{
	if (run->address == 0)
		return worker_allocate(worker, run);
	switch (random_below(&worker->state, 7)) {
	case 0:
		return worker_grow(worker, run);
	case 1:
		return run->pages < HUGEPAGE_PAGES || worker_move(worker, run);
	case 2:
		if (random_below(&worker->state, 8) == 0)
			pageheap_release(random_below(&worker->state, (size_t)4 << 20));
		return true;
	case 3:
		return worker_purge(worker, run);
	default:
		return worker_free(run);
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (int step = 0; step < STEPS; step++)
		worker->failures += !worker_step(worker, &worker->runs[random_below(&worker->state, RUNS)]);
	for (size_t i = 0; i < RUNS; i++) {
		if (worker->runs[i].address != 0)
			worker->failures += !worker_free(&worker->runs[i]);
	}
	return NULL;
}

static void run_workers(void)
{
	static struct worker workers[THREADS];
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++) {
		workers[i].state = random_next(&state);
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].failures, 0);
	}
	model_check_all();
	assert_int_equal(heap_statistics().used, 0);
}

static void all_at_once(void **unused)
{
	time_t end = soak_end();

	(void)unused;
	do {
		run_workers();
		/* And with addresses that come and go. */
		assert_true(make_addresses_scarce(true));
		run_workers();
		pageheap_release(0);
		assert_true(make_addresses_scarce(false));
		model_check_all();
	} while (time(NULL) < end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_under_lock),
		cmocka_unit_test(place_is_taken),
		cmocka_unit_test(growth_is_overtaken),
		cmocka_unit_test(all_at_once),
	};

	state = seed_of_run("pageheap threads");
	return cmocka_run_group_tests_name("pageheap threads", tests, NULL, NULL);
}

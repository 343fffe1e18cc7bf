/*
 * The soft and the hard limit on the page heap, with its model: what counts, what is refused and what is not, what is given
 * back for their sake, and what is asked of those above. The release limit is far away, so that nothing else gives memory back.
 */
#include "support.h"

#include "base/arena.h"
#include "base/bell.h"
#include "pageheap_model.h"

#define MEBIBYTE ((size_t)1 << 20)

/* What may stay free while more is in use than the soft limit allows, as limits.c has it. */
#define SLACK HUGEPAGE_SIZE

static int start_afresh(void **unused)
{
	(void)unused;
	memset(&model, 0, sizeof(model));
	pageheap_set_soft_limit(0);
	pageheap_set_hard_limit(0);
	pageheap_set_background(false, false);
	pageheap_set_retain((size_t)1 << 40);
	pageheap_release(0);
	pageheap_asks = 0;
	return heap_statistics().used == 0 && heap_statistics().free == 0 ? 0 : -1;
}

static int finish(void **unused)
{
	(void)unused;
	os_fault = NULL;
	model_free_all();
	return 0;
}

static struct page_request request_of(size_t bytes)
{
	return (struct page_request){.pages = bytes >> PAGE_SHIFT, .alignment = 1, .kind = PAGES_FEW_OBJECTS};
}

static bool take(struct run *run, size_t bytes)
{
	const struct page_request request = request_of(bytes);

	return model_allocate(run, &request);
}

static size_t metadata(void)
{
	struct pageheap_statistics now = heap_statistics();

	return now.counted - now.used - now.free;
}

static void what_counts(void **unused)
{
	struct arena_statistics arena;
	size_t before = metadata();
	void *block;

	(void)unused;
	assert_true(take(&model.runs[0], 40 * MEBIBYTE));
	assert_true(take(&model.runs[1], 10 * MEBIBYTE));
	model_free(&model.runs[1]);
	arena_read_statistics(&arena);
	assert_int_equal(heap_statistics().free, 10 * MEBIBYTE);
	/* Of the page map what the hugepages take, less than a thousandth with pages of 4 KiB and more. */
	assert_true(metadata() >= arena.used + arena.free);
	assert_true(metadata() <= arena.used + arena.free + heap_statistics().mapped / 256);
	assert_true(metadata() > before);
	before = metadata();
	block = arena_allocate(1000);
	assert_int_equal(metadata(), before + 1024);
	/* It can be resident still. */
	arena_free(block, 1000);
	assert_int_equal(metadata(), before + 1024);
}

static void hard_limit_is_kept_to_the_page(void **unused)
{
	const size_t left = 64 * MEBIBYTE;
	size_t taken = 0;

	(void)unused;
	/* Mapped now, so that the page map does not grow below. */
	assert_true(take(&model.runs[0], left + 4 * MEBIBYTE));
	model_free(&model.runs[0]);
	pageheap_release(0);
	pageheap_set_hard_limit(left + metadata());
	while (take(&model.runs[taken], MEBIBYTE))
		taken++;
	assert_int_equal(taken, left / MEBIBYTE);
	assert_false(take(&model.runs[taken], PAGE_SIZE));
	model_free(&model.runs[5]);
	assert_true(take(&model.runs[5], MEBIBYTE - PAGE_SIZE));
	assert_true(take(&model.runs[taken], PAGE_SIZE));
	assert_false(take(&model.runs[taken + 1], PAGE_SIZE));
	pageheap_set_hard_limit(0);
	assert_true(take(&model.runs[taken + 1], MEBIBYTE));
	model_check_all();
}

/* Free pages that do not fit the request are given back for it. */
static void free_memory_makes_room(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 64; i++)
		assert_true(take(&model.runs[i], MEBIBYTE));
	for (size_t i = 0; i < 64; i += 2)
		model_free(&model.runs[i]);
	assert_int_equal(heap_statistics().free, 32 * MEBIBYTE);
	pageheap_set_hard_limit(heap_statistics().counted + MEBIBYTE / 2);
	assert_true(take(&model.runs[0], 30 * MEBIBYTE));
	assert_true(heap_statistics().counted <= 64 * MEBIBYTE + MEBIBYTE / 2 + metadata());
	assert_false(take(&model.runs[2], 3 * MEBIBYTE));
	model_check_all();
}

/* An impossible request changes nothing: no address is mapped for it. */
static void impossible_requests(void **unused)
{
	struct pageheap_statistics before;

	(void)unused;
	assert_true(take(&model.runs[0], 3 * MEBIBYTE));
	model_free(&model.runs[0]);
	pageheap_set_hard_limit(100 * MEBIBYTE);
	before = heap_statistics();
	assert_false(take(&model.runs[0], (size_t)1 << 40));
	assert_false(take(&model.runs[0], 101 * MEBIBYTE));
	assert_int_equal(heap_statistics().mapped, before.mapped);
	assert_int_equal(heap_statistics().free, before.free);
	model_check_all();
}

static void limit_below_what_is_in_use(void **unused)
{
	struct run *run = &model.runs[0];

	(void)unused;
	assert_true(take(run, 20 * MEBIBYTE));
	assert_true(take(&model.runs[1], 20 * MEBIBYTE));
	assert_true(take(&model.runs[2], 4 * MEBIBYTE));
	model_free(&model.runs[2]);
	pageheap_set_hard_limit(10 * MEBIBYTE);
	/* Not even from what is free and has memory. */
	assert_false(take(&model.runs[2], PAGE_SIZE));
	assert_false(model_grow(&model.runs[1], model.runs[1].pages + 1));
	model_shrink(run, run->pages / 4);
	model_check_all();
	assert_false(take(&model.runs[2], PAGE_SIZE));
	model_free(&model.runs[1]);
	assert_true(take(&model.runs[2], MEBIBYTE));
	assert_true(heap_statistics().counted <= 10 * MEBIBYTE);
	model_free(&model.runs[2]);
	assert_true(model_grow(run, run->pages + (MEBIBYTE >> PAGE_SHIFT)));
	assert_false(model_grow(run, run->pages + (10 * MEBIBYTE >> PAGE_SHIFT)));
	model_check_all();
}

/* Pages that are moved are not needed twice. */
static void moved_pages_count_once(void **unused)
{
	struct page_request request = request_of(80 * MEBIBYTE);
	struct run *run = &model.runs[0];
	struct run target = {0};

	(void)unused;
	if (!pages_are_moved())
		return;
	assert_true(take(run, 60 * MEBIBYTE));
	pageheap_set_hard_limit(100 * MEBIBYTE);
	request.growing = true;
	assert_false(model_allocate(&target, &request));
	request.moved = run->pages;
	assert_true(model_allocate(&target, &request));
	assert_true(pageheap_move(run->address, &(struct page_run){.address = target.address}, run->pages));
	model_disown(run, 0);
	*run = target;
	model_mark(run, 0);
	assert_true(heap_statistics().counted <= 100 * MEBIBYTE);
	model_check_all();
}

static bool releases_fail(enum os_call call)
{
	return call == OS_RELEASE || call == OS_UNMAP;
}

/* Locked memory, say. */
static void what_cannot_be_given_back(void **unused)
{
	(void)unused;
	assert_true(take(&model.runs[0], 10 * MEBIBYTE));
	assert_true(take(&model.runs[1], 10 * MEBIBYTE));
	model_free(&model.runs[0]);
	pageheap_set_hard_limit(heap_statistics().counted + MEBIBYTE);
	os_fault = releases_fail;
	assert_false(take(&model.runs[0], 11 * MEBIBYTE + MEBIBYTE / 2));
	/* It fits where memory is. */
	assert_true(take(&model.runs[2], MEBIBYTE));
	model_free(&model.runs[2]);
	os_fault = NULL;
	pageheap_tick();
	assert_true(take(&model.runs[0], 10 * MEBIBYTE + MEBIBYTE / 2));
	model_check_all();
}

static void soft_limit_gives_free_memory_back(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 64; i++)
		assert_true(take(&model.runs[i], MEBIBYTE));
	for (size_t i = 0; i < 64; i++) {
		if (i % 8 != 0)
			model_free(&model.runs[i]);
	}
	assert_int_equal(heap_statistics().free, 56 * MEBIBYTE);
	assert_int_equal(pageheap_asks, 0);
	/* At once, down to the limit. */
	pageheap_set_soft_limit(40 * MEBIBYTE);
	assert_true(heap_statistics().counted <= 40 * MEBIBYTE);
	assert_true(heap_statistics().counted >= 36 * MEBIBYTE);
	assert_int_equal(pageheap_asks, PAGEHEAP_ASKS_CACHES);
	pageheap_asks = 0;
	assert_true(take(&model.runs[1], 20 * MEBIBYTE));
	assert_true(heap_statistics().counted <= 40 * MEBIBYTE);
	/* It is soft. */
	assert_true(take(&model.runs[2], 50 * MEBIBYTE));
	assert_int_equal(pageheap_asks, PAGEHEAP_ASKS_CACHES);
	assert_true(heap_statistics().free <= SLACK);
	model_free(&model.runs[2]);
	assert_true(heap_statistics().counted <= 40 * MEBIBYTE);
	model_check_all();
}

/* A page that comes and goes while too much is in use is not given back each time. */
static void above_the_soft_limit_pages_are_reused(void **unused)
{
	uint64_t released;

	(void)unused;
	assert_true(take(&model.runs[0], 20 * MEBIBYTE));
	pageheap_set_soft_limit(MEBIBYTE);
	assert_true(take(&model.runs[1], MEBIBYTE));
	released = heap_statistics().released_total;
	for (int i = 0; i < 100; i++) {
		model_free(&model.runs[1]);
		assert_true(take(&model.runs[1], MEBIBYTE));
	}
	assert_int_equal(heap_statistics().released_total, released);
}

static struct page_request random_request(uint64_t *random)
{
	static const size_t most[] = {4, 40, HUGEPAGE_PAGES, 3 * HUGEPAGE_PAGES};
	struct page_request request = {.pages = 1 + random_below(random, most[random_below(random, COUNT_OF(most))]),
				       .alignment = (size_t)1
						    << (random_below(random, 4) == 0 ? random_below(random, 8) : 0),
				       .kind = (enum page_kind)random_below(random, PAGE_KINDS),
				       .zeroed = random_below(random, 4) == 0,
				       .growing = random_below(random, 8) == 0,
				       .dense = random_below(random, 2) == 0};

	return request;
}

static size_t refusals;

/* Free pages that share one of the kernel's with what is in use can't be given back. */
static size_t stuck(void)
{
	return os_page_size() > PAGE_SIZE ? 2 * MODEL_RUNS * os_page_size() : 0;
}

/* What is refused would not fit if nothing was free. The page map may have grown for it. */
static void check_refused(size_t pages, size_t hard)
{
	struct pageheap_statistics now = heap_statistics();

	assert_true(now.used + (pages << PAGE_SHIFT) + metadata() + 64 * 1024 + stuck() > hard);
	refusals++;
}

static void operate(uint64_t *random, size_t hard)
{
	struct run *run = &model.runs[random_below(random, MODEL_RUNS)];
	const struct page_request request = random_request(random);

	if (run->address == 0) {
		if (!model_allocate(run, &request))
			check_refused(request.pages, hard);
	} else if (random_below(random, 4) == 0) {
		model_grow(run, run->pages + request.pages);
	} else {
		model_free(run);
	}
}

static void check_limits(size_t before, size_t hard, size_t soft)
{
	struct pageheap_statistics now = heap_statistics();
	size_t needed = now.used + metadata();

	if (before <= hard)
		assert_true(now.counted <= hard);
	else
		assert_true(now.counted <= before);
	if (now.counted > minimum(soft, hard))
		assert_true(needed + SLACK + stuck() >= minimum(soft, hard) && now.free <= SLACK + stuck());
}

static void random_operations(void **unused)
{
	uint64_t random = seed_of_run("limits");
	const int operations = SANITIZED ? 3000 : 10000;
	size_t hard = 0;
	size_t soft = 0;

	(void)unused;
	refusals = 0;
	for (int i = 0; i < operations; i++) {
		size_t before;

		if (i % 500 == 0) {
			hard = (8 + random_below(&random, 120)) * MEBIBYTE;
			soft = hard / 4 + random_below(&random, hard);
			pageheap_set_hard_limit(hard);
			pageheap_set_soft_limit(soft);
			model_check_all();
		}
		before = heap_statistics().counted;
		operate(&random, hard);
		check_limits(before, hard, soft);
	}
	printf("# %zu of %d operations refused\n", refusals, operations);
	assert_true(refusals > 100);
}

/* The thread is asked for by growth, and rung for by what is free; only beyond what may stay. */
static void background_is_asked_for(void **unused)
{
	(void)unused;
	pageheap_set_retain(8 * MEBIBYTE);
	assert_true(take(&model.runs[0], 16 * MEBIBYTE));
	assert_int_equal(pageheap_asks, 0);
	model_free(&model.runs[0]);
	pageheap_release(0);
	pageheap_set_background(true, false);
	assert_true(take(&model.runs[0], 7 * MEBIBYTE));
	assert_int_equal(pageheap_asks, 0);
	assert_true(take(&model.runs[1], 2 * MEBIBYTE));
	assert_int_equal(pageheap_asks, PAGEHEAP_ASKS_BACKGROUND);
	pageheap_asks = 0;
	pageheap_set_background(true, true);
	assert_true(take(&model.runs[2], 100 * MEBIBYTE));
	assert_int_equal(pageheap_asks, 0);
	bell_listen(&background_bell);
	model_free(&model.runs[1]);
	assert_false(bell_was_rung(&background_bell));
	model_free(&model.runs[0]);
	assert_true(bell_was_rung(&background_bell));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_afresh, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_counts),
		TEST(hard_limit_is_kept_to_the_page),
		TEST(free_memory_makes_room),
		TEST(impossible_requests),
		TEST(limit_below_what_is_in_use),
		TEST(moved_pages_count_once),
		TEST(what_cannot_be_given_back),
		TEST(soft_limit_gives_free_memory_back),
		TEST(above_the_soft_limit_pages_are_reused),
		TEST(random_operations),
		TEST(background_is_asked_for),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}

/*
 * Spans: descriptor, pages and page map made and unmade together; large blocks that shrink, grow and move, against a model of the live
 * ones, with the page heap's and the arena's counts at every step.
 */
#include "heap_test.h"

#include "base/options.h"
#include "base/os.h"
#include "central/central.h"

static size_t pages_used(void)
{
	struct pageheap_statistics statistics;

	pageheap_read_statistics(&statistics);
	return statistics.used >> PAGE_SHIFT;
}

static size_t metadata_used(void)
{
	struct arena_statistics statistics;

	arena_read_statistics(&statistics);
	return statistics.used;
}

static void require_large(size_t blocks, size_t pages)
{
	struct large_statistics statistics;

	central_read_large_statistics(&statistics);
	REQUIRE(statistics.blocks == blocks && statistics.bytes == pages << PAGE_SHIFT,
		"%zu blocks of %zu pages are counted as %zu of %zu bytes", blocks, pages, statistics.blocks,
		statistics.bytes);
	REQUIRE(pages_used() == pages, "%zu pages are used, not %zu", pages_used(), pages);
}

static void check_class_span(unsigned class)
{
	const struct size_class *info = &size_classes[class];
	struct span *span = span_create(class);
	size_t bits = WORDS_FOR_BITS((size_t)info->objects) * 64;
	size_t page;

	assert_non_null(span);
	page = page_of(span->start);
	assert_int_equal(span->start % PAGE_SIZE, 0);
	assert_int_equal(span->class, class);
	assert_int_equal(span->pages, info->pages);
	assert_int_equal(span->objects, info->objects);
	assert_int_equal(span->free, info->objects);
	assert_int_equal(span->touched, 0);
	assert_int_equal(bits_count_range(span->free_objects, 0, bits), info->objects);
	assert_int_equal(bits_next_clear(span->free_objects, 0, bits), info->objects);
	for (size_t i = 0; i < info->pages; i++) {
		assert_ptr_equal(page_span(page + i), span);
		assert_int_equal(page_class(page + i), class);
	}
	assert_null(large_span_of(span->start));
	assert_int_equal(pages_used(), info->pages);
	if (span->zeroed)
		require_zero((void *)span->start, span_bytes(span));
	memset((void *)span->start, 0xa5, span_bytes(span));
	span_destroy(span);
	for (size_t i = 0; i < info->pages; i++) {
		assert_null(page_span(page + i));
		assert_int_equal(page_class(page + i), 0);
	}
	assert_int_equal(pages_used(), 0);
}

static void test_span_of_each_class(void **state)
{
	size_t metadata = metadata_used();

	(void)state;
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		check_class_span(class);
	assert_int_equal(metadata_used(), metadata);
	REQUIRE_VALID(pageheap_validate);
}

/* Only the first page names a large block: a pointer to a later one is recognised as wrong by that. */
static void test_page_map_of_large(void **state)
{
	const struct large_request request = {.pages = 5, .alignment = 1};
	struct span *span = span_create_large(&request);
	size_t page;

	(void)state;
	assert_non_null(span);
	page = page_of(span->start);
	assert_ptr_equal(large_span_of(span->start), span);
	assert_ptr_equal(large_span_of(span->start + PAGE_SIZE - 1), span);
	for (size_t i = 1; i < 5; i++)
		assert_null(page_span(page + i));
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(page_class(page + i), 0);
	span_destroy(span);
	assert_null(page_span(page));
	require_large(0, 0);
}

static void test_alignment(void **state)
{
	(void)state;
	for (size_t alignment = 1; alignment <= (size_t)64 * MIB >> PAGE_SHIFT; alignment *= 2) {
		for (size_t pages = 1; pages <= 1024; pages = pages * 3 + 1) {
			const struct large_request request = {.pages = pages, .alignment = alignment};
			struct span *span = span_create_large(&request);

			assert_non_null(span);
			assert_int_equal(span->start % (alignment << PAGE_SHIFT), 0);
			require_large(1, pages);
			span_destroy(span);
		}
	}
	require_large(0, 0);
	REQUIRE_VALID(pageheap_validate);
}

/* Pages that come back dirty are never said to read zero. */
static void test_zeroed_is_true(void **state)
{
	uint64_t random = seed_of_run("test_zeroed_is_true");
	size_t zeroed = 0;

	(void)state;
	for (int i = 0; i < 300; i++) {
		const struct large_request request = {
			.pages = 1 + random_below(&random, 600), .alignment = 1, .zeroed = random_below(&random, 2)};
		struct span *span = span_create_large(&request);

		assert_non_null(span);
		if (span->zeroed) {
			require_zero((void *)span->start, span_bytes(span));
			zeroed++;
		}
		memset((void *)span->start, 0x5a, span_bytes(span));
		if (random_below(&random, 4) == 0)
			span_shrink(span, 1 + random_below(&random, span->pages));
		span_destroy(span);
		if (random_below(&random, 8) == 0)
			pageheap_release(random_below(&random, 4) * MIB);
	}
	assert_true(zeroed != 0);
	require_large(0, 0);
}

static struct span *create(size_t pages, bool growing)
{
	const struct large_request request = {.pages = pages, .alignment = 1, .growing = growing};
	struct span *span = span_create_large(&request);

	REQUIRE(span != NULL, "no span of %zu pages", pages);
	return span;
}

/* What is shortened and lengthened again finds its own pages free. */
static void test_shrink_and_grow(void **state)
{
	struct span *span = create(100, false);
	uintptr_t start = span->start;
	struct block block = {(void *)start, 30 << PAGE_SHIFT, 7};

	(void)state;
	block_fill(&block);
	span_shrink(span, 30);
	require_large(1, 30);
	assert_true(span_grow(span, 90));
	require_large(1, 90);
	assert_int_equal(span->start, start);
	assert_int_equal(span->pages, 90);
	block_check(&block);
	span_destroy(span);
	require_large(0, 0);
	REQUIRE_VALID(pageheap_validate);
}

static void test_grow_stops_at_a_neighbour(void **state)
{
	struct span *first = create(10, false);
	struct span *second = create(10, false);
	struct span *lower = first->start < second->start ? first : second;
	struct span *upper = lower == first ? second : first;
	size_t between = page_of(upper->start) - page_of(lower->start);

	(void)state;
	assert_false(span_grow(lower, between + 1));
	assert_int_equal(lower->pages, 10);
	require_large(2, 20);
	if (between > 10)
		assert_true(span_grow(lower, between));
	span_destroy(upper);
	assert_true(span_grow(lower, between + 1));
	require_large(1, between + 1);
	span_destroy(lower);
	require_large(0, 0);
}

static unsigned moves;

static bool count_moves(enum os_call call)
{
	moves += call == OS_MOVE;
	return false;
}

/* Its pages, or, where there is memory already, its contents. */
static void check_move(bool memory, bool pages)
{
	struct span *span = create(128, true); /* whole pages of any kernel, which moves nothing less */
	size_t metadata = metadata_used();
	uintptr_t start = span->start;
	struct block block = {(void *)start, span_bytes(span), 99};
	struct span *moved;

	block_fill(&block);
	if (memory) {
		span_destroy(create(1000, true));
		metadata = metadata_used();
	}
	moves = 0;
	os_fault = count_moves;
	moved = span_move(span, 300);
	os_fault = NULL;
	assert_int_equal(moves, pages);
	assert_non_null(moved);
	assert_int_not_equal(moved->start, start);
	assert_null(page_span(page_of(start)));
	assert_ptr_equal(large_span_of(moved->start), moved);
	assert_int_equal(moved->pages, 300);
	require_large(1, 300);
	assert_int_equal(metadata_used(), metadata);
	block.start = (void *)moved->start;
	block_check(&block);
	REQUIRE_VALID(pageheap_validate);
	span_destroy(moved);
	require_large(0, 0);
	pageheap_release(0);
}

static void test_move(void **state)
{
	(void)state;
	pageheap_set_retain((size_t)1 << 30);
	pageheap_release(0);
	check_move(true, false);
	if (os_can_move()) {
		check_move(false, true);
		/* Which admits nothing that is there twice. */
		pageheap_set_hard_limit((size_t)1 << 40);
		check_move(true, true);
		pageheap_set_hard_limit(0);
	} else {
		not_tested("moving pages", "it is not done here as Linux does it");
	}
	pageheap_set_retain(DEFAULT_RETAIN);
}

static bool fail_moves(enum os_call call)
{
	return call == OS_MOVE;
}

static void test_move_that_fails_changes_nothing(void **state)
{
	struct span *span = create(700, true);
	struct block block = {(void *)span->start, span_bytes(span), 5};
	size_t metadata = metadata_used();

	(void)state;
	block_fill(&block);
	pageheap_release(0);
	os_fault = fail_moves;
	assert_null(span_move(span, 1500));
	os_fault = NULL;
	assert_ptr_equal(large_span_of((uintptr_t)block.start), span);
	assert_int_equal(span->pages, 700);
	require_large(1, 700);
	assert_int_equal(metadata_used(), metadata);
	block_check(&block);
	span_destroy(span);
	require_large(0, 0);
	REQUIRE_VALID(pageheap_validate);
}

static bool fail_maps(enum os_call call)
{
	return call == OS_MAP;
}

/* More than can be had, and more than is mapped while no more can be mapped: no descriptor stays behind. */
static void test_out_of_memory_leaves_no_trace(void **state)
{
	const struct large_request impossible = {.pages = PTRDIFF_MAX >> PAGE_SHIFT, .alignment = 1};
	const struct large_request overaligned = {.pages = 1, .alignment = (size_t)1 << 50};
	const struct large_request large = {.pages = ((size_t)1 << 36) >> PAGE_SHIFT, .alignment = 1};
	size_t metadata = metadata_used();

	(void)state;
	assert_null(span_create_large(&impossible));
	assert_null(span_create_large(&overaligned));
	os_fault = fail_maps;
	assert_null(span_create_large(&large));
	os_fault = NULL;
	assert_int_equal(metadata_used(), metadata);
	require_large(0, 0);
	REQUIRE_VALID(pageheap_validate);
}

#define SLOTS 40

struct model {
	struct span *spans[SLOTS];
	struct block blocks[SLOTS];
	size_t count;
	size_t pages;
	uint64_t random;
};

static size_t random_pages(struct model *model)
{
	return random_below(&model->random, 8) == 0 ? 1 + random_below(&model->random, 2000)
						    : 1 + random_below(&model->random, 60);
}

static void fill_slot(struct model *model, size_t slot)
{
	struct span *span = model->spans[slot];

	model->blocks[slot] = (struct block){(void *)span->start, span_bytes(span), random_next(&model->random)};
	block_fill(&model->blocks[slot]);
}

static void create_in(struct model *model, size_t slot)
{
	const struct large_request request = {.pages = random_pages(model),
					      .alignment = (size_t)1 << random_below(&model->random, 6),
					      .zeroed = random_below(&model->random, 4) == 0,
					      .growing = random_below(&model->random, 16) == 0};
	struct span *span = span_create_large(&request);

	REQUIRE(span != NULL, "no span of %zu pages", request.pages);
	if (span->zeroed)
		require_zero((void *)span->start, span_bytes(span));
	model->spans[slot] = span;
	model->count++;
	model->pages += span->pages;
	fill_slot(model, slot);
}

static void change(struct model *model, size_t slot)
{
	struct span *span = model->spans[slot];
	size_t pages = random_pages(model);

	model->pages -= span->pages;
	block_check(&model->blocks[slot]);
	if (pages < span->pages)
		span_shrink(span, pages);
	else if (pages > span->pages && !span_grow(span, pages)) {
		struct span *moved = span_move(span, pages);

		model->spans[slot] = span = moved != NULL ? moved : span;
	}
	model->blocks[slot].start = (void *)span->start;
	block_check_below(&model->blocks[slot], span_bytes(span));
	model->pages += span->pages;
	fill_slot(model, slot);
}

static void destroy(struct model *model, size_t slot)
{
	block_check(&model->blocks[slot]);
	model->count--;
	model->pages -= model->spans[slot]->pages;
	span_destroy(model->spans[slot]);
	model->spans[slot] = NULL;
}

static void test_random_operations(void **state)
{
	struct model model = {.random = seed_of_run("test_random_operations")};
	size_t metadata = metadata_used();

	(void)state;
	for (int i = 0; i < (SANITIZED ? 2000 : 10000); i++) {
		size_t slot = random_below(&model.random, SLOTS);

		if (model.spans[slot] == NULL)
			create_in(&model, slot);
		else if (random_below(&model.random, 2) == 0)
			change(&model, slot);
		else
			destroy(&model, slot);
		require_large(model.count, model.pages);
		if (i % 64 == 0)
			REQUIRE_VALID(pageheap_validate);
	}
	for (size_t slot = 0; slot < SLOTS; slot++) {
		if (model.spans[slot] != NULL)
			destroy(&model, slot);
	}
	require_large(0, 0);
	assert_int_equal(metadata_used(), metadata);
	REQUIRE_VALID(pageheap_validate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_span_of_each_class),
		cmocka_unit_test(test_page_map_of_large),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_zeroed_is_true),
		cmocka_unit_test(test_shrink_and_grow),
		cmocka_unit_test(test_grow_stops_at_a_neighbour),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_move_that_fails_changes_nothing),
		cmocka_unit_test(test_out_of_memory_leaves_no_trace),
		cmocka_unit_test(test_random_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

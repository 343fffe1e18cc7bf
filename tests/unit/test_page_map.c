/*
 * The window and its flat arrays: where they lie, what they say of a page, and how they grow, also when the
 * system has no memory. The first mapping of this process fails on purpose, before anything of the library
 * has run.
 */
#include "support.h"

#include "base/os.h"
#include "pageheap/hugepage.h"
#include "pageheap/page_map.h"

#define COVER_STEP ((size_t)256) /* hugepages that page_map.c maps the arrays for at a time */

static unsigned calls_at_start;
static struct window window_at_start;

static bool fail_first_call(enum os_call call)
{
	(void)call;
	return calls_at_start++ == 0;
}

/* Earlier than any constructor. */
__attribute__((no_sanitize("address"), no_sanitize("undefined"), no_sanitize("thread"))) static void prepare(void)
{
	os_fault = fail_first_call;
}
__attribute__((section(".preinit_array"), used)) static void (*const prepare_first)(void) = prepare;

/* Had there been no memory for the widest window, a narrower one serves. */
static void window_was_made(void **unused)
{
	(void)unused;
	assert_true(calls_at_start > 0);
#if SANITIZED
	/* The next attempt makes it. */
	not_tested("a second place for the window", "the sanitizer leaves room for one only");
	assert_int_equal(window_at_start.base, 0);
	assert_true(page_map_initialise());
#else
	assert_int_not_equal(window_at_start.base, 0);
	assert_true(window_at_start.base < (uintptr_t)1 << 38);
#endif
	assert_int_equal(window.base % HUGEPAGE_SIZE, 0);
	assert_int_equal(window.extent, 0);
	assert_true(page_map_capacity() > 0);
	assert_true(page_map_bytes() > 0);
}

/* Upward: arena, records, references, class map, heap; none reaches into the next. */
static void layout(void **unused)
{
	size_t pages = page_map_capacity() * HUGEPAGE_PAGES;
	uintptr_t classes = (uintptr_t)page_class_offset(0);

	(void)unused;
	assert_int_equal(classes, window.base - CLASS_MAP_DISTANCE);
	assert_true((uintptr_t)page_class_offset(pages) <= window.base);
	assert_true((uintptr_t)(span_references + pages) <= classes);
	assert_true((uintptr_t)(hugepage_records + page_map_capacity()) <= (uintptr_t)span_references);
	assert_true(arena_base < (uintptr_t)hugepage_records);
	assert_int_equal(arena_base % ARENA_UNIT, 0);
}

static void addresses(void **unused)
{
	const struct window saved = window;

	(void)unused;
	assert_false(in_window(window.base));
	assert_false(in_window(0));
	window.extent = 3 * HUGEPAGE_SIZE;
	assert_true(in_window(window.base));
	assert_true(in_window(window.base + 3 * HUGEPAGE_SIZE - 1));
	assert_false(in_window(window.base + 3 * HUGEPAGE_SIZE));
	assert_false(in_window(window.base - 1));
	assert_false(in_window(0));
	assert_false(in_window(UINTPTR_MAX));
	for (size_t page = 0; page < 1000; page += 7) {
		assert_int_equal(page_of(page_address(page)), page);
		assert_int_equal(page_of(page_address(page) + PAGE_SIZE - 1), page);
	}
	window = saved;
}

static void assert_entries(size_t first, size_t end, const struct span *span, unsigned class)
{
	for (size_t page = first; page < end; page++) {
		assert_ptr_equal(page_span(page), span);
		assert_int_equal(page_class(page), class);
		assert_int_equal(*page_class_offset(page), CLASS_OFFSET(class));
	}
}

static void entries(void **unused)
{
	struct span *one = arena_allocate(64);
	struct span *two = arena_allocate(64);

	(void)unused;
	assert_entries(0, 300, NULL, 0);
	page_map_set(10, 20, one, 1);
	page_map_set(30, 1, two, 0);
	page_map_set(31, 240, two, CLASS_COUNT - 1);
	assert_entries(0, 10, NULL, 0);
	assert_entries(10, 30, one, 1);
	assert_entries(30, 31, two, 0);
	assert_entries(31, 271, two, CLASS_COUNT - 1);
	assert_entries(271, 300, NULL, 0);
	page_map_set(10, 19, NULL, 0);
	assert_entries(0, 29, NULL, 0);
	assert_entries(29, 30, one, 1);
	page_map_set(29, 242, NULL, 0);
	assert_entries(0, 300, NULL, 0);
	arena_free(one, 64);
	arena_free(two, 64);
}

static unsigned call_to_fail;
static unsigned calls;

static bool fail_one_map(enum os_call call)
{
	return call == OS_MAP && ++calls == call_to_fail;
}

/*
 * Each of the arrays may be refused: nothing has changed then, and the next attempt finds its addresses free.
 */
static void cover_fails(void **unused)
{
	size_t covered = 0;
	size_t bytes = page_map_bytes();
	bool done = false;

	(void)unused;
	/*
	 * To the begin of a step: the next step needs new memory for all three arrays. With large pages of the kernel, several steps
	 * together do.
	 */
	while (page_map_bytes() == bytes)
		assert_true(page_map_cover(++covered));
	covered += maximum(COVER_STEP, os_page_size() / sizeof(uint16_t) / HUGEPAGE_PAGES);
	bytes = page_map_bytes();
	for (call_to_fail = 1; !done; call_to_fail++) {
		calls = 0;
		os_fault = fail_one_map;
		done = page_map_cover(covered);
		os_fault = NULL;
		if (!done)
			assert_int_equal(page_map_bytes(), bytes);
	}
	assert_int_equal(call_to_fail, 5);
	assert_true(page_map_bytes() > bytes);
}

static void covered_reads_zero(void **unused)
{
	const size_t hugepages = 2000;

	(void)unused;
	assert_true(page_map_cover(hugepages));
	assert_entries((hugepages - 1) * HUGEPAGE_PAGES, hugepages * HUGEPAGE_PAGES, NULL, 0);
	for (size_t number = 0; number < hugepages; number++)
		assert_int_equal(hugepage_records[number].state, HUGEPAGE_UNMAPPED);
	/* The arrays can be written to, to the last entry. */
	*page_class_offset(hugepages * HUGEPAGE_PAGES - 1) = 1;
	span_references[hugepages * HUGEPAGE_PAGES - 1] = 1;
	hugepage_records[hugepages - 1].used_count = 1;
	*page_class_offset(hugepages * HUGEPAGE_PAGES - 1) = 0;
	span_references[hugepages * HUGEPAGE_PAGES - 1] = 0;
	hugepage_records[hugepages - 1].used_count = 0;
}

static void capacity(void **unused)
{
	size_t bytes = page_map_bytes();

	(void)unused;
	assert_false(page_map_cover(page_map_capacity() + 1));
	assert_false(page_map_cover(SIZE_MAX));
	assert_int_equal(page_map_bytes(), bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_was_made), cmocka_unit_test(layout),      cmocka_unit_test(addresses),
		cmocka_unit_test(entries),         cmocka_unit_test(cover_fails), cmocka_unit_test(covered_reads_zero),
		cmocka_unit_test(capacity),
	};

	window_at_start = window;
	os_fault = NULL;
	return cmocka_run_group_tests_name("page_map", tests, NULL, NULL);
}

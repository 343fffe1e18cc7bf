/*
 * The generated tables against a brute-force model: the class of every request, each class's span, the index of an object at every
 * offset, and the classes of aligned requests.
 */
#include "heap_test.h"

#include "door.h"
#include "fast_path.h"

static bool fits(unsigned class, size_t request)
{
	size_t size = size_classes[class].size;

	return size >= request && (request <= 8 || size % REQUEST_ALIGNMENT == 0);
}

static void test_class_of_every_request(void **state)
{
	unsigned expected = 1;

	(void)state;
	for (size_t request = 0; request <= LARGEST_CLASS_SIZE; request++) {
		while (expected < CLASS_COUNT && !fits(expected, request))
			expected++;
		if (class_of_size(request) != expected)
			fail_msg("request %zu is not served by the smallest class that fits", request);
	}
}

static void test_medium_classes_are_large_enough(void **state)
{
	(void)state;
	for (size_t request = 1; request <= LARGEST_CLASS_SIZE; request++) {
		unsigned class = medium_class_of(request);

		if (class == 0 || class >= CLASS_COUNT || size_classes[class].size < request)
			fail_msg("request %zu: medium class %u", request, class);
	}
}

static void test_fields(void **state)
{
	const struct size_class none = {0};

	(void)state;
	assert_memory_equal(&size_classes[0], &none, sizeof(none));
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		const struct size_class *info = &size_classes[class];

		assert_int_equal(info->size % 8, 0);
		assert_true(info->size > size_classes[class - 1].size);
		assert_true(info->pages >= 1 && info->pages <= MAX_SPAN_PAGES);
		assert_int_equal(info->span_bytes, info->pages * PAGE_SIZE);
		assert_int_equal(info->objects, info->span_bytes / info->size);
		assert_true(info->objects >= 1);
		assert_true((info->span_bytes - (size_t)info->objects * info->size) * 8 <= info->span_bytes);
		assert_true(info->batch >= 1 && info->batch <= info->capacity);
		assert_true(info->capacity <= MAX_FREE_LIST_LENGTH);
		assert_true(is_power_of_two(info->capacity + 1u));
	}
	assert_true(size_classes[CLASS_COUNT - 1].size >= LARGEST_CLASS_SIZE);
}

static void test_index_at_every_offset(void **state)
{
	(void)state;
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		const struct size_class *info = &size_classes[class];

		for (uint64_t offset = 0; offset < info->span_bytes; offset++) {
			if (offset * info->reciprocal >> RECIPROCAL_SHIFT != offset / info->size)
				fail_msg("size %u: wrong index at offset %zu", info->size, (size_t)offset);
			if (((offset * info->reciprocal & RECIPROCAL_REST) == 0) != (offset % info->size == 0))
				fail_msg("size %u: wrong rest at offset %zu", info->size, (size_t)offset);
		}
	}
}

static unsigned expected_aligned_class(size_t alignment, unsigned class)
{
	while (class != 0 && class < CLASS_COUNT && size_classes[class].size % alignment != 0)
		class ++;
	return class < CLASS_COUNT ? class : 0;
}

static void test_aligned_classes(void **state)
{
	(void)state;
	assert_int_equal((size_t)16 << (ALIGNED_CLASS_ROWS - 1), PAGE_SIZE);
	for (unsigned row = 0; row < ALIGNED_CLASS_ROWS; row++) {
		for (unsigned class = 0; class < CLASS_COUNT; class ++)
			assert_int_equal(aligned_class[row][class], expected_aligned_class((size_t)16 << row, class));
	}
}

static void test_closed_cache(void **state)
{
	(void)state;
	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		assert_ptr_equal(closed_cache.top[class], CLOSED_TOP);
		assert_ptr_equal(closed_cache.limit[class], CLOSED_TOP);
	}
	assert_null(CLOSED_TOP[-1]);
}

static size_t pages_of(size_t size)
{
	return (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

static void check_block(size_t size, size_t expected)
{
	void *block = tm_malloc(size);

	assert_non_null(block);
	assert_int_equal(tm_malloc_usable_size(block), expected);
	assert_int_equal(door_size_for(1, size), expected);
	tm_free(block);
}

/* What malloc gives, and what nallocx foretells, are the tables' classes, at both edges of each; above, whole pages. */
static void test_malloc_uses_the_tables(void **state)
{
	(void)state;
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		size_t size = size_classes[class].size;

		if (size > LARGEST_CLASS_SIZE || class_of_size(size) != class)
			continue;
		check_block(size, size);
		if (size < LARGEST_CLASS_SIZE)
			check_block(size + 1, size_classes[class_of_size(size + 1)].size);
		assert_int_equal(tm_nallocx(size, 0), size);
	}
	check_block(LARGEST_CLASS_SIZE + 1, pages_of(LARGEST_CLASS_SIZE + 1));
	assert_int_equal(tm_nallocx(LARGEST_CLASS_SIZE + 1, 0), pages_of(LARGEST_CLASS_SIZE + 1));
	require_all_given_back();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_of_every_request),
		cmocka_unit_test(test_medium_classes_are_large_enough),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_index_at_every_offset),
		cmocka_unit_test(test_aligned_classes),
		cmocka_unit_test(test_closed_cache),
		cmocka_unit_test(test_malloc_uses_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

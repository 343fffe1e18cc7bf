/* realloc and reallocarray: contents, NULL, size 0, failure, overflow. realloc(p, 0) frees and returns NULL, as in glibc. */
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void realloc_of_null_allocates(void)
{
	static const size_t sizes[] = {0, 1, 24, 1000, 100000, 5 << 20};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(realloc(hide_pointer(NULL), hide_size(sizes[i])));
		expect(errno == UNTOUCHED_ERRNO, "realloc(NULL, %zu) set errno to %d", sizes[i], errno);
		expect(block != NULL, "realloc(NULL, %zu) returned NULL", sizes[i]);
		expect(malloc_usable_size(block) >= sizes[i], "realloc(NULL, %zu) is too small", sizes[i]);
		free(block);
	}
}

static void realloc_of_null_fails_with_enomem(void)
{
	for (size_t i = 0; i < impossible_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(realloc(hide_pointer(NULL), hide_size(impossible_sizes[i])));
		expect(block == NULL && errno == ENOMEM, "realloc(NULL, %zu): %p, errno %d", impossible_sizes[i], block, errno);
	}
}

static void realloc_to_zero_frees(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		void *block = hide_pointer(malloc(typical_sizes[i]));
		errno = UNTOUCHED_ERRNO;
		void *result = hide_pointer(realloc(block, hide_size(0)));
		expect(result == NULL, "realloc(p, 0) of %zu bytes returned %p", typical_sizes[i], result);
		expect(errno == UNTOUCHED_ERRNO, "realloc(p, 0) of %zu bytes set errno to %d", typical_sizes[i], errno);
	}
	size_t before = resident_bytes();
	for (int i = 0; i < 200000; ++i) {
		char *block = hide_pointer(malloc(1000));
		if (!expect(block != NULL, "malloc(1000) failed"))
			return;
		memset(block, 1, 1000);
		expect(realloc(block, hide_size(0)) == NULL, "realloc(p, 0) did not return NULL");
	}
	size_t after = resident_bytes();
	expect(after < before + (50 << 20), "realloc(p, 0) does not free: %zu bytes more", after - before);
}

static void realloc_failure_keeps_the_block(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		size_t size = typical_sizes[i];
		void *block = hide_pointer(malloc(size));
		if (!expect(block != NULL, "malloc(%zu) failed", size))
			continue;
		fill_pattern(block, size, (unsigned)i);
		for (size_t j = 0; j < impossible_size_count; ++j) {
			errno = UNTOUCHED_ERRNO;
			void *result = hide_pointer(realloc(block, hide_size(impossible_sizes[j])));
			if (!expect(result == NULL && errno == ENOMEM, "realloc of %zu to %zu bytes: %p, errno %d", size,
				    impossible_sizes[j], result, errno))
				return;
		}
		expect(first_difference(block, size, (unsigned)i) == size, "the failing realloc changed a block of %zu", size);
		free(block);
	}
}

/* Resizes, expects the common part unchanged, and fills the whole anew. */
static char *resize_and_verify(char *block, size_t old_size, size_t new_size, unsigned seed)
{
	char *result = hide_pointer(realloc(block, new_size));
	if (!expect(result != NULL, "realloc from %zu to %zu failed", old_size, new_size))
		return block;
	size_t common = old_size < new_size ? old_size : new_size;
	size_t at = first_difference(result, common, seed);
	expect(at == common, "realloc from %zu to %zu lost byte %zu", old_size, new_size, at);
	expect(is_aligned(result, new_size >= 16 ? request_alignment : new_size >= 8 ? 8 : 1), "realloc to %zu: %p", new_size,
		(void *)result);
	expect(malloc_usable_size(result) >= new_size, "realloc to %zu: usable size %zu", new_size, malloc_usable_size(result));
	fill_pattern(result, new_size, seed);
	return result;
}

/* Takes one block and two neighbours of the size through the whole list of sizes. */
static void walk_sizes(const size_t *sizes, size_t count, bool upward)
{
	size_t first = upward ? 0 : count - 1, size = sizes[first];
	char *block = hide_pointer(malloc(size)), *neighbour = hide_pointer(malloc(size));
	if (!expect(block && neighbour, "malloc(%zu) failed", size))
		return;
	fill_pattern(block, size, 7);
	fill_pattern(neighbour, size, 9);
	for (size_t i = 1; i < count; ++i) {
		size_t next = sizes[upward ? i : count - 1 - i];
		block = resize_and_verify(block, size, next, 7);
		neighbour = resize_and_verify(neighbour, size, next, 9);
		size = next;
	}
	free(block);
	free(neighbour);
}

static void realloc_keeps_content_growing(void)
{
	size_t sizes[800];
	walk_sizes(sizes, boundary_sizes(sizes, 800, 21), true);
	for (size_t i = 0; i < 700; ++i)
		sizes[i] = i + 1;
	walk_sizes(sizes, 700, true);
	for (size_t i = 0; i < 40; ++i)
		sizes[i] = (i + 1) << 20;
	walk_sizes(sizes, 40, true);
}

static void realloc_keeps_content_shrinking(void)
{
	size_t sizes[800];
	walk_sizes(sizes, boundary_sizes(sizes, 800, 21), false);
	for (size_t i = 0; i < 700; ++i)
		sizes[i] = i + 1;
	walk_sizes(sizes, 700, false);
	for (size_t i = 0; i < 40; ++i)
		sizes[i] = (i + 1) << 20;
	walk_sizes(sizes, 40, false);
}

static void realloc_keeps_content_in_jumps(void)
{
	size_t sizes[800];
	size_t count = boundary_sizes(sizes, 800, 23), size = 100;
	char *block = hide_pointer(malloc(size));
	fill_pattern(block, size, 3);
	for (int step = 0; step < 600; ++step) {
		size_t next = sizes[random_below(count)];
		block = resize_and_verify(block, size, next, 3);
		size = next;
	}
	free(block);
}

static void realloc_success_keeps_errno(void)
{
	char *block = NULL;
	for (size_t i = 0; i < typical_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		block = hide_pointer(realloc(block, typical_sizes[i]));
		expect(block && errno == UNTOUCHED_ERRNO, "realloc to %zu bytes: errno %d", typical_sizes[i], errno);
	}
	for (size_t i = typical_size_count; i-- > 0;) {
		errno = UNTOUCHED_ERRNO;
		block = hide_pointer(realloc(block, typical_sizes[i]));
		expect(block && errno == UNTOUCHED_ERRNO, "realloc to %zu bytes: errno %d", typical_sizes[i], errno);
	}
	free(block);
}

static void realloc_to_same_size_keeps_content(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		size_t size = typical_sizes[i];
		char *block = hide_pointer(malloc(size));
		fill_pattern(block, size, 5);
		for (int round = 0; round < 3; ++round)
			block = resize_and_verify(block, size, size, 5);
		free(block);
	}
}

/* Bytes between the size asked for and the usable size belong to the block as well. */
static void realloc_to_usable_size(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		char *block = hide_pointer(malloc(typical_sizes[i]));
		size_t usable = malloc_usable_size(block);
		fill_pattern(block, typical_sizes[i], 6);
		block = resize_and_verify(block, typical_sizes[i], usable, 6);
		block = resize_and_verify(block, usable, usable + 1, 6);
		free(block);
	}
}

static void realloc_above_4_gib(void)
{
	const size_t size = ((size_t)5 << 30) + 1, start = 3 << 20;
	char *block = hide_pointer(malloc(start));
	fill_pattern(block, start, 8);
	char *grown = hide_pointer(realloc(block, hide_size(size)));
	if (!grown) {
		expect(errno == ENOMEM, "realloc to 5 GiB failed with errno %d", errno);
		expect(first_difference(block, start, 8) == start, "the failing realloc changed the block");
		free(block);
		check_skip("the system refuses 5 GiB");
		return;
	}
	expect(first_difference(grown, start, 8) == start, "growing to 5 GiB lost bytes");
	grown[size - 1] = 1;
	grown[(size_t)1 << 32] = 2;
	expect(malloc_usable_size(grown) >= size, "usable size %zu", malloc_usable_size(grown));
	char *shrunk = hide_pointer(realloc(grown, 1000));
	expect(shrunk && first_difference(shrunk, 1000, 8) == 1000, "shrinking from 5 GiB lost bytes");
	free(shrunk);
}

static void reallocarray_resizes(void)
{
	char *block = hide_pointer(reallocarray(NULL, 10, 10));
	if (!expect(block != NULL, "reallocarray(NULL, 10, 10) failed"))
		return;
	fill_pattern(block, 100, 4);
	static const size_t factors[][2] = {{20, 30}, {1000, 300}, {5, 1 << 20}, {7, 1000}, {50, 2}};
	for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
		errno = UNTOUCHED_ERRNO;
		block = hide_pointer(reallocarray(block, factors[i][0], factors[i][1]));
		expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
		expect(block && first_difference(block, 100, 4) == 100, "lost bytes");
		expect(malloc_usable_size(block) >= factors[i][0] * factors[i][1], "is too small");
	}
	free(block);
}

static void reallocarray_overflow_keeps_the_block(void)
{
	static const size_t factors[][2] = {{SIZE_MAX, 2}, {2, SIZE_MAX}, {(size_t)1 << 32, (size_t)1 << 32},
		{SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 31, (size_t)1 << 32}, {1, SIZE_MAX},
		{((size_t)1 << 32) + 1, (size_t)1 << 32}};
	char *block = hide_pointer(malloc(100));
	fill_pattern(block, 100, 4);
	for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
		for (int with_null = 0; with_null < 2; ++with_null) {
			errno = UNTOUCHED_ERRNO;
			void *old = hide_pointer(with_null ? NULL : block);
			void *result = hide_pointer(reallocarray(old, hide_size(factors[i][0]), hide_size(factors[i][1])));
			if (!expect(result == NULL && errno == ENOMEM, "reallocarray(p, %zu, %zu): %p, errno %d", factors[i][0],
				    factors[i][1], result, errno))
				return;
		}
	}
	expect(first_difference(block, 100, 4) == 100, "the failing reallocarray changed the block");
	free(block);
}

static void reallocarray_to_zero_frees(void)
{
	errno = UNTOUCHED_ERRNO;
	void *first = hide_pointer(reallocarray(hide_pointer(malloc(100)), hide_size(0), hide_size(8)));
	void *second = hide_pointer(reallocarray(hide_pointer(malloc(100000)), hide_size(8), hide_size(0)));
	expect(first == NULL && second == NULL, "reallocarray(p, 0, n) did not return NULL");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
	void *third = hide_pointer(reallocarray(hide_pointer(NULL), hide_size(0), hide_size(8)));
	expect(third != NULL, "reallocarray(NULL, 0, 8) returned NULL");
	free(third);
}

void conformance_realloc(void)
{
	CHECK(realloc_of_null_allocates);
	CHECK(realloc_of_null_fails_with_enomem);
	CHECK(realloc_to_zero_frees);
	CHECK(realloc_failure_keeps_the_block);
	CHECK(realloc_success_keeps_errno);
	CHECK(realloc_keeps_content_growing);
	CHECK(realloc_keeps_content_shrinking);
	CHECK(realloc_keeps_content_in_jumps);
	CHECK(realloc_to_same_size_keeps_content);
	CHECK(realloc_to_usable_size);
	CHECK(realloc_above_4_gib);
	CHECK(reallocarray_resizes);
	CHECK(reallocarray_overflow_keeps_the_block);
	CHECK(reallocarray_to_zero_frees);
}

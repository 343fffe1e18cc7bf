/* calloc: zeroes also what was used before, overflow of the product, empty products, very large requests. */
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void calloc_empty_products_are_unique(void)
{
	static const size_t factors[][2] = {{0, 0}, {0, 8}, {8, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}, {0, 1}, {1, 0}};
	enum { COUNT = sizeof factors / sizeof *factors };
	void *blocks[COUNT];
	for (size_t i = 0; i < COUNT; ++i) {
		errno = UNTOUCHED_ERRNO;
		blocks[i] = hide_pointer(calloc(hide_size(factors[i][0]), hide_size(factors[i][1])));
		expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
		expect(blocks[i] != NULL, "calloc(%zu, %zu) returned NULL", factors[i][0], factors[i][1]);
		for (size_t j = 0; j < i; ++j)
			expect(blocks[i] != blocks[j], "one pointer came twice");
	}
	for (size_t i = 0; i < COUNT; ++i)
		free(blocks[i]);
}

static void expect_no_memory(size_t count, size_t size)
{
	errno = UNTOUCHED_ERRNO;
	void *block = hide_pointer(calloc(hide_size(count), hide_size(size)));
	int error = errno;
	expect(block == NULL, "calloc(%zu, %zu) returned %p", count, size, block);
	expect(error == ENOMEM, "calloc(%zu, %zu) set errno to %d", count, size, error);
	free(block);
}

static void calloc_overflow_gives_enomem(void)
{
	static const size_t factors[][2] = {
		{SIZE_MAX, 2},
		{SIZE_MAX, SIZE_MAX},
		{SIZE_MAX / 2 + 1, 2},
		{(size_t)1 << 32, (size_t)1 << 32},
		{SIZE_MAX / 3 + 1, 3},
		{((size_t)1 << 32) + 1, ((size_t)1 << 32) - 1},
		{SIZE_MAX / 16 + 1, 16},
		{SIZE_MAX / 16 + 2, 16},
		{(size_t)1 << 63, 2},
		{(size_t)1 << 60, 17},
		{0x5555555555555556, 3},
	};
	for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
		expect_no_memory(factors[i][0], factors[i][1]);
		expect_no_memory(factors[i][1], factors[i][0]);
	}
}

static void calloc_impossible_sizes_give_enomem(void)
{
	for (size_t i = 0; i < impossible_size_count; ++i) {
		expect_no_memory(1, impossible_sizes[i]);
		expect_no_memory(impossible_sizes[i], 1);
	}
	expect_no_memory((size_t)1 << 24, (size_t)1 << 24);
	expect_no_memory((size_t)1 << 31, (size_t)1 << 32);
}

/* Takes, dirties to the last usable byte and frees blocks of one size, then callocs as many. */
static void check_zeroed_after_use(size_t size)
{
	enum { MOST = 16 };
	unsigned char *blocks[MOST];
	size_t count = size <= 4096 ? MOST : size <= 262144 ? 4 : size <= (4 << 20) ? 2 : 1;
	for (int round = 0; round < 3; ++round) {
		for (size_t i = 0; i < count; ++i) {
			blocks[i] = hide_pointer(round == 0 ? malloc(size) : calloc(size, 1));
			if (!expect(blocks[i] != NULL, "no %zu bytes", size))
				return;
			if (round > 0) {
				size_t at = first_nonzero(blocks[i], size);
				expect(at == size, "calloc(%zu, 1): byte %zu is %#x", size, at, at < size ? blocks[i][at] : 0);
			}
		}
		for (size_t i = 0; i < count; ++i)
			memset(blocks[i], 0xa5, malloc_usable_size(blocks[i]));
		for (size_t i = 0; i < count; ++i)
			free(blocks[i]);
	}
}

static void calloc_zeroes_small_blocks_after_use(void)
{
	for (size_t size = 1; size <= 4096; size += size < 1100 ? 1 : 61)
		check_zeroed_after_use(size);
}

static void calloc_zeroes_blocks_to_4_mib_after_use(void)
{
	size_t sizes[800];
	size_t count = boundary_sizes(sizes, 800, 22);
	for (size_t i = 0; i < count; i += sizes[i] < 262144 ? 1 : 4)
		if (sizes[i] > 4096)
			check_zeroed_after_use(sizes[i]);
	check_zeroed_after_use(4 << 20);
}

static void calloc_zeroes_64_mib_after_use(void)
{
	check_zeroed_after_use(64 << 20);
	check_zeroed_after_use((64 << 20) - 5000);
}

/* A large dirty block that was freed may come back in pieces of any size. */
static void calloc_zeroes_pieces_of_a_freed_block(void)
{
	static const size_t piece_sizes[] = {64, 1000, 8192, 70000, 262144, 1 << 20};
	for (size_t i = 0; i < sizeof piece_sizes / sizeof *piece_sizes; ++i) {
		size_t whole = 8 << 20, size = piece_sizes[i], count = whole / size < 64 ? whole / size : 64;
		void *block = hide_pointer(malloc(whole)), *pieces[64];
		if (!expect(block != NULL, "no 8 MiB"))
			return;
		memset(block, 0x5a, whole);
		free(block);
		for (size_t piece = 0; piece < count; ++piece) {
			pieces[piece] = hide_pointer(calloc(1, size));
			expect(pieces[piece] && first_nonzero(pieces[piece], size) == size, "calloc(1, %zu) is not zero", size);
		}
		for (size_t piece = 0; piece < count; ++piece)
			free(pieces[piece]);
	}
}

static void calloc_takes_both_factors(void)
{
	static const size_t factors[][2] = {{3, 7}, {7, 3}, {100, 100}, {1000, 1000}, {65537, 33}, {2, 3 << 20}};
	for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
		size_t size = factors[i][0] * factors[i][1];
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(calloc(factors[i][0], factors[i][1]));
		expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
		expect(block && malloc_usable_size(block) >= size, "calloc(%zu, %zu) is too small", factors[i][0], factors[i][1]);
		expect(block && first_nonzero(block, size) == size, "calloc(%zu, %zu) is not zero", factors[i][0], factors[i][1]);
		expect(is_aligned(block, request_alignment), "calloc(%zu, %zu) is not aligned", factors[i][0], factors[i][1]);
		free(block);
	}
}

static void calloc_above_4_gib(void)
{
	const size_t size = (size_t)5 << 30;
	size_t before = resident_bytes();
	unsigned char *block = hide_pointer(calloc(hide_size(5 << 10), hide_size(1 << 20)));
	if (!block) {
		expect(errno == ENOMEM, "calloc of 5 GiB failed with errno %d", errno);
		check_skip("the system refuses 5 GiB");
		return;
	}
	size_t after = resident_bytes();
	expect(after < before + ((size_t)1 << 30), "calloc of 5 GiB touched %zu bytes", after - before);
	for (size_t at = 0; at < size; at += (size_t)64 << 20)
		expect(block[at] == 0, "byte %zu is not zero", at);
	expect(block[size - 1] == 0, "the last byte is not zero");
	block[size - 1] = 1;
	free(block);
}

void conformance_calloc(void)
{
	CHECK(calloc_empty_products_are_unique);
	CHECK(calloc_overflow_gives_enomem);
	CHECK(calloc_impossible_sizes_give_enomem);
	CHECK(calloc_takes_both_factors);
	CHECK(calloc_zeroes_small_blocks_after_use);
	CHECK(calloc_zeroes_blocks_to_4_mib_after_use);
	CHECK(calloc_zeroes_64_mib_after_use);
	CHECK(calloc_zeroes_pieces_of_a_freed_block);
	CHECK(calloc_above_4_gib);
}

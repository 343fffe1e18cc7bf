/* malloc and free: results, alignment, errno, impossible and very large requests, blocks that do not overlap. */
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void malloc_zero_is_unique(void)
{
	enum { COUNT = 200 };
	void *blocks[COUNT];
	for (size_t i = 0; i < COUNT; ++i) {
		blocks[i] = hide_pointer(malloc(hide_size(i == COUNT / 2 ? 1 : 0)));
		expect(blocks[i] != NULL, "malloc(0) returned NULL");
		for (size_t j = 0; j < i; ++j)
			expect(blocks[i] != blocks[j], "malloc(0) returned %p twice", blocks[i]);
	}
	for (size_t i = 0; i < COUNT; ++i)
		free(blocks[i]);
}

static void malloc_impossible_sizes_give_enomem(void)
{
	for (size_t i = 0; i < impossible_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(malloc(hide_size(impossible_sizes[i])));
		int error = errno;
		expect(block == NULL, "malloc(%zu) returned %p", impossible_sizes[i], block);
		expect(error == ENOMEM, "malloc(%zu) set errno to %d", impossible_sizes[i], error);
		free(block);
	}
}

static void malloc_success_keeps_errno(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(malloc(typical_sizes[i]));
		expect(errno == UNTOUCHED_ERRNO, "malloc(%zu) succeeded and set errno to %d", typical_sizes[i], errno);
		expect(block != NULL, "malloc(%zu) failed", typical_sizes[i]);
		free(block);
	}
}

static void free_keeps_errno(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		char *block = hide_pointer(malloc(typical_sizes[i]));
		if (!expect(block != NULL, "malloc(%zu) failed", typical_sizes[i]))
			continue;
		block[0] = 1;
		errno = UNTOUCHED_ERRNO;
		free(block);
		expect(errno == UNTOUCHED_ERRNO, "free of %zu bytes set errno to %d", typical_sizes[i], errno);
	}
}

static void free_of_null_does_nothing(void)
{
	errno = UNTOUCHED_ERRNO;
	for (int i = 0; i < 1000; ++i)
		free(hide_pointer(NULL));
	expect(errno == UNTOUCHED_ERRNO, "free(NULL) set errno to %d", errno);
}

/* What the size allows: 16 (or what the profile says) from 16 bytes on, 8 from 8 on, below that the largest power of two that fits. */
static size_t owed_alignment(size_t size)
{
	if (size >= 16)
		return request_alignment;
	size_t alignment = 1;
	while (alignment * 2 <= size)
		alignment *= 2;
	return alignment;
}

static void check_alignment(size_t size)
{
	void *blocks[3];
	for (size_t i = 0; i < 3; ++i) {
		blocks[i] = hide_pointer(malloc(size));
		expect(blocks[i] != NULL, "malloc(%zu) failed", size);
		expect(is_aligned(blocks[i], owed_alignment(size)), "malloc(%zu) returned %p, not aligned to %zu", size,
			blocks[i], owed_alignment(size));
	}
	for (size_t i = 0; i < 3; ++i)
		free(blocks[i]);
}

static void malloc_alignment(void)
{
	for (size_t size = 1; size <= 70000; ++size)
		check_alignment(size);
	size_t sizes[800];
	size_t count = boundary_sizes(sizes, 800, 24);
	for (size_t i = 0; i < count; ++i)
		check_alignment(sizes[i]);
}

/* Sizes between the multiples of 16 take the class above them, and not a page or more. */
static void malloc_odd_small_sizes_stay_small(void)
{
	enum { COUNT = 500 };
	static char *blocks[COUNT];
	for (size_t size = 17; size <= 40; size = size == 24 ? 33 : size + 1) {
		for (unsigned i = 0; i < COUNT; ++i) {
			blocks[i] = hide_pointer(malloc(size));
			if (!expect(blocks[i] != NULL, "malloc(%zu) failed", size))
				return;
			expect(is_aligned(blocks[i], request_alignment), "malloc(%zu) returned %p", size, (void *)blocks[i]);
			size_t most = bytes_by_profile(size) > 64 ? bytes_by_profile(size) : 64;
			expect(malloc_usable_size(blocks[i]) <= most, "malloc(%zu) uses %zu bytes", size,
				malloc_usable_size(blocks[i]));
			fill_pattern(blocks[i], size, i);
		}
		for (unsigned i = 0; i < COUNT; ++i) {
			expect(first_difference(blocks[i], size, i) == size, "blocks of %zu bytes overlap", size);
			free(blocks[i]);
		}
	}
}

/* Mostly small, now and then up to 4 MiB. */
static size_t random_size(void)
{
	static const size_t limits[] = {64, 64, 512, 512, 4096, 32768, 262144, 4 << 20};
	return random_below(limits[random_below(8)]) + 1;
}

static void malloc_blocks_do_not_overlap(void)
{
	enum { SLOTS = 300, STEPS = 6000 };
	static struct {
		char *block;
		size_t size;
	} slots[SLOTS];
	for (unsigned step = 0; step < STEPS; ++step) {
		size_t i = random_below(SLOTS);
		if (slots[i].block) {
			size_t at = first_difference(slots[i].block, slots[i].size, (unsigned)i);
			expect(at == slots[i].size, "byte %zu of %zu of a live block has changed", at, slots[i].size);
			free(slots[i].block);
		}
		slots[i].size = random_size();
		slots[i].block = hide_pointer(malloc(slots[i].size));
		if (!expect(slots[i].block != NULL, "malloc(%zu) failed", slots[i].size))
			continue;
		fill_pattern(slots[i].block, slots[i].size, (unsigned)i);
	}
	for (size_t i = 0; i < SLOTS; ++i) {
		if (slots[i].block)
			expect(first_difference(slots[i].block, slots[i].size, (unsigned)i) == slots[i].size,
				"a live block of %zu bytes has changed", slots[i].size);
		free(slots[i].block);
	}
}

static void malloc_above_4_gib(void)
{
	const size_t size = ((size_t)5 << 30) + 123;
	char *block = hide_pointer(malloc(hide_size(size)));
	if (!block) {
		expect(errno == ENOMEM, "malloc(5 GiB) failed with errno %d", errno);
		check_skip("the system refuses 5 GiB");
		return;
	}
	const size_t places[] = {0, 4095, (size_t)1 << 31, ((size_t)1 << 32) - 1, (size_t)1 << 32, size - 1};
	for (size_t i = 0; i < sizeof places / sizeof *places; ++i)
		block[places[i]] = (char)(i + 1);
	for (size_t i = 0; i < sizeof places / sizeof *places; ++i)
		expect(block[places[i]] == (char)(i + 1), "byte %zu lost its value", places[i]);
	expect(malloc_usable_size(block) >= size, "usable size %zu of %zu", malloc_usable_size(block), size);
	errno = UNTOUCHED_ERRNO;
	free(block);
	expect(errno == UNTOUCHED_ERRNO, "free set errno to %d", errno);
}

enum { EXCHANGED = 2000 };
static char *exchanged[EXCHANGED];

static size_t exchanged_size(size_t i)
{
	return i % 100 == 99 ? i * 1000 : i % 700 + 1;
}

static void *allocate_for_another_thread(void *unused)
{
	for (size_t i = 0; i < EXCHANGED; ++i) {
		exchanged[i] = hide_pointer(malloc(exchanged_size(i)));
		if (exchanged[i])
			fill_pattern(exchanged[i], exchanged_size(i), (unsigned)i);
	}
	return unused;
}

static void free_in_another_thread(void)
{
	for (int round = 0; round < 5; ++round) {
		pthread_t thread;
		if (!expect(pthread_create(&thread, NULL, allocate_for_another_thread, NULL) == 0, "no thread"))
			return;
		pthread_join(thread, NULL);
		for (size_t i = 0; i < EXCHANGED; ++i) {
			expect(exchanged[i] &&
					first_difference(exchanged[i], exchanged_size(i), (unsigned)i) == exchanged_size(i),
				"block %zu of another thread has changed", i);
			free(exchanged[i]);
		}
	}
}

/* Leaves nothing behind: what is freed is used again. */
static void freed_memory_is_used_again(void)
{
	for (size_t i = 0; i < typical_size_count; ++i) {
		size_t size = typical_sizes[i], rounds = ((size_t)512 << 20) / (size + 200) + 1;
		if (rounds > 300000)
			rounds = 300000;
		size_t before = resident_bytes();
		for (size_t round = 0; round < rounds; ++round) {
			char *block = hide_pointer(malloc(size));
			if (!expect(block != NULL, "malloc(%zu) failed", size))
				return;
			block[0] = block[size - 1] = 1;
			free(block);
		}
		size_t after = resident_bytes();
		expect(after < before + size + (8 << 20), "%zu times malloc and free of %zu bytes: resident memory grew by %zu",
			rounds, size, after - before);
	}
}

void conformance_malloc(void)
{
	CHECK(malloc_zero_is_unique);
	CHECK(malloc_impossible_sizes_give_enomem);
	CHECK(malloc_success_keeps_errno);
	CHECK(malloc_alignment);
	CHECK(malloc_odd_small_sizes_stay_small);
	CHECK(malloc_blocks_do_not_overlap);
	CHECK(malloc_above_4_gib);
	CHECK(free_keeps_errno);
	CHECK(free_of_null_does_nothing);
	CHECK(free_in_another_thread);
	CHECK(freed_memory_is_used_again);
}

/* posix_memalign, aligned_alloc, memalign, valloc, pvalloc. Where glibc's versions differ (aligned_alloc with an alignment
   that is no power of two rounds it up before 2.38 and fails with EINVAL since), both are right. */
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *const untouched = (void *)(uintptr_t)0x5ca1ab1e;

static void posix_memalign_refuses_bad_alignments(void)
{
	static const size_t alignments[] = {0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 17, 24, 40, 48, 96, 100, 1000, 4095, 4097, 12288,
		((size_t)1 << 63) + 8, SIZE_MAX, SIZE_MAX - 7};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i)
		for (size_t size = 0; size <= 10000; size += 5000) {
			void *block = untouched;
			errno = UNTOUCHED_ERRNO;
			int result = posix_memalign(&block, hide_size(alignments[i]), size);
			expect(result == EINVAL, "posix_memalign(%zu, %zu) returned %d", alignments[i], size, result);
			expect(block == untouched, "posix_memalign(%zu, %zu) changed its argument", alignments[i], size);
			expect(errno == UNTOUCHED_ERRNO, "posix_memalign(%zu, %zu) set errno to %d", alignments[i], size, errno);
		}
}

/* glibc sets errno here as well; POSIX does not ask for it, so either is right. */
static void posix_memalign_without_memory(void)
{
	static const size_t alignments[] = {8, 16, 64, 4096, 1 << 20, (size_t)1 << 30, (size_t)1 << 40};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i)
		for (size_t j = 0; j < impossible_size_count; ++j) {
			void *block = untouched;
			errno = UNTOUCHED_ERRNO;
			int result = posix_memalign(&block, hide_size(alignments[i]), hide_size(impossible_sizes[j]));
			expect(result == ENOMEM, "posix_memalign(%zu, %zu) returned %d", alignments[i], impossible_sizes[j],
				result);
			expect(block == untouched, "posix_memalign(%zu, %zu) changed its argument", alignments[i],
				impossible_sizes[j]);
			expect(errno == UNTOUCHED_ERRNO || errno == ENOMEM, "errno was set to %d", errno);
		}
	for (unsigned shift = 48; shift < 64; ++shift) {
		void *block = untouched;
		int result = posix_memalign(&block, hide_size((size_t)1 << shift), 100);
		expect(result == ENOMEM && block == untouched, "alignment 2^%u: %d, %p", shift, result, block);
	}
}

static void posix_memalign_of_zero_bytes(void)
{
	void *blocks[40];
	size_t count = 0;
	for (unsigned shift = 3; shift <= 22; ++shift)
		for (int twice = 0; twice < 2; ++twice) {
			errno = UNTOUCHED_ERRNO;
			blocks[count] = untouched;
			int result = posix_memalign(&blocks[count], (size_t)1 << shift, hide_size(0));
			expect(result == 0 && errno == UNTOUCHED_ERRNO, "alignment 2^%u: returned %d, errno %d", shift, result,
				errno);
			expect(blocks[count] && is_aligned(blocks[count], (size_t)1 << shift), "alignment 2^%u: %p", shift,
				blocks[count]);
			for (size_t i = 0; i < count; ++i)
				expect(blocks[i] != blocks[count], "one pointer came twice");
			++count;
		}
	for (size_t i = 0; i < count; ++i)
		free(blocks[i]);
}

static void *take_posix_memalign(size_t alignment, size_t size)
{
	void *block = NULL;
	if (alignment < sizeof(void *))
		alignment = sizeof(void *);
	int result = posix_memalign(&block, alignment, size);
	if (result != 0) {
		errno = result;
		return NULL;
	}
	return block;
}

static void *take_memalign(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

static void *take_aligned_alloc(size_t alignment, size_t size)
{
	return aligned_alloc(alignment, size);
}

typedef void *aligned_function(size_t alignment, size_t size);
static aligned_function *const aligned_functions[] = {take_posix_memalign, take_memalign, take_aligned_alloc};
static const char *const aligned_names[] = {"posix_memalign", "memalign", "aligned_alloc"};
enum { ALIGNED_FUNCTIONS = 3 };

/* One aligned block: errno, alignment, usable size, contents over two reallocs. */
static bool check_aligned_block(unsigned function, size_t alignment, size_t size)
{
	const char *name = aligned_names[function];
	errno = UNTOUCHED_ERRNO;
	char *block = hide_pointer(aligned_functions[function](alignment, size));
	if (!block && errno == ENOMEM && alignment + size > ((size_t)256 << 20)) {
		check_skip("the system refuses alignment %zu", alignment);
		return false;
	}
	expect(errno == UNTOUCHED_ERRNO, "%s(%zu, %zu) set errno to %d", name, alignment, size, errno);
	if (!expect(block && is_aligned(block, alignment), "%s(%zu, %zu) returned %p", name, alignment, size, (void *)block))
		return false;
	expect(malloc_usable_size(block) >= size, "%s(%zu, %zu): usable size %zu", name, alignment, size,
		malloc_usable_size(block));
	fill_pattern(block, size, 1);
	char *grown = hide_pointer(realloc(block, size * 2 + 10));
	if (!expect(grown != NULL, "realloc of %s(%zu, %zu) failed", name, alignment, size))
		return false;
	expect(first_difference(grown, size, 1) == size, "growing %s(%zu, %zu) lost bytes", name, alignment, size);
	char *shrunk = hide_pointer(realloc(grown, size / 2 + 1));
	expect(shrunk && first_difference(shrunk, size / 2, 1) == size / 2, "shrinking %s(%zu, %zu) lost bytes", name, alignment,
		size);
	errno = UNTOUCHED_ERRNO;
	free(shrunk);
	expect(errno == UNTOUCHED_ERRNO, "free set errno to %d", errno);
	return true;
}

static void every_alignment_to_1_gib(void)
{
	for (unsigned function = 0; function < ALIGNED_FUNCTIONS; ++function)
		for (unsigned shift = 3; shift <= 30; ++shift) {
			size_t alignment = (size_t)1 << shift;
			size_t sizes[] = {
				1, 24, 100, 3000, 40000, 300000, alignment - 1, alignment, alignment + 1, 3 * alignment};
			for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
				if (sizes[i] <= (4 << 20) && !check_aligned_block(function, alignment, sizes[i]))
					break;
		}
}

static void aligned_blocks_do_not_overlap(void)
{
	enum { SLOTS = 200, STEPS = 8000 };
	static struct {
		char *block;
		size_t size;
	} slots[SLOTS];
	for (unsigned step = 0; step < STEPS; ++step) {
		size_t i = random_below(SLOTS);
		if (slots[i].block) {
			expect(first_difference(slots[i].block, slots[i].size, (unsigned)i) == slots[i].size,
				"a live block of %zu bytes has changed", slots[i].size);
			free(slots[i].block);
		}
		size_t alignment = (size_t)1 << random_below(17);
		slots[i].size = random_below(random_below(8) == 0 ? 200000 : 3000);
		slots[i].block = hide_pointer(random_below(3) == 0 ? malloc(slots[i].size) : memalign(alignment, slots[i].size));
		if (!expect(slots[i].block != NULL, "memalign(%zu, %zu) failed", alignment, slots[i].size))
			slots[i].size = 0;
		else
			fill_pattern(slots[i].block, slots[i].size, (unsigned)i);
	}
	for (size_t i = 0; i < SLOTS; ++i) {
		if (slots[i].block)
			expect(first_difference(slots[i].block, slots[i].size, (unsigned)i) == slots[i].size,
				"a live block of %zu bytes has changed", slots[i].size);
		free(slots[i].block);
		slots[i].block = NULL;
	}
}

static void memalign_rounds_alignment_up(void)
{
	static const size_t alignments[] = {0, 1, 2, 3, 4, 5, 7, 9, 15, 17, 24, 33, 48, 100, 1000, 4095, 4097, 5000, 100000};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i)
		for (size_t size = 1; size < 100000; size *= 7) {
			size_t rounded = 1;
			while (rounded < alignments[i])
				rounded *= 2;
			errno = UNTOUCHED_ERRNO;
			void *block = hide_pointer(memalign(hide_size(alignments[i]), size));
			expect(block && is_aligned(block, rounded), "memalign(%zu, %zu) returned %p", alignments[i], size, block);
			expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
			free(block);
		}
}

static void aligned_alloc_of_no_power_of_two(void)
{
	static const size_t alignments[] = {0, 3, 5, 17, 24, 48, 100, 1000, 4097};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i) {
		size_t rounded = 1;
		while (rounded < alignments[i])
			rounded *= 2;
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(aligned_alloc(hide_size(alignments[i]), 200));
		if (block)
			expect(is_aligned(block, rounded) && errno == UNTOUCHED_ERRNO, "aligned_alloc(%zu, 200): %p, errno %d",
				alignments[i], block, errno);
		else
			expect(errno == EINVAL, "aligned_alloc(%zu, 200) failed with errno %d", alignments[i], errno);
		free(block);
	}
}

/* The size need not be a multiple of the alignment (C17 and later). */
static void aligned_alloc_of_any_size(void)
{
	for (size_t size = 0; size < 300; size += 7) {
		void *block = hide_pointer(aligned_alloc(64, hide_size(size)));
		expect(block && is_aligned(block, 64), "aligned_alloc(64, %zu) returned %p", size, block);
		free(block);
	}
}

/* Above half the address space no power of two is left. */
static void alignment_beyond_reason(void)
{
	static const size_t alignments[] = {((size_t)1 << 63) + 1, SIZE_MAX - 4096, SIZE_MAX};
	for (unsigned function = 1; function < ALIGNED_FUNCTIONS; ++function)
		for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i) {
			errno = UNTOUCHED_ERRNO;
			void *block = hide_pointer(aligned_functions[function](hide_size(alignments[i]), 100));
			expect(block == NULL && errno == EINVAL, "%s(%zu, 100): %p, errno %d", aligned_names[function],
				alignments[i], block, errno);
		}
	for (unsigned function = 0; function < ALIGNED_FUNCTIONS; ++function)
		for (unsigned shift = 48; shift < 64; ++shift) {
			errno = UNTOUCHED_ERRNO;
			void *block = hide_pointer(aligned_functions[function](hide_size((size_t)1 << shift), 100));
			expect(block == NULL && errno == ENOMEM, "%s(2^%u, 100): %p, errno %d", aligned_names[function], shift,
				block, errno);
		}
}

static void aligned_impossible_sizes_give_enomem(void)
{
	static const size_t alignments[] = {8, 16, 32, 64, 4096, 65536, 1 << 21};
	for (unsigned function = 1; function < ALIGNED_FUNCTIONS; ++function)
		for (size_t i = 0; i < sizeof alignments / sizeof *alignments; ++i)
			for (size_t j = 0; j < impossible_size_count; ++j) {
				errno = UNTOUCHED_ERRNO;
				void *block =
					hide_pointer(aligned_functions[function](alignments[i], hide_size(impossible_sizes[j])));
				expect(block == NULL && errno == ENOMEM, "%s(%zu, %zu): %p, errno %d", aligned_names[function],
					alignments[i], impossible_sizes[j], block, errno);
			}
}

static void valloc_is_page_aligned(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 100000, 3 << 20};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
		errno = UNTOUCHED_ERRNO;
		char *block = hide_pointer(valloc(hide_size(sizes[i])));
		expect(block && is_aligned(block, page), "valloc(%zu) returned %p", sizes[i], (void *)block);
		expect(errno == UNTOUCHED_ERRNO, "valloc(%zu) set errno to %d", sizes[i], errno);
		expect(malloc_usable_size(block) >= sizes[i], "valloc(%zu) is too small", sizes[i]);
		if (block)
			memset(block, 1, sizes[i]);
		free(block);
	}
	for (size_t i = 0; i < impossible_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(valloc(hide_size(impossible_sizes[i])));
		expect(block == NULL && errno == ENOMEM, "valloc(%zu): %p, errno %d", impossible_sizes[i], block, errno);
	}
}

static void pvalloc_gives_whole_pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 8192, 100000, 3 << 20};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
		size_t rounded = (sizes[i] + page - 1) / page * page;
		errno = UNTOUCHED_ERRNO;
		char *block = hide_pointer(pvalloc(hide_size(sizes[i])));
		expect(block && is_aligned(block, page), "pvalloc(%zu) returned %p", sizes[i], (void *)block);
		expect(errno == UNTOUCHED_ERRNO, "pvalloc(%zu) set errno to %d", sizes[i], errno);
		expect(malloc_usable_size(block) >= rounded, "pvalloc(%zu): usable size %zu", sizes[i],
			malloc_usable_size(block));
		if (block)
			memset(block, 1, rounded);
		free(block);
	}
	for (size_t i = 0; i < impossible_size_count; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(pvalloc(hide_size(impossible_sizes[i])));
		expect(block == NULL && errno == ENOMEM, "pvalloc(%zu): %p, errno %d", impossible_sizes[i], block, errno);
	}
}

void conformance_aligned(void)
{
	CHECK(posix_memalign_refuses_bad_alignments);
	CHECK(posix_memalign_without_memory);
	CHECK(posix_memalign_of_zero_bytes);
	CHECK(every_alignment_to_1_gib);
	CHECK(aligned_blocks_do_not_overlap);
	CHECK(memalign_rounds_alignment_up);
	CHECK(aligned_alloc_of_no_power_of_two);
	CHECK(aligned_alloc_of_any_size);
	CHECK(alignment_beyond_reason);
	CHECK(aligned_impossible_sizes_give_enomem);
	CHECK(valloc_is_page_aligned);
	CHECK(pvalloc_gives_whole_pages);
}

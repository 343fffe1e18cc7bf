/* malloc_usable_size, malloc_trim, mallinfo, mallinfo2, malloc_stats, malloc_info, mallopt. mallopt comes last, because it
   changes how glibc's malloc works. */
#define _GNU_SOURCE
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void usable_size_of_null_is_zero(void)
{
	expect(malloc_usable_size(hide_pointer(NULL)) == 0, "malloc_usable_size(NULL) is not 0");
}

/* Three blocks of a size, written to the last usable byte, leave each other alone. */
static void check_usable_size(size_t size)
{
	unsigned char *blocks[3];
	size_t usable[3];
	for (unsigned i = 0; i < 3; ++i) {
		blocks[i] = hide_pointer(malloc(hide_size(size)));
		if (!expect(blocks[i] != NULL, "malloc(%zu) failed", size))
			return;
		errno = UNTOUCHED_ERRNO;
		usable[i] = malloc_usable_size(blocks[i]);
		expect(errno == UNTOUCHED_ERRNO, "malloc_usable_size set errno to %d", errno);
		expect(usable[i] >= size, "usable size %zu of %zu", usable[i], size);
		fill_pattern(blocks[i], usable[i], i);
	}
	for (unsigned i = 0; i < 3; ++i) {
		expect(malloc_usable_size(blocks[i]) == usable[i], "the usable size of %zu bytes changes", size);
		expect(first_difference(blocks[i], usable[i], i) == usable[i], "usable bytes of blocks of %zu overlap", size);
	}
	for (unsigned i = 0; i < 3; ++i)
		free(blocks[i]);
}

static void usable_size_is_writable(void)
{
	for (size_t size = 0; size <= 1100; ++size)
		check_usable_size(size);
	size_t sizes[800];
	size_t count = boundary_sizes(sizes, 800, 22);
	for (size_t i = 0; i < count; ++i)
		if (sizes[i] > 1100)
			check_usable_size(sizes[i]);
}

static void usable_size_of_aligned_blocks(void)
{
	for (unsigned shift = 4; shift <= 20; ++shift)
		for (size_t size = 1; size <= 1 << 20; size = size * 5 + 3) {
			char *block = hide_pointer(memalign((size_t)1 << shift, size));
			char *next = hide_pointer(memalign((size_t)1 << shift, size));
			if (!expect(block && next, "memalign(2^%u, %zu) failed", shift, size))
				return;
			size_t usable = malloc_usable_size(block);
			expect(usable >= size, "memalign(2^%u, %zu): usable size %zu", shift, size, usable);
			fill_pattern(next, size, 2);
			memset(block, 0x77, usable);
			expect(first_difference(next, size, 2) == size, "usable bytes of memalign(2^%u, %zu) overlap", shift,
				size);
			free(block);
			free(next);
		}
}

/* Frees 64 MiB of small blocks, then trims. When resident memory fell, malloc_trim must have said so. */
static void trim_says_what_it_did(void)
{
	enum { COUNT = 32768 };
	static char *blocks[COUNT];
	for (size_t i = 0; i < COUNT; ++i) {
		blocks[i] = hide_pointer(malloc(2000));
		if (expect(blocks[i] != NULL, "malloc(2000) failed"))
			memset(blocks[i], 1, 2000);
	}
	for (size_t i = 0; i < COUNT; ++i)
		free(blocks[i]);
	size_t before = resident_bytes();
	errno = UNTOUCHED_ERRNO;
	int result = malloc_trim(0);
	int error = errno;
	size_t after = resident_bytes();
	expect(error == UNTOUCHED_ERRNO || error == ENOMEM, "malloc_trim set errno to %d", error);
	expect(result == 0 || result == 1, "malloc_trim(0) returned %d", result);
	expect(result == 1 || before < after + (2 << 20), "malloc_trim(0) returned 0 and released %zu bytes", before - after);
	expect(after < (32 << 20) || after + (32 << 20) < before, "%zu bytes resident after malloc_trim(0)", after);
	result = malloc_trim((size_t)1 << 30);
	expect(result == 0 || result == 1, "malloc_trim(1 GiB) returned %d", result);
}

static size_t bytes_in_use(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

/* Small blocks count in uordblks; large ones may count there or, if mapped on their own, in hblkhd. */
static void check_mallinfo2_counts(size_t size, size_t count)
{
	static void *blocks[1000];
	size_t most = bytes_by_profile(size) > 2 * size ? bytes_by_profile(size) : 2 * size;
	size_t before = bytes_in_use();
	for (size_t i = 0; i < count; ++i)
		blocks[i] = hide_pointer(malloc(size));
	struct mallinfo2 info = mallinfo2();
	size_t during = bytes_in_use();
	expect(during >= before + size * count, "%zu blocks of %zu bytes: in use went from %zu to %zu", count, size, before,
		during);
	expect(during <= before + most * count + (1 << 20), "%zu blocks of %zu bytes: in use went from %zu to %zu", count,
		size, before, during);
	expect(info.uordblks <= info.arena + info.hblkhd, "uordblks %zu, arena %zu, hblkhd %zu", info.uordblks, info.arena,
		info.hblkhd);
	for (size_t i = 0; i < count; ++i)
		free(blocks[i]);
	size_t after = bytes_in_use();
	expect(after < during && after - before <= size * count / 2 + (1 << 20),
		"after freeing %zu blocks of %zu bytes: in use %zu, before %zu", count, size, after, before);
}

static void mallinfo2_counts_what_is_in_use(void)
{
	check_mallinfo2_counts(100, 1000);
	check_mallinfo2_counts(5000, 1000);
	check_mallinfo2_counts(100000, 200);
	check_mallinfo2_counts(5 << 20, 10);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void mallinfo_agrees_with_mallinfo2(void)
{
	struct mallinfo narrow = mallinfo();
	struct mallinfo2 wide = mallinfo2();
	expect((unsigned)narrow.arena == (unsigned)wide.arena, "arena %d, %zu", narrow.arena, wide.arena);
	expect((unsigned)narrow.hblkhd == (unsigned)wide.hblkhd, "hblkhd %d, %zu", narrow.hblkhd, wide.hblkhd);
	expect((unsigned)narrow.hblks == (unsigned)wide.hblks, "hblks %d, %zu", narrow.hblks, wide.hblks);
	expect((unsigned)narrow.uordblks == (unsigned)wide.uordblks, "uordblks %d, %zu", narrow.uordblks, wide.uordblks);
	expect((unsigned)narrow.fordblks == (unsigned)wide.fordblks, "fordblks %d, %zu", narrow.fordblks, wide.fordblks);
	expect((unsigned)narrow.keepcost == (unsigned)wide.keepcost, "keepcost %d, %zu", narrow.keepcost, wide.keepcost);
}
#pragma GCC diagnostic pop

/* The text of malloc_stats, caught at file descriptor 2, with standard error in the mode given. */
static size_t caught_stats(int buffering)
{
	FILE *file = tmpfile();
	if (!file)
		return SIZE_MAX;
	setvbuf(stderr, NULL, buffering, BUFSIZ);
	int saved = dup(2);
	dup2(fileno(file), 2);
	malloc_stats();
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	setvbuf(stderr, NULL, _IONBF, 0);
	fseek(file, 0, SEEK_END);
	long length = ftell(file);
	fclose(file);
	return (size_t)length;
}

static void malloc_stats_prints_to_stderr(void)
{
	size_t length = caught_stats(_IONBF);
	if (length == SIZE_MAX) {
		check_skip("no temporary file");
		return;
	}
	expect(length > 20, "malloc_stats wrote %zu bytes to stderr", length);
	expect(caught_stats(_IOFBF) > 20, "malloc_stats does not write to a buffered stderr");
}

static void malloc_info_writes_xml(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	errno = UNTOUCHED_ERRNO;
	int result = malloc_info(0, stream);
	expect(result == 0, "malloc_info(0) returned %d", result);
	fclose(stream);
	expect(length > 20 && text && strncmp(text, "<malloc version=", 16) == 0, "malloc_info wrote %zu bytes: %.40s", length,
		text ? text : "");
	expect(text && strstr(text, "</malloc>"), "malloc_info does not close <malloc>");
	free(text);
}

static void malloc_info_refuses_options(void)
{
	FILE *stream = tmpfile();
	if (!stream) {
		check_skip("no temporary file");
		return;
	}
	expect(malloc_info(1, stream) == EINVAL, "malloc_info(1) did not return EINVAL");
	expect(malloc_info(-1, stream) == EINVAL, "malloc_info(-1) did not return EINVAL");
	expect(ftell(stream) == 0, "malloc_info(1) wrote something");
	fclose(stream);
}

static void mallopt_knows_its_parameters(void)
{
	static const int parameters[][2] = {
		{M_MXFAST, 64},
		{M_TRIM_THRESHOLD, 128 << 10},
		{M_TOP_PAD, 128 << 10},
		{M_MMAP_THRESHOLD, 128 << 10},
		{M_MMAP_MAX, 65536},
		{M_CHECK_ACTION, 3},
		{M_PERTURB, 0},
		{M_ARENA_TEST, 8},
		{M_ARENA_MAX, 8},
	};
	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; ++i) {
		int result = mallopt(parameters[i][0], parameters[i][1]);
		expect(result == 1, "mallopt(%d, %d) returned %d", parameters[i][0], parameters[i][1], result);
	}
	/* glibc takes no notice of a parameter that it does not know and returns 1; its manual says 0. */
	int result = mallopt(-12345, 1);
	expect(result == 0 || result == 1, "mallopt(-12345, 1) returned %d", result);
	void *block = hide_pointer(malloc(100));
	expect(block != NULL, "malloc fails after mallopt");
	free(block);
}

void conformance_report(void)
{
	CHECK(usable_size_of_null_is_zero);
	CHECK(usable_size_is_writable);
	CHECK(usable_size_of_aligned_blocks);
	CHECK(mallinfo2_counts_what_is_in_use);
	CHECK(mallinfo_agrees_with_mallinfo2);
	CHECK(trim_says_what_it_did);
	CHECK(malloc_stats_prints_to_stderr);
	CHECK(malloc_info_writes_xml);
	CHECK(malloc_info_refuses_options);
	CHECK(mallopt_knows_its_parameters);
}

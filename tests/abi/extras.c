/* What tiermalloc offers beyond the C library's interface: recallocarray, free_sized, free_aligned_sized, sdallocx, nallocx,
   cfree, and its own functions. Linked with the library through its public header. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiermalloc/tiermalloc.h>
#include <unistd.h>

enum { UNTOUCHED_ERRNO = 4242 };

static void version_is_told(void)
{
	const char *version = tiermalloc_version();
	unsigned major = 0, minor = 0;
	expect(version && sscanf(version, "%u.%u", &major, &minor) == 2, "tiermalloc_version() returned %s",
		version ? version : "NULL");
	expect(version == tiermalloc_version() || strcmp(version, tiermalloc_version()) == 0, "the version changes");
}

static void recallocarray_of_null_is_calloc(void)
{
	for (size_t count = 1; count <= 100000; count *= 10) {
		errno = UNTOUCHED_ERRNO;
		void *block = hide_pointer(recallocarray(NULL, 0, count, 24));
		expect(block && first_nonzero(block, count * 24) == count * 24, "recallocarray(NULL, 0, %zu, 24) is not zero",
			count);
		expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
		if (block)
			memset(block, 0x55, count * 24);
		free(block);
		block = hide_pointer(recallocarray(NULL, 12345, count, 24));
		expect(block && first_nonzero(block, count * 24) == count * 24, "the old count is looked at without a block");
		free(block);
	}
	void *block = hide_pointer(recallocarray(NULL, 0, hide_size(0), 24));
	expect(block != NULL, "recallocarray(NULL, 0, 0, 24) returned NULL");
	free(block);
}

/* Everything up to the usable size is dirty before the block grows, as after a shrink by a careless caller. */
static void recallocarray_zeroes_what_grows(void)
{
	static const size_t counts[][2] = {{1, 2}, {3, 4}, {10, 11}, {10, 12}, {10, 100}, {100, 5000}, {5000, 5001},
		{5000, 200000}, {200000, 200001}, {200000, 1000000}};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i)
		for (size_t size = 1; size <= 24; size += 23) {
			size_t old_length = counts[i][0] * size, new_length = counts[i][1] * size;
			char *block = hide_pointer(malloc(old_length));
			memset(block, 0xee, malloc_usable_size(block));
			fill_pattern(block, old_length, 3);
			errno = UNTOUCHED_ERRNO;
			char *grown = hide_pointer(recallocarray(block, counts[i][0], counts[i][1], size));
			expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
			if (!expect(grown != NULL, "recallocarray to %zu failed", new_length))
				continue;
			expect(first_difference(grown, old_length, 3) == old_length, "growing %zu to %zu lost bytes", old_length,
				new_length);
			size_t clear = first_nonzero(grown + old_length, new_length - old_length);
			expect(clear == new_length - old_length, "growing %zu to %zu: byte %zu is not zero", old_length,
				new_length, old_length + clear);
			free(grown);
		}
}

/* What is cut off must not stay readable: neither behind the block if it stayed, nor in the block given up. */
static void recallocarray_clears_what_it_cuts_off(void)
{
	static const size_t counts[][2] = {{100, 99}, {100, 60}, {100, 1}, {5000, 4999}, {5000, 100}, {70000, 69000}, {70000, 10},
		{300000, 299000}, {300000, 200}};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i) {
		size_t old_length = counts[i][0], new_length = counts[i][1];
		char *block = hide_pointer(malloc(old_length));
		uintptr_t old_address = (uintptr_t)block;
		fill_pattern(block, old_length, 5);
		char *shrunk = hide_pointer(recallocarray(block, old_length, new_length, 1));
		if (!expect(shrunk != NULL, "recallocarray to %zu failed", new_length))
			continue;
		expect(first_difference(shrunk, new_length, 5) == new_length, "shrinking %zu to %zu lost bytes", old_length,
			new_length);
		size_t usable = malloc_usable_size(shrunk);
		if ((uintptr_t)shrunk == old_address && usable > new_length) {
			size_t rest = (usable < old_length ? usable : old_length) - new_length;
			expect(first_nonzero(shrunk + new_length, rest) == rest,
				"shrinking %zu to %zu left bytes behind the block", old_length, new_length);
		}
		char *again = hide_pointer(malloc(old_length));
		if ((uintptr_t)again == old_address && again != shrunk)
			expect(first_nonzero(again, old_length) == old_length, "shrinking %zu to %zu left bytes in the old block",
				old_length, new_length);
		free(again);
		free(shrunk);
	}
}

static void recallocarray_refuses_overflow(void)
{
	char *block = hide_pointer(malloc(100));
	fill_pattern(block, 100, 6);
	static const size_t factors[][2] = {
		{SIZE_MAX, 2}, {2, SIZE_MAX}, {(size_t)1 << 32, (size_t)1 << 32}, {1, SIZE_MAX}, {1, PTRDIFF_MAX}};
	for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
		errno = UNTOUCHED_ERRNO;
		void *result = hide_pointer(recallocarray(block, 0, hide_size(factors[i][0]), hide_size(factors[i][1])));
		expect(result == NULL && errno == ENOMEM, "recallocarray(p, 0, %zu, %zu): %p, errno %d", factors[i][0],
			factors[i][1], result, errno);
	}
	errno = UNTOUCHED_ERRNO;
	void *result = hide_pointer(recallocarray(block, hide_size(SIZE_MAX), 1, hide_size(16)));
	expect(result == NULL && errno == EINVAL, "an old count that overflows: %p, errno %d", result, errno);
	expect(first_difference(block, 100, 6) == 100, "the failing recallocarray changed the block");
	free(block);
}

static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 24, 33, 40, 100, 1000, 1024, 4096, 5000, 32768, 65535, 65536, 65537,
	70000, 100000, 200000, 262144, 500000, 1 << 20, (1 << 20) + 1, 3 << 20, 10 << 20};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

/* Many at once, so that caches are flushed and the sizes are checked there too. */
static void free_sized_takes_the_size_asked_for(void)
{
	static char *blocks[3000];
	for (size_t i = 0; i < SIZE_COUNT; ++i) {
		size_t count = sizes[i] <= 1000 ? 3000 : 10;
		for (int calloced = 0; calloced < 2; ++calloced) {
			for (size_t j = 0; j < count; ++j)
				blocks[j] = hide_pointer(calloced ? calloc(1, sizes[i]) : malloc(sizes[i]));
			errno = UNTOUCHED_ERRNO;
			for (size_t j = 0; j < count; ++j)
				free_sized(blocks[j], sizes[i]);
			expect(errno == UNTOUCHED_ERRNO, "free_sized of %zu set errno to %d", sizes[i], errno);
		}
		char *block = hide_pointer(realloc(malloc(50), sizes[i] + 1));
		free_sized(block, sizes[i] + 1);
	}
	free_sized(NULL, 0);
	free_sized(NULL, 100);
}

/* A block that has been resized may lie in a larger class than a new one of its size, and is freed by the size it has now. */
static void free_sized_takes_what_realloc_left(void)
{
	for (size_t from = 1; from < 300000; from += from / 5 + 1) {
		for (size_t to = 1; to < 300000; to += to / 7 + 1) {
			char *block = hide_pointer(realloc(hide_pointer(malloc(from)), to));
			block[to - 1] = 1;
			if (to % 2 == 0)
				free_sized(block, to);
			else
				sdallocx(block, to, 0);
		}
	}
}

static void free_aligned_sized_takes_what_was_asked_for(void)
{
	for (unsigned shift = 0; shift <= 22; ++shift)
		for (size_t i = 0; i < SIZE_COUNT; ++i) {
			size_t alignment = (size_t)1 << shift;
			void *blocks[20];
			for (size_t j = 0; j < 20; ++j)
				blocks[j] = hide_pointer(aligned_alloc(alignment, sizes[i]));
			expect(blocks[0] && is_aligned(blocks[0], alignment), "aligned_alloc(%zu, %zu)", alignment, sizes[i]);
			errno = UNTOUCHED_ERRNO;
			for (size_t j = 0; j < 20; ++j)
				free_aligned_sized(blocks[j], alignment, sizes[i]);
			expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
		}
	free_aligned_sized(NULL, 64, 128);
}

/* jemalloc's interface: the low bits of the flags are the logarithm of the alignment. */
static void sdallocx_takes_size_and_alignment(void)
{
	for (size_t i = 0; i < SIZE_COUNT; ++i) {
		for (size_t j = 0; j < 100; ++j)
			sdallocx(hide_pointer(malloc(sizes[i] + 1)), sizes[i] + 1, 0);
		for (int shift = 4; shift <= 16; ++shift)
			for (size_t j = 0; j < 10; ++j)
				sdallocx(hide_pointer(aligned_alloc((size_t)1 << shift, sizes[i])), sizes[i], shift);
	}
}

/* A size between the one asked for and the usable one is as good (jemalloc says so). */
static void sdallocx_takes_the_usable_size(void)
{
	for (size_t i = 0; i < SIZE_COUNT; ++i) {
		void *block = hide_pointer(malloc(sizes[i] + 1));
		sdallocx(block, malloc_usable_size(block), 0);
		block = hide_pointer(malloc(sizes[i] + 1));
		sdallocx(block, nallocx(sizes[i] + 1, 0), 0);
	}
}

static void nallocx_tells_the_usable_size(void)
{
	for (size_t i = 1; i < SIZE_COUNT; ++i) {
		void *block = hide_pointer(malloc(sizes[i]));
		expect(nallocx(sizes[i], 0) == malloc_usable_size(block), "nallocx(%zu, 0) is %zu, the usable size is %zu",
			sizes[i], nallocx(sizes[i], 0), malloc_usable_size(block));
		free(block);
		for (int shift = 3; shift <= 20; ++shift)
			expect(nallocx(sizes[i], shift) >= sizes[i], "nallocx(%zu, %d) is %zu", sizes[i], shift,
				nallocx(sizes[i], shift));
		for (int shift = 4; shift <= 12; ++shift) {
			block = hide_pointer(aligned_alloc((size_t)1 << shift, sizes[i]));
			expect(nallocx(sizes[i], shift) == malloc_usable_size(block),
				"nallocx(%zu, %d) is %zu, the usable size is %zu", sizes[i], shift, nallocx(sizes[i], shift),
				malloc_usable_size(block));
			free(block);
		}
	}
	expect(nallocx(hide_size(SIZE_MAX), 0) == 0, "nallocx(SIZE_MAX, 0) is %zu", nallocx(hide_size(SIZE_MAX), 0));
	expect(nallocx(hide_size((size_t)PTRDIFF_MAX + 1), 0) == 0, "nallocx(PTRDIFF_MAX + 1, 0) is not 0");
}

/* What programs linked before glibc 2.26 do is in old_program.c; here only who looks the name up. */
static void cfree_is_ours(void)
{
	Dl_info malloc_info = {0}, cfree_info = {0};
	if (!dladdr(dlsym(RTLD_DEFAULT, "malloc"), &malloc_info) || !strstr(malloc_info.dli_fname, ".so")) {
		check_skip("linked from the archive, the program exports no cfree");
		return;
	}
	union {
		void *object;
		void (*function)(void *);
	} ours;
	ours.object = dlsym(RTLD_DEFAULT, "cfree");
	if (!expect(ours.object != NULL, "there is no cfree"))
		return;
	dladdr(ours.object, &cfree_info);
	expect(cfree_info.dli_fbase == malloc_info.dli_fbase, "cfree comes from %s, malloc from %s", cfree_info.dli_fname,
		malloc_info.dli_fname);
	errno = UNTOUCHED_ERRNO;
	ours.function(hide_pointer(malloc(100)));
	ours.function(hide_pointer(malloc(1000000)));
	ours.function(NULL);
	expect(errno == UNTOUCHED_ERRNO, "cfree set errno to %d", errno);
}

static void mallopt_refuses_what_it_does_not_know(void)
{
	expect(mallopt(-12345, 1) == 0, "mallopt(-12345, 1) did not return 0");
	expect(mallopt(12345, 1) == 0, "mallopt(12345, 1) did not return 0");
}

/* The first trim leaves nothing for a second one. */
static void trim_returns_the_truth(void)
{
	static char *blocks[4000];
	for (size_t i = 0; i < 4000; ++i) {
		blocks[i] = hide_pointer(malloc(5000));
		memset(blocks[i], 1, 5000);
	}
	for (size_t i = 0; i < 4000; ++i)
		free(blocks[i]);
	malloc_trim(0);
	size_t before = resident_bytes();
	int result = malloc_trim(0);
	size_t after = resident_bytes();
	expect(result == 0 || after < before, "a second malloc_trim(0) returned %d and released nothing (%zu, %zu bytes)", result,
		before, after);
}

static void an_idle_thread_works_on(void)
{
	char *kept = hide_pointer(malloc(100));
	fill_pattern(kept, 100, 1);
	for (int round = 0; round < 100; ++round) {
		void *blocks[50];
		for (size_t i = 0; i < 50; ++i)
			blocks[i] = hide_pointer(malloc(i * 37 + 1));
		if (round % 2)
			tiermalloc_thread_idle();
		for (size_t i = 0; i < 50; ++i)
			free(blocks[i]);
		errno = UNTOUCHED_ERRNO;
		tiermalloc_thread_idle();
		expect(errno == UNTOUCHED_ERRNO, "tiermalloc_thread_idle set errno to %d", errno);
	}
	expect(first_difference(kept, 100, 1) == 100, "a live block has changed");
	free(kept);
}

static void *volatile held;

/* Takes it, and lets it go if it is there. */
static bool can_have(size_t bytes)
{
	held = malloc(bytes);
	free(held);
	return held != NULL;
}

static void impossible_limits_are_refused(void)
{
	bool (*const setters[])(size_t) = {tiermalloc_retain, tiermalloc_release_rate, tiermalloc_soft_limit,
		tiermalloc_hard_limit, tiermalloc_decay_ms, tiermalloc_peak_ms, tiermalloc_trend_ms};
	for (size_t i = 0; i < sizeof setters / sizeof *setters; ++i) {
		errno = UNTOUCHED_ERRNO;
		expect(!setters[i](SIZE_MAX) && errno == EINVAL, "setter %zu takes SIZE_MAX, or sets errno to %d", i, errno);
		expect(!setters[i]((size_t)PTRDIFF_MAX + 1) && errno == EINVAL, "setter %zu takes PTRDIFF_MAX + 1", i);
	}
	expect(!tiermalloc_decay_ms(24 * 60 * 60 * 1000 + 1) && errno == EINVAL, "a decay of more than a day");
	errno = UNTOUCHED_ERRNO;
	expect(tiermalloc_decay_ms(24 * 60 * 60 * 1000) && tiermalloc_decay_ms(0) && tiermalloc_decay_ms(1000), "decay");
	expect(tiermalloc_peak_ms(0) && tiermalloc_peak_ms(8000) && tiermalloc_trend_ms(0) && tiermalloc_trend_ms(300000), "times");
	expect(tiermalloc_release_rate(1 << 20) && tiermalloc_release_rate(0), "release rate");
	expect(tiermalloc_retain(0) && tiermalloc_retain(1 << 20), "retain");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
}

static void beyond_the_hard_limit_nothing_is_to_be_had(void)
{
	size_t counted = tiermalloc_counted_bytes();
	char *block = hide_pointer(malloc(1000000));
	errno = UNTOUCHED_ERRNO;
	expect(tiermalloc_hard_limit(counted + (50 << 20)), "no limit");
	expect(can_have(40 << 20), "40 of 50 MiB are not to be had");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
	expect(!can_have(60 << 20) && errno == ENOMEM, "60 of 50 MiB, errno %d", errno);
	errno = UNTOUCHED_ERRNO;
	expect(!(held = calloc(60, 1 << 20)) && errno == ENOMEM, "calloc of 60 of 50 MiB, errno %d", errno);
	errno = UNTOUCHED_ERRNO;
	expect(!(held = realloc(block, 60 << 20)) && errno == ENOMEM, "realloc to 60 of 50 MiB, errno %d", errno);
	errno = UNTOUCHED_ERRNO;
	void *aligned = NULL;
	expect(posix_memalign(&aligned, 4096, 60 << 20) == ENOMEM && !aligned && errno == UNTOUCHED_ERRNO, "posix_memalign");
	expect(!(held = aligned_alloc(1 << 20, 60 << 20)) && errno == ENOMEM, "aligned_alloc");
	expect(tiermalloc_counted_bytes() <= counted + (50 << 20), "more is counted than allowed");
	/* Below what is in use. */
	expect(tiermalloc_hard_limit(1), "no limit");
	expect(!can_have(3 << 20) && errno == ENOMEM, "3 MiB beyond a limit of nothing");
	free(block);
	expect(tiermalloc_hard_limit(0) && can_have(60 << 20), "the limit stays");
}

static void what_is_free_above_the_soft_limit_goes(void)
{
	size_t counted = tiermalloc_counted_bytes();
	expect(tiermalloc_retain(200 << 20), "retain");
	char *block = hide_pointer(malloc(100 << 20));
	memset(block, 1, 100 << 20);
	free(block);
	size_t kept = resident_bytes();
	expect(tiermalloc_counted_bytes() > (100 << 20) && kept > (100 << 20), "100 MiB are not kept");
	expect(tiermalloc_soft_limit(counted + (20 << 20)), "no limit");
	expect(tiermalloc_counted_bytes() <= counted + (20 << 20), "%zu bytes count", tiermalloc_counted_bytes());
	expect(resident_bytes() + (30 << 20) < kept, "%zu bytes are resident of %zu", resident_bytes(), kept);
	expect(can_have(100 << 20), "the soft limit is hard");
	expect(tiermalloc_counted_bytes() <= counted + (20 << 20), "%zu bytes count", tiermalloc_counted_bytes());
	expect(tiermalloc_soft_limit(0) && tiermalloc_retain(1 << 20), "no limit");
}

/* That the thread runs is for the traps to see. A static program without threads has none. */
static void background_is_switched(void)
{
	errno = UNTOUCHED_ERRNO;
	bool on = tiermalloc_background(true);
	expect(on ? errno == UNTOUCHED_ERRNO : errno == ENOSYS, "errno was set to %d", errno);
	errno = UNTOUCHED_ERRNO;
	expect(tiermalloc_background(on), "a second time");
	expect(tiermalloc_background(false) && tiermalloc_background(false), "off");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
}

/* Where the file goes: removed by whoever has looked at it. */
static const char *recording_path(void)
{
	static char path[100];
	snprintf(path, sizeof path, "/tmp/tiermalloc-extras-%d", (int)getpid());
	return path;
}

/* Finds the line of a size in the file: its allocations and what is live of them. False: there is none. */
static bool read_recorded(size_t size, unsigned long *allocations, unsigned long *live)
{
	FILE *file = fopen(recording_path(), "r");
	char line[300];
	size_t found = 0;
	if (!expect(file != NULL, "there is no file: %s", strerror(errno)))
		return false;
	while (found != size && fgets(line, sizeof line, file))
		if (sscanf(line, "%zu 1 %lu %lu ", &found, allocations, live) != 3)
			found = 0;
	fclose(file);
	return found == size;
}

static void expect_recorded(size_t size, unsigned long allocations, unsigned long live)
{
	unsigned long found_allocations = 0, found_live = 0;
	if (!read_recorded(size, &found_allocations, &found_live))
		found_allocations = found_live = 0;
	expect(found_allocations == allocations && found_live == live,
		"%zu bytes: %lu allocations, %lu live, not %lu and %lu", size, found_allocations, found_live, allocations, live);
}

static void *block_of_recording;

static void recording_cannot_be_written_before_it_was_started(void)
{
	errno = UNTOUCHED_ERRNO;
	expect(tiermalloc_record_write(recording_path()) == EINVAL, "write does not return EINVAL");
	expect(tiermalloc_record_write(NULL) == EINVAL, "write to nothing does not return EINVAL");
	expect(tiermalloc_record_stop() == EALREADY, "stop does not return EALREADY");
	expect(tiermalloc_record_start("") == ENAMETOOLONG, "start with an empty path does not return ENAMETOOLONG");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
}

static void recording_counts_from_start_to_stop(void)
{
	free(hide_pointer(malloc(77777)));
	errno = UNTOUCHED_ERRNO;
	expect(tiermalloc_record_start(recording_path()) == 0, "start failed");
	expect(tiermalloc_record_start(recording_path()) == EALREADY, "it is not on");
	for (int i = 0; i < 10; ++i)
		free(hide_pointer(malloc(77777)));
	block_of_recording = hide_pointer(malloc(77777));
	expect(tiermalloc_record_write(NULL) == 0, "write failed");
	expect(errno == UNTOUCHED_ERRNO, "errno was set to %d", errno);
	expect_recorded(77784, 11, 1);
	expect(tiermalloc_record_stop() == 0, "stop failed");
	expect(tiermalloc_record_stop() == EALREADY, "it is still on");
	free(hide_pointer(malloc(77777)));
	free(block_of_recording);
	expect(tiermalloc_record_write(NULL) == 0, "write after the stop failed");
	expect_recorded(77784, 11, 1);
}

static void recording_begins_anew(void)
{
	expect(tiermalloc_record_start(recording_path()) == 0, "start failed");
	free(hide_pointer(calloc(3, 22222)));
	expect(tiermalloc_record_write(recording_path()) == 0, "write failed");
	expect_recorded(77784, 0, 0);
	expect_recorded(66672, 1, 0);
	expect(tiermalloc_record_write("/nowhere/at/all") == ENOENT, "write to nowhere does not return ENOENT");
	expect(tiermalloc_record_stop() == 0, "stop failed");
	unlink(recording_path());
}

int main(int argument_count, char **arguments)
{
	if (!check_start(argument_count, arguments))
		return 2;
	CHECK(version_is_told);
	CHECK(recallocarray_of_null_is_calloc);
	CHECK(recallocarray_zeroes_what_grows);
	CHECK(recallocarray_clears_what_it_cuts_off);
	CHECK(recallocarray_refuses_overflow);
	CHECK(free_sized_takes_the_size_asked_for);
	CHECK(free_sized_takes_what_realloc_left);
	CHECK(free_aligned_sized_takes_what_was_asked_for);
	CHECK(sdallocx_takes_size_and_alignment);
	CHECK(sdallocx_takes_the_usable_size);
	CHECK(nallocx_tells_the_usable_size);
	CHECK(cfree_is_ours);
	CHECK(mallopt_refuses_what_it_does_not_know);
	CHECK(trim_returns_the_truth);
	CHECK(an_idle_thread_works_on);
	CHECK(impossible_limits_are_refused);
	CHECK(beyond_the_hard_limit_nothing_is_to_be_had);
	CHECK(what_is_free_above_the_soft_limit_goes);
	CHECK(background_is_switched);
	CHECK(recording_cannot_be_written_before_it_was_started);
	CHECK(recording_counts_from_start_to_stop);
	CHECK(recording_begins_anew);
	return check_finish();
}

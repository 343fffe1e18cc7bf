/*
 * What the unit tests of the upper tiers share beyond support.h: the public functions under their prefix, blocks whose contents can be
 * checked, the heap's accounting, threads, and children that have to be stopped with a message.
 *
 * cmocka's assertions jump back into its runner: only the thread that runs the tests may use them, and no child. REQUIRE stops the
 * process, and can be used anywhere. Include this first.
 */
#ifndef UNIT_HEAP_TEST_H
#define UNIT_HEAP_TEST_H

#include "support.h"

#include <pthread.h>

#include "fast_path.h"
#include "observe/statistics.h"
#include "observe/validate.h"
#include "tiermalloc/tiermalloc.h"

void *tm_malloc(size_t size);
void tm_free(void *pointer);
void *tm_calloc(size_t count, size_t size);
void *tm_realloc(void *pointer, size_t size);
void *tm_reallocarray(void *pointer, size_t count, size_t size);
int tm_posix_memalign(void **result, size_t alignment, size_t size);
void *tm_aligned_alloc(size_t alignment, size_t size);
void *tm_memalign(size_t alignment, size_t size);
size_t tm_malloc_usable_size(void *pointer);
int tm_malloc_trim(size_t pad);

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

#define REQUIRE(condition, ...)                                                                                                  \
	do {                                                                                                                     \
		if (!(condition)) {                                                                                              \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                          \
			fprintf(stderr, __VA_ARGS__);                                                                            \
			fputc('\n', stderr);                                                                                     \
			abort();                                                                                                 \
		}                                                                                                                \
	} while (0)

/*
 * The class of requests of `size`, or the largest there is: for tests that want some class of about this size, under any profile. Under
 * the default one, and any other that has the size, it is a class of just this size.
 */
static inline unsigned class_near(size_t size)
{
	return class_of_size(minimum(size, LARGEST_CLASS_SIZE));
}

/* Of validators, which return what is wrong. */
#define REQUIRE_VALID(validator)                                                                                                 \
	do {                                                                                                                     \
		const char *wrong = (validator)();                                                                               \
		REQUIRE(wrong == NULL, "%s", wrong);                                                                             \
	} while (0)

/* A block with contents that no other block has. Small ones are written whole, large ones in about 250 places and at the end. */
struct block {
	unsigned char *start;
	size_t size;
	uint64_t key;
};

static inline size_t pattern_step(size_t size)
{
	return size <= 2 * KIB ? 1 : size / 251;
}

static inline unsigned char pattern_byte(uint64_t key, size_t at)
{
	return (unsigned char)((key >> at % 8 * 8) + at / 8);
}

static inline void block_fill(const struct block *block)
{
	for (size_t at = 0; at < block->size; at += pattern_step(block->size))
		block->start[at] = pattern_byte(block->key, at);
	if (block->size != 0)
		block->start[block->size - 1] = pattern_byte(block->key, block->size - 1);
}

static inline void block_check_at(const struct block *block, size_t at)
{
	REQUIRE(block->start[at] == pattern_byte(block->key, at), "block %p of %zu bytes has lost its contents at %zu",
		(void *)block->start, block->size, at);
}

/* Checks what block_fill has written, as far as it lies below `kept`. */
static inline void block_check_below(const struct block *block, size_t kept)
{
	for (size_t at = 0; at < block->size && at < kept; at += pattern_step(block->size))
		block_check_at(block, at);
	if (block->size != 0 && kept >= block->size)
		block_check_at(block, block->size - 1);
}

static inline void block_check(const struct block *block)
{
	block_check_below(block, block->size);
}

/* Looks at every byte of a small block, at about 500 of a large one. */
static inline void require_zero(const void *start, size_t size)
{
	const unsigned char *bytes = start;
	size_t step = size <= 64 * KIB ? 1 : size / 509;

	for (size_t at = 0; at < size; at += step)
		REQUIRE(bytes[at] == 0, "byte %zu of %zu at %p is not zero", at, size, start);
	REQUIRE(size == 0 || bytes[size - 1] == 0, "the last byte of %zu at %p is not zero", size, start);
}

static inline size_t bytes_in_use(void)
{
	struct statistics statistics;

	statistics_read(&statistics);
	return statistics.in_use;
}

/* After everything has been freed: nothing may be in use, and after a trim nothing kept in any tier. */
static inline void require_all_given_back(void)
{
	struct statistics statistics;

	REQUIRE(bytes_in_use() == 0, "%zu bytes are in use after everything has been freed", bytes_in_use());
	tm_malloc_trim(0);
	REQUIRE_VALID(heap_validate);
	statistics_read(&statistics);
	REQUIRE(statistics.in_use == 0 && statistics.cached == 0 && statistics.transfer == 0 && statistics.central_free == 0,
		"after a trim: in use %zu, cached %zu, in transfer caches %zu, free in spans %zu", statistics.in_use,
		statistics.cached, statistics.transfer, statistics.central_free);
	REQUIRE(statistics.pages.used == 0 && statistics.pages.free == 0, "after a trim: pages in use %zu, free %zu",
		statistics.pages.used, statistics.pages.free);
}

static inline pthread_t thread_start(void *(*function)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, function, argument);

	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	return thread;
}

/* Runs `function` in a thread that has not allocated before, to its end. */
static inline void run_in_thread(void *(*function)(void *), void *argument)
{
	int error = pthread_join(thread_start(function, argument), NULL);

	REQUIRE(error == 0, "pthread_join: %s", strerror(error));
}

/* Runs a wrong use in a child, which has to print exactly this line on stderr and abort. */
static inline void expect_stop(void (*wrong_use)(const void *), const void *context, const char *expected)
{
	struct captured captured;

	capture_child(wrong_use, context, &captured);
	assert_string_equal(captured.text, expected);
	assert_aborted(&captured);
}

/* The line for a wrong use, as expect_stop wants it. */
static inline const char *stop_line(char *line, size_t capacity, const char *function, const void *pointer, const char *what)
{
	snprintf(line, capacity, "tiermalloc: %s(%p): %s\n", function, pointer, what);
	return line;
}

#endif

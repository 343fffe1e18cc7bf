/*
 * What the tests of recording share: starting and stopping, the file that is written, its rows as text.
 *
 * The state of recording is the process's: each test starts it from nothing and leaves it off.
 */
#ifndef TIERMALLOC_TESTS_RECORDING_TEST_H
#define TIERMALLOC_TESTS_RECORDING_TEST_H

#include "heap_test.h"
#include "histogram_file.h"

#include "base/os.h"
#include "fast_path.h"
#include "observe/histogram.h"

void tm_free_sized(void *pointer, size_t size);
void tm_free_aligned_sized(void *pointer, size_t alignment, size_t size);

static char folder[] = "/tmp/tiermalloc-recording-XXXXXX";
static char path[sizeof(folder) + 20];

static inline const struct histogram_file *written(void)
{
	assert_int_equal(tm_tiermalloc_record_write(NULL), 0);
	return read_histogram(path);
}

/* After a test that has failed it may still be on. */
static inline void start(void)
{
	tm_tiermalloc_record_stop();
	assert_int_equal(tm_tiermalloc_record_start(path), 0);
}

static inline void stop(void)
{
	assert_int_equal(tm_tiermalloc_record_stop(), 0);
}

/* The row's numbers in the file's order, as a string: a difference is seen at once. */
static inline const char *row_text(const struct histogram_file *file, uint64_t size, uint64_t alignment)
{
	static char text[400];
	const uint64_t *row = find_row(file, size, alignment);
	size_t length = 0;

	for (size_t column = ALLOCATIONS; column < COLUMNS_OF_FILE; column++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   column == ALLOCATIONS ? "%llu" : " %llu", (unsigned long long)row[column]);
	return text;
}

/* What docs/recording.md says: steps of 8 up to 1 MiB, then 16 per doubling; each with its upper bound. */
static inline uint64_t size_of_row(size_t size)
{
	size_t step = 8;

	if (size > MIB)
		step = ((size_t)1 << log2_floor(size - 1)) / 16;
	return round_up(maximum(size, 1), step);
}

static inline int make_folder(void **unused)
{
	(void)unused;
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/histogram", folder);
	return 0;
}

static inline int remove_folder(void **unused)
{
	(void)unused;
	unlink(path);
	return rmdir(folder);
}

#endif

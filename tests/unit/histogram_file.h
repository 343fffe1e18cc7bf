/*
 * Reads a histogram's file strictly, as docs/recording.md describes it: whatever is not exactly as it says there stops the
 * test. Relies on cmocka: for the thread that runs the tests, and not in children.
 */
#ifndef UNIT_HISTOGRAM_FILE_H
#define UNIT_HISTOGRAM_FILE_H

#include "support.h"

enum total {
	PROCESSES,
	THREADS_SEEN,
	MILLISECONDS,
	ALLOCATED_BYTES,
	PEAK_BYTES,
	PEAK_SMALL_REQUESTED,
	PEAK_SMALL_GIVEN,
	PEAK_SMALL_ROOM,
	LIVE_SMALL_REQUESTED,
	LIVE_SMALL_GIVEN,
	LIVE_SMALL_ROOM,
	TOTALS,
};

enum column {
	SIZE,
	ALIGNMENT,
	ALLOCATIONS,
	LIVE,
	PEAK_LIVE,
	MOST_LIVE,
	REMOTE_FREES,
	REALLOCS,
	FREED, /* the first of five lifetimes */
	COLUMNS_OF_FILE = FREED + 5,
};

#define MOST_ROWS 20000

struct histogram_file {
	uint64_t totals[TOTALS];
	size_t count;
	uint64_t rows[MOST_ROWS][COLUMNS_OF_FILE];
};

/* What is still to be read. */
struct reader {
	char *at;
	char *end;
};

static void read_words(struct reader *reader, const char *words)
{
	size_t length = strlen(words);

	assert_true((size_t)(reader->end - reader->at) >= length);
	assert_memory_equal(reader->at, words, length);
	reader->at += length;
}

/* Decimal digits without leading zeros, below 2^63, up to `ending`. */
static uint64_t read_number(struct reader *reader, char ending)
{
	uint64_t number = 0;
	char *start = reader->at;

	for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++)
		number = number * 10 + (uint64_t)(*reader->at - '0');
	assert_in_range(reader->at - start, 1, 19);
	assert_true(start[0] != '0' || reader->at == start + 1);
	assert_true(number <= INT64_MAX);
	assert_true(reader->at < reader->end);
	assert_int_equal(*reader->at++, ending);
	return number;
}

static void read_totals(struct reader *reader, struct histogram_file *file)
{
	static const char *const names[TOTALS] = {
		"processes ",        "threads ",         "milliseconds ",
		"allocated_bytes ",  "peak_bytes ",      "peak_small_requested ",
		"peak_small_given ", "peak_small_room ", "live_small_requested ",
		"live_small_given ", "live_small_room ",
	};

	for (size_t i = 0; i < TOTALS; i++) {
		read_words(reader, names[i]);
		file->totals[i] = read_number(reader, '\n');
	}
}

static void read_rows(struct reader *reader, struct histogram_file *file)
{
	const uint64_t *before = NULL;

	while (reader->at < reader->end && *reader->at != 'e') {
		uint64_t *row = file->rows[file->count];

		assert_true(file->count < MOST_ROWS);
		for (size_t column = 0; column < COLUMNS_OF_FILE; column++)
			row[column] = read_number(reader, column + 1 < COLUMNS_OF_FILE ? ' ' : '\n');
		assert_true(row[ALIGNMENT] == 1 || (row[ALIGNMENT] >= 16 && is_power_of_two(row[ALIGNMENT])));
		assert_true(before == NULL || row[SIZE] > before[SIZE] ||
			    (row[SIZE] == before[SIZE] && row[ALIGNMENT] > before[ALIGNMENT]));
		before = row;
		file->count++;
	}
}

/* Lies in static memory until the next call. */
UNUSED static struct histogram_file *read_histogram(const char *path)
{
	static struct histogram_file file;
	static char text[4 << 20];
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = descriptor < 0 ? -1 : read(descriptor, text, sizeof(text));
	struct reader reader = {text, text + length};

	assert_true(length > 0 && (size_t)length < sizeof(text));
	close(descriptor);
	memset(&file, 0, sizeof(file));
	read_words(&reader, "tiermalloc histogram 1\n");
	read_totals(&reader, &file);
	read_words(&reader, "columns size alignment allocations live peak_live most_live remote_frees reallocs "
			    "freed_64K freed_1M freed_16M freed_256M freed_later\n");
	read_rows(&reader, &file);
	read_words(&reader, "end ");
	assert_int_equal(read_number(&reader, '\n'), file.count);
	assert_ptr_equal(reader.at, reader.end);
	return &file;
}

/* The row of this key; a row of zeros if there is none. */
UNUSED static const uint64_t *find_row(const struct histogram_file *file, uint64_t size, uint64_t alignment)
{
	static const uint64_t none[COLUMNS_OF_FILE];
	size_t first = 0;
	size_t end = file->count;

	while (first < end) {
		size_t middle = (first + end) / 2;
		const uint64_t *row = file->rows[middle];

		if (row[SIZE] == size && row[ALIGNMENT] == alignment)
			return row;
		if (row[SIZE] < size || (row[SIZE] == size && row[ALIGNMENT] < alignment))
			first = middle + 1;
		else
			end = middle;
	}
	return none;
}

UNUSED static uint64_t frees_of(const uint64_t *row)
{
	return row[FREED] + row[FREED + 1] + row[FREED + 2] + row[FREED + 3] + row[FREED + 4];
}

#endif

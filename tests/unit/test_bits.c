/*
 * Bitmaps against arrays of bool: random ranges over lengths that do and don't end with a word, and the cases
 * at the edges of words. Relies on base/bits alone.
 */
#include "support.h"

#include "base/bits.h"

#define MOST_BITS  600
#define MOST_WORDS WORDS_FOR_BITS(MOST_BITS)
#define GUARD      UINT64_C(0xa5c3f00f5a3c0ff1)

static uint64_t state;

struct map {
	uint64_t words[MOST_WORDS + 1]; /* the last one guards */
	bool model[MOST_BITS];
	size_t end;
};

static void start(struct map *map, size_t end, unsigned density)
{
	memset(map, 0, sizeof(*map));
	map->end = end;
	map->words[WORDS_FOR_BITS(end)] = GUARD;
	for (size_t at = 0; at < end; at++) {
		if (random_below(&state, 100) < density) {
			map->model[at] = true;
			bit_set(map->words, at);
		}
	}
}

static void compare(const struct map *map)
{
	for (size_t at = 0; at < map->end; at++)
		assert_int_equal(bit_test(map->words, at), map->model[at]);
	assert_true(map->words[WORDS_FOR_BITS(map->end)] == GUARD);
}

static size_t next_in_model(const struct map *map, size_t from, bool wanted)
{
	while (from < map->end && map->model[from] != wanted)
		from++;
	return from;
}

static size_t longest_in_model(const struct map *map)
{
	size_t longest = 0;
	size_t length = 0;

	for (size_t at = 0; at < map->end; at++) {
		length = map->model[at] ? 0 : length + 1;
		longest = maximum(longest, length);
	}
	return longest;
}

static size_t run_around_in_model(const struct map *map, size_t at)
{
	size_t first = at;

	while (first > 0 && !map->model[first - 1])
		first--;
	return next_in_model(map, at, true) - first;
}

static size_t tightest_in_model(const struct map *map, size_t count, size_t alignment)
{
	size_t best = map->end;
	size_t best_length = SIZE_MAX;
	size_t stop;

	for (size_t at = next_in_model(map, 0, false); at < map->end; at = next_in_model(map, stop, false)) {
		size_t first = at;

		stop = next_in_model(map, at, true);
		while (first % alignment != 0)
			first++;
		if (first + count <= stop && stop - at < best_length) {
			best = first;
			best_length = stop - at;
		}
	}
	return best;
}

static void change_and_count(struct map *map)
{
	size_t first = random_below(&state, map->end + 1);
	size_t count = random_below(&state, map->end - first + 1);
	bool set = random_below(&state, 2) != 0;
	size_t total = 0;

	for (size_t at = first; at < first + count; at++)
		total += map->model[at];
	assert_int_equal(bits_count_range(map->words, first, count), total);
	(set ? bits_set_range : bits_clear_range)(map->words, first, count);
	for (size_t at = first; at < first + count; at++)
		map->model[at] = set;
	assert_int_equal(bits_count_range(map->words, first, count), set ? count : 0);
	compare(map);
}

static void ranges(void **unused)
{
	(void)unused;
	for (int round = 0; round < 300; round++) {
		struct map map;

		start(&map, 1 + random_below(&state, MOST_BITS), (unsigned)random_below(&state, 101));
		for (int step = 0; step < 20; step++)
			change_and_count(&map);
	}
}

static void searches(void **unused)
{
	(void)unused;
	for (int round = 0; round < 300; round++) {
		struct map map;

		start(&map, 1 + random_below(&state, MOST_BITS),
		      round % 3 == 0 ? 3 : (unsigned)random_below(&state, 101));
		for (size_t from = 0; from <= map.end; from++) {
			assert_int_equal(bits_next_set(map.words, from, map.end), next_in_model(&map, from, true));
			assert_int_equal(bits_next_clear(map.words, from, map.end), next_in_model(&map, from, false));
			if (from < map.end && !map.model[from])
				assert_int_equal(bits_clear_run_around(map.words, map.end, from),
						 run_around_in_model(&map, from));
		}
		assert_int_equal(bits_longest_clear(map.words, map.end), longest_in_model(&map));
		for (size_t alignment = 1; alignment <= 128; alignment *= 2) {
			size_t count = 1 + random_below(&state, 40);

			assert_int_equal(bits_tightest_clear(map.words, map.end, count, alignment),
					 tightest_in_model(&map, count, alignment));
		}
	}
}

/* What a random test would rarely meet: whole words, single bits at a word's ends, nothing at all. */
static void edges(void **unused)
{
	uint64_t words[4] = {0};

	(void)unused;
	bits_set_range(words, 0, 0);
	bits_set_range(words, 64, 0);
	assert_int_equal(bits_count_range(words, 0, 256), 0);
	assert_int_equal(bits_next_set(words, 0, 256), 256);
	assert_int_equal(bits_longest_clear(words, 256), 256);
	assert_int_equal(bits_longest_clear(words, 0), 0);
	assert_int_equal(bits_tightest_clear(words, 256, 256, 1), 0);
	assert_int_equal(bits_tightest_clear(words, 256, 257, 1), 256);
	bits_set_range(words, 63, 2);
	assert_true(words[0] == UINT64_C(1) << 63 && words[1] == 1);
	bits_set_range(words, 64, 64);
	assert_true(words[1] == UINT64_MAX && words[2] == 0);
	bits_clear_range(words, 0, 256);
	assert_int_equal(bits_count_range(words, 0, 256), 0);
	bits_set_range(words, 0, 256);
	assert_int_equal(bits_count_range(words, 0, 256), 256);
	assert_int_equal(bits_next_clear(words, 0, 256), 256);
	assert_int_equal(bits_longest_clear(words, 256), 0);
	assert_int_equal(bits_tightest_clear(words, 256, 1, 1), 256);
}

/*
 * Of several ranges the shortest that is long enough; of equal ones the lowest; bits past `end` don't count.
 */
static void tightest(void **unused)
{
	uint64_t words[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};

	(void)unused;
	bits_clear_range(words, 10, 20);
	bits_clear_range(words, 60, 8);
	bits_clear_range(words, 100, 8);
	bits_clear_range(words, 129, 3);
	assert_int_equal(bits_tightest_clear(words, 256, 1, 1), 129);
	assert_int_equal(bits_tightest_clear(words, 256, 4, 1), 60);
	assert_int_equal(bits_tightest_clear(words, 256, 8, 1), 60);
	assert_int_equal(bits_tightest_clear(words, 256, 9, 1), 10);
	assert_int_equal(bits_tightest_clear(words, 256, 4, 8), 64);
	assert_int_equal(bits_tightest_clear(words, 256, 5, 8), 16);
	assert_int_equal(bits_tightest_clear(words, 256, 5, 4), 60);
	assert_int_equal(bits_tightest_clear(words, 256, 2, 32), 64);
	assert_int_equal(bits_tightest_clear(words, 20, 11, 1), 20);
	assert_int_equal(bits_longest_clear(words, 256), 20);
	assert_int_equal(bits_longest_clear(words, 20), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(searches),
		cmocka_unit_test(edges),
		cmocka_unit_test(tightest),
	};

	state = seed_of_run("bits");
	return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}

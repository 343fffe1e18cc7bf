/*
 * Sets of numbers against an array of bool: random members, near each other and far apart, in sets that are nearly empty
 * and crowded ones. Relies on base/number_set alone.
 */
#include "support.h"

#include "base/number_set.h"

#define MODEL_END ((size_t)1 << 19) /* of which the third level has two words */

static uint64_t state;
static struct number_set set;
static bool model[MODEL_END];

static size_t next_in_model(size_t from)
{
	for (; from < MODEL_END; from++) {
		if (model[from])
			return from;
	}
	return NO_NUMBER;
}

static size_t previous_in_model(size_t from)
{
	for (size_t at = from + 1; at-- > 0;) {
		if (model[at])
			return at;
	}
	return NO_NUMBER;
}

static void check(size_t from)
{
	assert_int_equal(number_set_has(&set, from), model[from]);
	assert_int_equal(number_set_next(&set, from), next_in_model(from));
	assert_int_equal(number_set_previous(&set, from), previous_in_model(from));
}

static void random_members(void **unused)
{
	static const size_t spreads[] = {64, 300, 5000, MODEL_END};

	(void)unused;
	for (int round = 0; round < 40; round++) {
		size_t spread = spreads[random_below(&state, COUNT_OF(spreads))];
		size_t start = random_below(&state, MODEL_END - spread + 1);

		for (int step = 0; step < 200; step++) {
			size_t number = start + random_below(&state, spread);
			bool member = random_below(&state, 3) != 0;

			model[number] = member;
			if (member)
				number_set_add(&set, number);
			else
				number_set_remove(&set, number);
			check(start + random_below(&state, spread));
		}
		check(random_below(&state, MODEL_END));
		/* Every other time it is left empty. */
		for (size_t at = 0; round % 2 != 0 && at < MODEL_END; at++) {
			if (model[at])
				number_set_remove(&set, at);
			model[at] = false;
		}
	}
	for (size_t at = 0; at < MODEL_END; at++)
		number_set_remove(&set, at);
	memset(model, 0, sizeof(model));
	check(0);
	check(MODEL_END - 1);
}

/* At both ends, and over words of every level. */
static void borders(void **unused)
{
	const size_t numbers[] = {0, 63, 64, 4095, 4096, 262143, 262144, NUMBER_SET_END - 1};

	(void)unused;
	assert_int_equal(number_set_next(&set, 0), NO_NUMBER);
	assert_int_equal(number_set_next(&set, NUMBER_SET_END - 1), NO_NUMBER);
	assert_int_equal(number_set_previous(&set, NUMBER_SET_END - 1), NO_NUMBER);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		size_t number = numbers[i];

		number_set_add(&set, number);
		assert_int_equal(number_set_next(&set, 0), number);
		assert_int_equal(number_set_previous(&set, NUMBER_SET_END - 1), number);
		assert_int_equal(number_set_next(&set, number), number);
		assert_int_equal(number_set_previous(&set, number), number);
		if (number + 1 < NUMBER_SET_END)
			assert_int_equal(number_set_next(&set, number + 1), NO_NUMBER);
		if (number != 0)
			assert_int_equal(number_set_previous(&set, number - 1), NO_NUMBER);
		number_set_remove(&set, number);
	}
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		number_set_add(&set, numbers[i]);
	for (size_t i = 1; i < COUNT_OF(numbers); i++) {
		assert_int_equal(number_set_next(&set, numbers[i - 1] + 1), numbers[i]);
		assert_int_equal(number_set_previous(&set, numbers[i] - 1), numbers[i - 1]);
	}
	for (size_t i = 0; i < COUNT_OF(numbers); i++)
		number_set_remove(&set, numbers[i]);
	assert_int_equal(number_set_next(&set, 0), NO_NUMBER);
}

/* A heap that is small takes little memory for its sets. */
static void small_numbers_lie_together(void **unused)
{
	size_t first = SIZE_MAX;
	size_t last = 0;

	(void)unused;
	number_set_add(&set, 0);
	number_set_add(&set, 4095);
	for (size_t i = 0; i < COUNT_OF(set.words); i++) {
		if (set.words[i] != 0) {
			first = minimum(first, i);
			last = i;
		}
	}
	assert_in_range((last - first) * sizeof(set.words[0]), 1, 1023);
	number_set_remove(&set, 0);
	number_set_remove(&set, 4095);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(borders),
		cmocka_unit_test(small_numbers_lie_together),
		cmocka_unit_test(random_members),
	};

	state = seed_of_run("number set");
	return cmocka_run_group_tests_name("number set", tests, NULL, NULL);
}

/* Sets of numbers as bitmaps in levels: a bit of one level stands for a word of the level below. */
#include "base/number_set.h"

/* Where each level's words begin. */
static const size_t level_starts[NUMBER_SET_LEVELS] = {
	0,
	NUMBER_SET_END / 64,
	NUMBER_SET_END / 64 + NUMBER_SET_END / 64 / 64,
	NUMBER_SET_END / 64 + NUMBER_SET_END / 64 / 64 + NUMBER_SET_END / 64 / 64 / 64,
};

void number_set_add(struct number_set *set, size_t number)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t *words = set->words + level_starts[level];
		bool was_empty = words[number / 64] == 0;

		bit_set(words, number);
		if (!was_empty)
			return;
		number /= 64;
	}
}

void number_set_remove(struct number_set *set, size_t number)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t *words = set->words + level_starts[level];

		bit_clear(words, number);
		if (words[number / 64] != 0)
			return;
		number /= 64;
	}
}

size_t number_set_next(const struct number_set *set, size_t from)
{
	size_t end = NUMBER_SET_END;

	for (unsigned level = 0; from < end; level++, end /= 64) {
		uint64_t word = set->words[level_starts[level] + from / 64] >> (from % 64);

		if (word != 0) {
			size_t number = from + (size_t)__builtin_ctzl(word);

			while (level-- > 0)
				number = number * 64 + (size_t)__builtin_ctzl(set->words[level_starts[level] + number]);
			return number;
		}
		from = from / 64 + 1;
	}
	return NO_NUMBER;
}

size_t number_set_previous(const struct number_set *set, size_t from)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t word = set->words[level_starts[level] + from / 64] << (63 - from % 64);

		if (word != 0) {
			size_t number = from - (size_t)__builtin_clzl(word);

			while (level-- > 0)
				number = number * 64 + log2_floor(set->words[level_starts[level] + number]);
			return number;
		}
		if (from < 64)
			return NO_NUMBER;
		from = from / 64 - 1;
	}
	return NO_NUMBER;
}

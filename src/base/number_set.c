/* Sets of numbers as bitmaps in levels: a bit of one level stands for a word of the level below. */
#include "base/number_set.h"

/* Which of the set's words is the one with this index in its level. */
static inline size_t place_of(unsigned level, size_t index)
{
	static const size_t starts[NUMBER_SET_LEVELS] = {NUMBER_SET_AT_1, NUMBER_SET_AT_2, NUMBER_SET_AT_3,
							 NUMBER_SET_AT_4};

	return level == 1 ? starts[level] - index : starts[level] + index;
}

void number_set_add(struct number_set *set, size_t number)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t *word = &set->words[place_of(level, number / 64)];
		uint64_t before = *word;

		*word = before | UINT64_C(1) << (number % 64);
		if (before != 0)
			return;
		number /= 64;
	}
}

void number_set_remove(struct number_set *set, size_t number)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t *word = &set->words[place_of(level, number / 64)];

		*word &= ~(UINT64_C(1) << (number % 64));
		if (*word != 0)
			return;
		number /= 64;
	}
}

size_t number_set_next(const struct number_set *set, size_t from)
{
	size_t end = NUMBER_SET_END;

	for (unsigned level = 0; from < end; level++, end /= 64) {
		uint64_t word = set->words[place_of(level, from / 64)] >> (from % 64);

		if (word != 0) {
			size_t number = from + (size_t)__builtin_ctzl(word);

			while (level-- > 0)
				number = number * 64 + (size_t)__builtin_ctzl(set->words[place_of(level, number)]);
			return number;
		}
		from = from / 64 + 1;
	}
	return NO_NUMBER;
}

size_t number_set_previous(const struct number_set *set, size_t from)
{
	for (unsigned level = 0; level < NUMBER_SET_LEVELS; level++) {
		uint64_t word = set->words[place_of(level, from / 64)] << (63 - from % 64);

		if (word != 0) {
			size_t number = from - (size_t)__builtin_clzl(word);

			while (level-- > 0)
				number = number * 64 + log2_floor(set->words[place_of(level, number)]);
			return number;
		}
		if (from < 64)
			return NO_NUMBER;
		from = from / 64 - 1;
	}
	return NO_NUMBER;
}

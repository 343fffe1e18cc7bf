/*
 * A set of numbers below 2^23 in which the next and the previous member are found in constant time: a bitmap, behind it
 * a bitmap that says which of its words are not empty, and so on, up to one word.
 *
 * Relies on base/bits. No locks: whoever owns the set holds its lock. All zero is the empty set; it takes memory where
 * it has members, or had: one of small numbers has all its words within a page or two, because the second level begins where
 * the first one does, and goes the other way.
 */
#ifndef TIERMALLOC_BASE_NUMBER_SET_H
#define TIERMALLOC_BASE_NUMBER_SET_H

#include "base/bits.h"

#define NUMBER_SET_LEVELS 4
#define NUMBER_SET_END    ((size_t)1 << 23)

/* Says that there is no such member. */
#define NO_NUMBER SIZE_MAX

_Static_assert(NUMBER_SET_END > (size_t)1 << 18 && NUMBER_SET_END <= (size_t)1 << 24, "four levels end in one word");

/* How many words each level has, and where its first one is. */
#define NUMBER_SET_WORDS_1 (NUMBER_SET_END / 64)
#define NUMBER_SET_WORDS_2 (NUMBER_SET_WORDS_1 / 64)
#define NUMBER_SET_WORDS_3 (NUMBER_SET_WORDS_2 / 64)
#define NUMBER_SET_AT_2    (NUMBER_SET_WORDS_2 - 1) /* downward */
#define NUMBER_SET_AT_3    NUMBER_SET_WORDS_2
#define NUMBER_SET_AT_4    (NUMBER_SET_AT_3 + NUMBER_SET_WORDS_3)
#define NUMBER_SET_AT_1    (NUMBER_SET_AT_4 + 1)

struct number_set {
	uint64_t words[NUMBER_SET_AT_1 + NUMBER_SET_WORDS_1];
};

static inline bool number_set_has(const struct number_set *set, size_t number)
{
	return bit_test(set->words + NUMBER_SET_AT_1, number);
}

/* Also where it is a member already, or is none. */
void number_set_add(struct number_set *set, size_t number);
void number_set_remove(struct number_set *set, size_t number);

/* The least member from `from` on (the greatest up to `from`), or NO_NUMBER. */
size_t number_set_next(const struct number_set *set, size_t from);
size_t number_set_previous(const struct number_set *set, size_t from);

#endif

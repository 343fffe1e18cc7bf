/*
 * Bitmaps of 64-bit words: ranges, counts and runs. Positions and lengths are in bits; a range may cross words.
 * No locks: whoever owns the bitmap holds its lock.
 */
#ifndef TIERMALLOC_BASE_BITS_H
#define TIERMALLOC_BASE_BITS_H

#include "base/common.h"

#define WORDS_FOR_BITS(bits) (((bits) + 63) / 64)

static inline bool bit_test(const uint64_t *words, size_t at)
{
	return words[at / 64] >> (at % 64) & 1;
}

static inline void bit_set(uint64_t *words, size_t at)
{
	words[at / 64] |= UINT64_C(1) << (at % 64);
}

static inline void bit_clear(uint64_t *words, size_t at)
{
	words[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

void bits_set_range(uint64_t *words, size_t first, size_t count);
void bits_clear_range(uint64_t *words, size_t first, size_t count);
size_t bits_count_range(const uint64_t *words, size_t first, size_t count);

/* First set (clear) position in [from, end), or `end`. */
size_t bits_next_set(const uint64_t *words, size_t from, size_t end);
size_t bits_next_clear(const uint64_t *words, size_t from, size_t end);

/* One past the last set position below `at`, or 0. */
size_t bits_after_previous_set(const uint64_t *words, size_t at);

/* Length of the longest run of clear bits in [0, end). */
size_t bits_longest_clear(const uint64_t *words, size_t end);

/* Length of the run of clear bits in [0, end) that `at`, which is clear, belongs to. */
size_t bits_clear_run_around(const uint64_t *words, size_t end, size_t at);

/*
 * Start of the shortest run of clear bits in [0, end) that holds `count` bits from a multiple of `alignment` on;
 * the lowest of several. `end` if there is none.
 */
size_t bits_tightest_clear(const uint64_t *words, size_t end, size_t count, size_t alignment);

#endif

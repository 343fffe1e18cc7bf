/* Bitmaps of 64-bit words. */
#include "base/bits.h"

/* The bits of one word that belong to [first, first + count), and how many of the range that consumes. */
static inline uint64_t word_mask(size_t first, size_t count, size_t *taken)
{
	size_t shift = first % 64;

	*taken = minimum(64 - shift, count);
	return (*taken == 64 ? ~UINT64_C(0) : (UINT64_C(1) << *taken) - 1) << shift;
}

void bits_set_range(uint64_t *words, size_t first, size_t count)
{
	for (size_t taken; count != 0; first += taken, count -= taken) {
		uint64_t mask = word_mask(first, count, &taken);

		words[first / 64] |= mask;
	}
}

void bits_clear_range(uint64_t *words, size_t first, size_t count)
{
	for (size_t taken; count != 0; first += taken, count -= taken) {
		uint64_t mask = word_mask(first, count, &taken);

		words[first / 64] &= ~mask;
	}
}

size_t bits_count_range(const uint64_t *words, size_t first, size_t count)
{
	size_t total = 0;

	for (size_t taken; count != 0; first += taken, count -= taken) {
		uint64_t mask = word_mask(first, count, &taken);

		total += (size_t)__builtin_popcountl(words[first / 64] & mask);
	}
	return total;
}

/*
 * First position from `from` on whose bit differs from `inverted`'s: the words are read through an exclusive or
 * with it.
 */
static size_t next_set_in(const uint64_t *words, size_t from, size_t end, uint64_t inverted)
{
	while (from < end) {
		uint64_t word = (words[from / 64] ^ inverted) >> (from % 64);

		if (word != 0)
			return minimum(from + (size_t)__builtin_ctzl(word), end);
		from = round_down(from, 64) + 64;
	}
	return end;
}

size_t bits_next_set(const uint64_t *words, size_t from, size_t end)
{
	return next_set_in(words, from, end, 0);
}

size_t bits_next_clear(const uint64_t *words, size_t from, size_t end)
{
	return next_set_in(words, from, end, ~UINT64_C(0));
}

size_t bits_longest_clear(const uint64_t *words, size_t end)
{
	size_t longest = 0;

	for (size_t at = bits_next_clear(words, 0, end); at < end;) {
		size_t stop = bits_next_set(words, at, end);

		longest = maximum(longest, stop - at);
		at = bits_next_clear(words, stop, end);
	}
	return longest;
}

size_t bits_after_previous_set(const uint64_t *words, size_t at)
{
	while (at > 0) {
		size_t word = (at - 1) / 64;
		uint64_t below = words[word] << (63 - (at - 1) % 64);

		if (below != 0)
			return at - (size_t)__builtin_clzl(below);
		at = word * 64;
	}
	return 0;
}

size_t bits_clear_run_around(const uint64_t *words, size_t end, size_t at)
{
	return bits_next_set(words, at, end) - bits_after_previous_set(words, at);
}

size_t bits_tightest_clear(const uint64_t *words, size_t end, size_t count, size_t alignment)
{
	size_t best = end;
	size_t best_length = SIZE_MAX;

	for (size_t at = bits_next_clear(words, 0, end); at < end;) {
		size_t stop = bits_next_set(words, at, end);
		size_t start = round_up(at, alignment);

		if (start + count <= stop && stop - at < best_length) {
			best = start;
			best_length = stop - at;
		}
		at = bits_next_clear(words, stop, end);
	}
	return best;
}

/* The bucket. */
#include "pageheap/rate.h"

/*
 * It holds what comes in a tenth of a second: longer pauses between two looks are not made up for, and what goes at once
 * takes no longer than the rate says for so long.
 */
#define BUCKETS_PER_SECOND 10

static int64_t capacity(const struct rate *rate)
{
	return (int64_t)(rate->per_second / BUCKETS_PER_SECOND) + 1;
}

/* Bytes that come in so many milliseconds, or PTRDIFF_MAX if they are more. */
static int64_t income(const struct rate *rate, uint64_t milliseconds)
{
	uint64_t whole;
	uint64_t rest = rate->per_second % 1000 * (milliseconds % 1000) / 1000;

	/* A part at a time: the product may be too large. */
	if (__builtin_mul_overflow(rate->per_second / 1000, milliseconds, &whole) ||
	    __builtin_add_overflow(whole, rate->per_second % 1000 * (milliseconds / 1000) + rest, &whole) ||
	    whole > PTRDIFF_MAX)
		return PTRDIFF_MAX;
	return (int64_t)whole;
}

void rate_set(struct rate *rate, size_t per_second, uint64_t milliseconds)
{
	rate->per_second = per_second;
	rate->bytes = capacity(rate);
	rate->seen = milliseconds;
}

size_t rate_allowance(struct rate *rate, uint64_t milliseconds)
{
	int64_t more;

	if (rate->per_second == 0)
		return SIZE_MAX;
	more = milliseconds > rate->seen ? income(rate, milliseconds - rate->seen) : 0;
	/* Else the time goes on to count: a low rate brings less than a byte in a millisecond. */
	if (more != 0) {
		if (__builtin_add_overflow(rate->bytes, more, &rate->bytes) || rate->bytes > capacity(rate))
			rate->bytes = capacity(rate);
		rate->seen = milliseconds;
	}
	return rate->bytes > 0 ? (size_t)rate->bytes : 0;
}

void rate_spend(struct rate *rate, size_t bytes)
{
	if (rate->per_second == 0)
		return;
	if (__builtin_sub_overflow(rate->bytes, (int64_t)minimum(bytes, PTRDIFF_MAX), &rate->bytes))
		rate->bytes = INT64_MIN;
}

/*
 * How fast memory is given back by itself: a bucket that fills with the time and is drawn on by what is given back.
 *
 * The caller has the clock and the lock. One release may be larger than what is in the bucket, which then is in debt: no
 * more goes until the time has paid for it. So over any time no more than the rate goes, but for one bucket and one
 * release.
 */
#ifndef TIERMALLOC_PAGEHEAP_RATE_H
#define TIERMALLOC_PAGEHEAP_RATE_H

#include "base/common.h"

struct rate {
	size_t per_second; /* bytes; 0: no bound */
	int64_t bytes;     /* in the bucket; negative: debt */
	uint64_t seen;     /* milliseconds: it has been filled up to then */
};

/* From now on at this rate, at most PTRDIFF_MAX, with a full bucket. */
void rate_set(struct rate *rate, size_t per_second, uint64_t milliseconds);

/* Bytes that may go now; SIZE_MAX: any number. */
size_t rate_allowance(struct rate *rate, uint64_t milliseconds);

/* So many have gone. */
void rate_spend(struct rate *rate, size_t bytes);

#endif

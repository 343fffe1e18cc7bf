/*
 * A histogram of times with a relative error below 1 %: 64 buckets for each doubling. Relies on nothing; its memory is
 * the caller's, of constant size.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6 /* a bucket is at most 1/64 of its value wide, and its middle off by half of that */
#define HISTOGRAM_BUCKETS   (((32 - HISTOGRAM_STEP_BITS) + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
	uint64_t total;
	uint32_t largest;
	uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint32_t value);
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The middle of the values that a bucket holds. */
double histogram_value(size_t bucket);

/* The value that `share` of all values do not exceed; 1.0 for the largest. */
double histogram_quantile(const struct histogram *histogram, double share);

#endif

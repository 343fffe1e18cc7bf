/* A histogram of times with a relative error below 1 %. See histogram.h. */
#include "histogram.h"

/* Values below 2 * STEPS have a bucket each; above, the highest STEP_BITS + 1 bits choose it. */
#define STEPS ((uint32_t)1 << HISTOGRAM_STEP_BITS)

static unsigned shift_of(uint32_t value)
{
	unsigned bits = 32 - (unsigned)__builtin_clz(value | 1);
	return bits > HISTOGRAM_STEP_BITS + 1 ? bits - (HISTOGRAM_STEP_BITS + 1) : 0;
}

void histogram_add(struct histogram *histogram, uint32_t value)
{
	unsigned shift = shift_of(value);
	histogram->counts[(value >> shift) + shift * STEPS]++;
	histogram->total++;
	if (value > histogram->largest)
		histogram->largest = value;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		histogram->counts[i] += other->counts[i];
	histogram->total += other->total;
	if (other->largest > histogram->largest)
		histogram->largest = other->largest;
}

double histogram_value(size_t bucket)
{
	if (bucket < 2 * STEPS)
		return (double)bucket;
	size_t shift = bucket / STEPS - 1;
	uint64_t low = (uint64_t)(bucket - shift * STEPS) << shift;
	return (double)low + ((double)((uint64_t)1 << shift) - 1) / 2;
}

double histogram_quantile(const struct histogram *histogram, double share)
{
	double wanted = share * (double)histogram->total;
	uint64_t seen = 0;
	for (size_t i = 0; share < 1 && i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->counts[i];
		if ((double)seen >= wanted && seen > 0)
			return histogram_value(i);
	}
	return (double)histogram->largest;
}

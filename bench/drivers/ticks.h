/*
 * A clock for times of some nanoseconds. On x86 it is the time-stamp counter, which ticks evenly on all processors made
 * since about 2010; elsewhere the system's clock. Relies on the instructions rdtscp and lfence.
 */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>

/* What comes before is finished when the counter is read, and what comes after has not begun. */
static inline uint64_t read_ticks(void)
{
	unsigned processor;
	uint64_t ticks = __rdtscp(&processor);
	_mm_lfence();
	return ticks;
}

#else
#include "measure.h"

static inline uint64_t read_ticks(void)
{
	return wall_clock();
}

#endif

#endif

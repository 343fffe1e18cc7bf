/*
 * What the parts of the memory benchmark share. Each measure_* function is one measurement, in a process of its own: it
 * prints lines `NAME VALUE` (rss_* in MiB, ns per object or operation), and where memory over time is of interest lines
 * `series SECONDS RSS_BYTES`. Objects are written in full. Relies on the standard interface and on Linux's /proc.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include "measure.h"

#include <stddef.h>
#include <stdint.h>

#define MIB ((size_t)1 << 20)

/* memory_support.c */

/* An object of `size` bytes, written in full. */
void *take(size_t size);

/* Zeroed memory for the benchmark's own tables: from the system, resident, and not counted by take_sample. */
void *map_table(size_t size);

/* Sizes from `smallest` up, of which half as many are in every doubling as in the one before; `doublings` in all. With
 * none, every size is `smallest`. */
size_t draw_size(uint64_t *state, size_t smallest, unsigned doublings);

/* A stopwatch of processor time in nanoseconds, which stands still while memory is looked at. Starts at zero, with the
 * first sample. */
void start_stopwatch(void);
void pause_stopwatch(void);
void resume_stopwatch(void);
uint64_t stopwatch(void);

/* Notes the time and the resident memory without the tables, in MiB, for the series, and returns the latter. The
 * stopwatch stands still meanwhile. */
double take_sample(void);

/* Prints what was sampled. At the end: printing allocates. */
void print_series(void);

/* Prints the bytes that the program holds by its own account, and under tiermalloc the statistics as XML. */
void print_statistics(size_t requested);

/* memory_live.c */
void measure_live(size_t size, size_t count, size_t list_count);
void measure_peak(size_t total);
void measure_repeated_peak(size_t total, size_t rounds);

/* memory_fragmentation.c */
void measure_fragmentation(size_t total, size_t first_size, size_t second_size);
void measure_fragmentation_of_sizes(size_t total);

/* memory_lifetimes.c */
void measure_lifetimes(size_t operations, size_t limit);

/* memory_threads.c */
void measure_short_threads(size_t count, size_t group);
void measure_idle_threads(size_t count);

/* memory_large.c */
void measure_calloc(size_t size);
void measure_growth(size_t first, size_t last);
void measure_enlargement(size_t first, size_t last);

#endif

/*
 * What is measured while a trace runs: peaks, means over time, a series, and the page heap's own time. Relies on the
 * account for every value.
 */
#ifndef BENCH_SIMULATOR_METRICS_H
#define BENCH_SIMULATOR_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum timed_operation {
	TIMED_ALLOCATE,
	TIMED_ALLOCATE_LONG, /* a hugepage and more */
	TIMED_FREE,
	TIMED_OTHER, /* growing, moving, ticks */
	TIMED_OPERATIONS,
};

/* Notes the account's state after an event of the trace. */
void metrics_note_event(void);

/* Whether a run got the pages that it had when the trace was recorded: the same heap gives all of them the same. */
void metrics_note_place(bool same);

/* Before the clock goes on. */
void metrics_note_time(uint64_t milliseconds);

/* Around a call of the page heap: what passes in between belongs to it, but for the time in the account. */
void metrics_begin_call(void);
void metrics_end_call(enum timed_operation operation);

/* Starts, with room for so many points of the series. */
void metrics_begin(size_t samples);

void metrics_print(FILE *file, const char *heap);

#endif

/*
 * Reading a trace of the page heap (observe/page_trace.h) as a stream. Ends the program with a message if the file is
 * not a trace, is damaged, or is one of another page size.
 */
#ifndef BENCH_SIMULATOR_TRACE_READER_H
#define BENCH_SIMULATOR_TRACE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "observe/page_trace.h"

struct trace_event {
	enum page_trace_operation operation;
	unsigned flags;
	size_t page;
	size_t pages;
	size_t other;  /* pages after growing, the page moved to, log2 of the alignment */
	uint64_t time; /* milliseconds since the last event of this kind */
};

/* Opens the file, or standard input for "-". Returns the clock in milliseconds with which the trace begins. */
uint64_t trace_open(const char *path);

/* False: there are no more. */
bool trace_next(struct trace_event *event);

/* Says what is wrong with the event that was read last, and ends the program. */
_Noreturn void trace_fail(const char *what);

#endif

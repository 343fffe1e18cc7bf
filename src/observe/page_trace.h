/*
 * A trace of the page heap: every run of pages that it hands out or takes back, in order and with the time, written to a
 * file as the program runs. The simulator (bench/simulator) does the same again under other policies.
 *
 * The format, also described in docs/simulator.md: one line of text, PAGE_TRACE_MAGIC, the bytes per page,
 * PAGE_TRACE_CLOCK, and the clock in milliseconds; then events. An event is one byte, the operation in its low four bits and flags in the high ones, and the numbers that
 * the operation takes, least significant seven bits first, with the highest bit set in all bytes but the last of a
 * number. A page's number (counted from the heap's base) is written as its distance from the one before it in the file,
 * doubled, and for a negative distance inverted. The file ends after any event.
 */
#ifndef TIERMALLOC_OBSERVE_PAGE_TRACE_H
#define TIERMALLOC_OBSERVE_PAGE_TRACE_H

#include "base/common.h"

#define PAGE_TRACE_MAGIC "tiermalloc page trace 1, page size "
#define PAGE_TRACE_CLOCK ", clock "

enum page_trace_operation {
	TRACE_ALLOCATE = 1,     /* page, pages */
	TRACE_ALLOCATE_ALIGNED, /* page, pages, log2 of the alignment in pages */
	TRACE_FREE,             /* page, pages */
	TRACE_GROW,             /* page, pages before, pages after */
	TRACE_MOVE,             /* page, page it was moved to, pages */
	TRACE_RELEASE,          /* pages to keep */
	TRACE_TICK,             /* nothing */
	TRACE_LIMIT,            /* pages */
	TRACE_SPARE,            /* pages of kept empty spans from now on */
	TRACE_TIME,             /* milliseconds since the last one */
	TRACE_PURGE,            /* page, first 4 KiB in it, 4 KiB: given back inside of a run */
	TRACE_PURGED,           /* 4 KiB that are given back inside of runs in all from now on */
};

#define TRACE_OPERATION_BITS 4

/* Flags of allocations. */
#define TRACE_FEW_OBJECTS 1
#define TRACE_ZEROED      2
#define TRACE_GROWING     4
#define TRACE_DENSE       8

/*
 * Starts writing to `path`, in which %p and %e stand for the process and the program. Returns 0 or an error number. A
 * program has one trace.
 */
int page_trace_start(const char *path);

/* Writes what is still in the buffer. Called when the process ends; without effect if nothing is traced. */
void page_trace_flush(void);

/* In a forked child, whose trace is its own and begins with what it has inherited. `usable`: the heap is in order. */
void page_trace_begin_anew_in_child(bool usable);

#endif

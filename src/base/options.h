/*
 * Options from the environment: TIERMALLOC_CONF=key:value,key:value. Read once, before main, without allocating;
 * not at all in a process that runs with more rights than its caller. The table in options.c is what there is; the
 * README explains it.
 */
#ifndef TIERMALLOC_BASE_OPTIONS_H
#define TIERMALLOC_BASE_OPTIONS_H

#include "base/common.h"

/* What retain is unless it is set: a program that has done its work, and does little now, gets down to that. */
#define DEFAULT_RETAIN ((size_t)256 << 10)

/*
 * What these times are unless they are set, and what they can be set to: a day. (A GiB that is given back and faulted in
 * again each second takes 240 ms of it; 100 MiB, 2.4 %. What has been kept for a peak has gone ten seconds after it.)
 */
#define DEFAULT_DECAY_MS 1000
#define DEFAULT_PEAK_MS  8000
#define DEFAULT_TREND_MS 300000
#define MOST_MS          86400000

/* What a CPU's slab may hold unless it is set. */
#define DEFAULT_CPU_CACHE_SIZE ((size_t)2 << 20)

struct options {
	bool stats_print;         /* statistics on stderr at exit */
	bool deepbind;            /* leave RTLD_DEEPBIND to dlopen */
	bool background;          /* a thread gives memory back while the program is idle */
	size_t retain;            /* bytes of free memory kept before giving back */
	uint64_t decay_ms;        /* milliseconds: free memory above it is kept for swings of this time */
	uint64_t peak_ms;         /* the same: for the work, and in partly used hugepages for the peak, of this time */
	uint64_t trend_ms;        /* the same: in partly used hugepages for swings of this time */
	size_t release_rate;      /* bytes that are given back in a second at most; 0: no bound */
	size_t soft_limit;        /* bytes above which no free memory is kept; 0: none */
	size_t hard_limit;        /* bytes above which allocations fail; 0: none */
	size_t thread_cache_size; /* bytes, over all threads */
	size_t min_per_thread_cache; /* bytes */
	size_t cpu_cache_size;       /* bytes, for each CPU */
	unsigned frontend;           /* an enum frontend_kind */
	unsigned thp;                /* transparent huge pages: an enum huge_page_policy */
	const char *record;          /* where to record to; empty: nothing is recorded */
	uint64_t record_signal;      /* that starts and ends recording; 0: it is on from the start */
	uint64_t record_period;      /* seconds after which the recording is written again; 0: at the end only */
	const char *trace_pages;     /* where to write what the page heap does; empty: nowhere */
};

extern HIDDEN struct options options;

/* Reads the environment; names what it does not know on stderr and ignores it. */
void options_read(void);

/* The same from a string; for tests too. */
void options_parse(const char *text);

#endif

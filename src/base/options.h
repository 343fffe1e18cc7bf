/*
 * Options from the environment: TIERMALLOC_CONF=key:value,key:value. Read once, before main, without allocating;
 * not at all in a process that runs with more rights than its caller. The table in options.c is what there is; the
 * README explains it.
 */
#ifndef TIERMALLOC_BASE_OPTIONS_H
#define TIERMALLOC_BASE_OPTIONS_H

#include <limits.h>

#include "base/common.h"

/* What release_limit is unless it is set: two hugepages, enough for the come and go of small programs. */
#define DEFAULT_RELEASE_LIMIT ((size_t)4 << 20)

/* What a CPU's slab may hold unless it is set. */
#define DEFAULT_CPU_CACHE_SIZE ((size_t)2 << 20)

struct options {
	bool stats_print;            /* statistics on stderr at exit */
	bool deepbind;               /* leave RTLD_DEEPBIND to dlopen */
	size_t release_limit;        /* bytes of free memory kept before giving back */
	size_t thread_cache_size;    /* bytes, over all threads */
	size_t min_per_thread_cache; /* bytes */
	size_t cpu_cache_size;       /* bytes, for each CPU */
	unsigned frontend;           /* an enum frontend_kind */
	char record[PATH_MAX];       /* where to record to; empty: nothing is recorded */
	uint64_t record_signal;      /* that starts and ends recording; 0: it is on from the start */
	uint64_t record_period;      /* seconds after which the recording is written again; 0: at the end only */
	char trace_pages[PATH_MAX];  /* where to write what the page heap does; empty: nowhere */
};

extern HIDDEN struct options options;

/* Reads the environment; names what it does not know on stderr and ignores it. */
void options_read(void);

/* The same from a string; for tests too. */
void options_parse(const char *text);

#endif

/*
 * Statistics: what every tier holds, gathered on demand. Nothing is counted for their sake on any fast path.
 *
 * The tiers are read one after the other: with other threads at work the figures belong to slightly different
 * moments. They add up exactly when the heap stands still.
 */
#ifndef TIERMALLOC_OBSERVE_STATISTICS_H
#define TIERMALLOC_OBSERVE_STATISTICS_H

#include "base/arena.h"
#include "base/common.h"
#include "base/message.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "pageheap/pageheap.h"

/*
 * All in bytes. pages.used = in_use + cached + transfer + central_free + span_waste; pages.mapped = pages.used +
 * pages.free + pages.released.
 */
struct statistics {
	size_t in_use;       /* in blocks that the program has, whole classes and pages */
	size_t in_use_large; /* of these, in large blocks */
	size_t large_blocks; /* a number */
	size_t cached;       /* free, in threads' caches */
	size_t transfer;     /* free, in transfer caches */
	size_t central_free; /* free, in spans */
	size_t span_waste;   /* tails of spans that hold no whole object */
	size_t purged;       /* of these two, what has been given back */
	size_t spans;        /* a number */
	struct pageheap_statistics pages;
	struct arena_statistics metadata;
	struct frontend_statistics threads;
};

void statistics_read(struct statistics *statistics);

struct class_totals {
	struct class_statistics central;
	size_t cached; /* objects */
	size_t in_use; /* objects */
};
void statistics_read_class(unsigned class, struct class_totals *totals);

/* The report for people, tier by tier and class by class. */
void statistics_write(struct text *text);

/* The same, on stderr, without allocating. */
void statistics_print_to_stderr(void);

/* For malloc_info: an XML document. */
void statistics_write_xml(struct text *text);

#endif

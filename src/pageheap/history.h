/*
 * What has lately been in use: how far the demand for pages has risen, fallen and risen again within three times of
 * different length. release.c decides by it what is kept. Guarded by the page heap's lock, like all it is told.
 *
 * Each time is divided into epochs; what happened in an epoch is forgotten as a whole, so a window holds what happened
 * in the last seven eighths of its time, and nothing that is older than its time.
 */
#ifndef TIERMALLOC_PAGEHEAP_HISTORY_H
#define TIERMALLOC_PAGEHEAP_HISTORY_H

#include "base/common.h"

/* Each has its option. */
enum history_window {
	HISTORY_DECAY, /* swings that are too fast to give memory back in between */
	HISTORY_PEAK,  /* peaks that partly free hugepages are kept for */
	HISTORY_TREND, /* swings that partly free hugepages are kept for */
	HISTORY_WINDOWS,
};

/* Demand in pages. */
struct demand {
	size_t most;  /* in use at a time */
	size_t least; /* the same */
	size_t taken; /* altogether */
};

/* How long a window remembers, in milliseconds; 0: nothing but the present. What it holds is forgotten. */
void history_set_window(enum history_window window, uint32_t milliseconds);

/* Told of each run that is taken (given back), and how many pages are in demand after that. */
void history_note_taken(size_t pages, size_t used);
void history_note_freed(size_t used);

/* The demand of this window's time, at this time in milliseconds (they may wrap). */
struct demand history_read(enum history_window window, uint32_t time);

/*
 * How far the demand has fallen and risen again, in pages. The first rise and a fall are no swing: it counts when it is
 * repeated. Fast ones may be within an epoch; with slow ones, what is only replaced does not count.
 */
size_t history_fast_swing(enum history_window window, uint32_t time);
size_t history_slow_swing(enum history_window window, uint32_t time);

#endif

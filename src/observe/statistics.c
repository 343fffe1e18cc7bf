/* Gathering statistics from the tiers. */
#include "observe/statistics.h"

void statistics_read_class(unsigned class, struct class_totals *totals)
{
	size_t free;

	central_read_statistics(class, &totals->central);
	totals->cached = frontend_cached(class);
	free = totals->cached + totals->central.central_free + totals->central.transfer_free;
	totals->in_use = totals->central.objects > free ? totals->central.objects - free : 0;
}

static void add_class(struct statistics *statistics, unsigned class)
{
	size_t size = size_classes[class].size;
	struct class_totals totals;

	statistics_read_class(class, &totals);
	statistics->in_use += totals.in_use * size;
	statistics->cached += totals.cached * size;
	statistics->transfer += totals.central.transfer_free * size;
	statistics->central_free += totals.central.central_free * size;
	statistics->span_waste += (totals.central.pages << PAGE_SHIFT) - totals.central.objects * size;
	statistics->spans += totals.central.spans;
	statistics->purged += totals.central.purged;
}

void statistics_read(struct statistics *statistics)
{
	struct large_statistics large;

	*statistics = (struct statistics){0};
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		add_class(statistics, class);
	central_read_large_statistics(&large);
	statistics->in_use += large.bytes;
	statistics->in_use_large = large.bytes;
	statistics->large_blocks = large.blocks;
	pageheap_read_statistics(&statistics->pages);
	arena_read_statistics(&statistics->metadata);
	frontend_read_statistics(&statistics->threads);
}

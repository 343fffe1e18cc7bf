/* The page heaps by name, and the project's own as one of them. */
#include "heaps.h"

#include <string.h>

/*
 * As the trace has it, also if this heap would not have let the central tier keep so much: the spans are in use in it.
 * A trace does not tell those that are used again from those that go: all count as used again.
 */
static void set_spare(size_t pages)
{
	size_t before = pageheap_spare();

	pageheap_spare_remove(before - pages, pages < before);
}

static void set_purged(size_t bytes)
{
	pageheap_purged_remove(pageheap_purged() - bytes);
}

/* The trace does not say where memory was ready. */
static bool move(uintptr_t from, uintptr_t to, size_t pages)
{
	return pageheap_move(from, &(struct page_run){.address = to}, pages);
}

static const struct page_heap own_heap = {
	.name = "tiermalloc",
	.allocate = pageheap_allocate,
	.free = pageheap_free,
	.grow = pageheap_grow,
	.move = move,
	.release = pageheap_release,
	.tick = pageheap_tick,
	.set_retain = pageheap_set_retain,
	.set_spare = set_spare,
	.purge = pageheap_purge,
	.set_purged = set_purged,
	.validate = pageheap_validate,
};

static const struct page_heap *const heaps[] = {&own_heap, &first_fit_heap, &best_fit_heap};

const struct page_heap *heap_named(const char *name)
{
	for (size_t i = 0; i < sizeof(heaps) / sizeof(heaps[0]); i++) {
		if (strcmp(heaps[i]->name, name) == 0)
			return heaps[i];
	}
	return NULL;
}

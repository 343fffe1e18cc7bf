/*
 * The page heaps that a trace can be run against: the project's own, and two simple ones to compare it with. All take
 * their memory from the account, in the window of page_map.h.
 */
#ifndef BENCH_SIMULATOR_HEAPS_H
#define BENCH_SIMULATOR_HEAPS_H

#include "pageheap/pageheap.h"

/* As the functions of pageheap.h. */
struct page_heap {
	const char *name;
	bool (*allocate)(const struct page_request *request, struct page_run *run);
	void (*free)(uintptr_t address, size_t pages);
	bool (*grow)(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed);
	bool (*move)(uintptr_t from, uintptr_t to, size_t pages);
	size_t (*release)(size_t keep);
	void (*tick)(void);
	void (*set_retain)(size_t bytes);
	void (*set_spare)(size_t pages); /* so many pages in use are those of empty spans that are kept above */
	bool (*purge)(uintptr_t address, size_t bytes);
	void (*set_purged)(size_t bytes); /* so many bytes in use have been given back */
	const char *(*validate)(void);
};

/* The heap of that name, or NULL. */
const struct page_heap *heap_named(const char *name);

/* Free ranges in the order of addresses; the lowest that suffices, or the shortest, and of those the lowest. */
extern const struct page_heap first_fit_heap;
extern const struct page_heap best_fit_heap;

#endif

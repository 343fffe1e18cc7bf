/*
 * The window and the page map: flat arrays beside the heap that say, for each page, which class its objects have
 * and which span it belongs to. The class stands there as the offset that free needs: that of the class's stack in
 * a cache.
 *
 * Layout, upward: metadata arena, hugepage records, span references, class map, heap. The class map has room for
 * CLASS_MAP_DISTANCE bytes and the heap starts where it ends, so that free reaches a page's class at a constant
 * displacement from window_base. Nothing is reserved: all of it is mapped in steps as the heap grows (the mapping lock,
 * see mapping.c, guards growth; entries belong to whoever owns the pages, and are read without a lock by free, whose
 * caller owns the object).
 */
#ifndef TIERMALLOC_PAGEHEAP_PAGE_MAP_H
#define TIERMALLOC_PAGEHEAP_PAGE_MAP_H

#include "base/arena.h"
#include "base/common.h"
#include "size_classes.h"

#define HUGEPAGE_SHIFT 21
#define HUGEPAGE_SIZE  ((size_t)1 << HUGEPAGE_SHIFT)
#define HUGEPAGE_PAGES (HUGEPAGE_SIZE >> PAGE_SHIFT)

/* The largest displacement that an x86-64 instruction can hold. */
#define CLASS_MAP_DISTANCE ((uintptr_t)1 << 31)

struct span;
struct hugepage;

struct window {
	uintptr_t base;   /* start of the heap */
	uintptr_t extent; /* bytes from base up to the end of what has ever been mapped; 0 until there is a heap */
};

extern HIDDEN struct window window;
extern HIDDEN uint32_t *span_references;
extern HIDDEN struct hugepage *hugepage_records;

/* Whether the address lies in the heap's part of the window (which need not mean that it was allocated). */
static inline bool in_window(uintptr_t address)
{
	return address - window.base < load_relaxed(&window.extent);
}

static inline size_t page_of(uintptr_t address)
{
	return (address - window.base) >> PAGE_SHIFT;
}

static inline uintptr_t page_address(size_t page)
{
	return window.base + (page << PAGE_SHIFT);
}

/* What the class map says of a class. */
#define CLASS_OFFSET(class) ((size_t)(class) * sizeof(void *))

static inline uint16_t *page_class_offset(size_t page)
{
	return (uint16_t *)(window.base - CLASS_MAP_DISTANCE) + page;
}

/* The class of a page's objects, or 0: large, never allocated, or not the heap's. */
static inline unsigned page_class(size_t page)
{
	return (unsigned)(*page_class_offset(page) / sizeof(void *));
}

/* The span that a page belongs to, or NULL. Of a large block only the first page names it. */
static inline struct span *page_span(size_t page)
{
	uint32_t reference = span_references[page];

	return reference != 0 ? arena_block(reference) : NULL;
}

/* Names `span` and `class` (0 for none) on `pages` pages from `first` on; NULL wipes them. */
void page_map_set(size_t first, size_t pages, const struct span *span, unsigned class);

/* Chooses the window and maps what its first hugepage needs. Returns false if there is no memory at all. */
bool page_map_initialise(void);

/* Hugepages that the window has room for. */
size_t page_map_capacity(void);

/* Makes the arrays cover hugepages [0, hugepages). False if the system has no memory for that. */
bool page_map_cover(size_t hugepages);

/* Bytes of address space that the arrays take. */
size_t page_map_bytes(void);

#endif

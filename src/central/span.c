/* Making, changing and unmaking spans: descriptor, pages and page map together. Large blocks are counted here. */
#include <string.h>

#include "base/arena.h"
#include "central/central.h"
#include "central/occupancy.h"
#include "pageheap/pageheap.h"

/* Spans with at least so many objects count as "many": one long-lived object in them is likely. */
#define MANY_OBJECTS 16

/*
 * Pages of objects up to this size are populated ahead: neighbours share the kernel's pages and follow each other. With
 * 4096 here, 100,000 objects of 1 KiB that nobody wrote to took 99 MiB instead of 8.
 */
#define DENSE_OBJECT 512

/*
 * A block is copied to where there is memory for half of it or more, up to this size, and its pages are moved otherwise: moving
 * loses the memory that was there, and what stays behind has none. (Four vectors that double to 16 MiB, again and again, take 8
 * ms instead of 18 a round. Copying 4 KiB costs less than half of what faulting them in does.)
 */
#define LARGEST_COPY_TO_MEMORY ((size_t)16 << 20)

static struct large_statistics large;

static void count_large(ptrdiff_t blocks, ptrdiff_t pages)
{
	__atomic_fetch_add(&large.blocks, (size_t)blocks, __ATOMIC_RELAXED);
	__atomic_fetch_add(&large.bytes, (size_t)pages << PAGE_SHIFT, __ATOMIC_RELAXED);
}

void central_read_large_statistics(struct large_statistics *statistics)
{
	statistics->blocks = load_relaxed(&large.blocks);
	statistics->bytes = load_relaxed(&large.bytes);
}

static size_t descriptor_bytes(size_t objects)
{
	return sizeof(struct span) + WORDS_FOR_BITS(objects) * sizeof(uint64_t);
}

/* Pages and descriptor; NULL without a trace if either is missing. */
static struct span *create(const struct page_request *request, size_t objects, struct page_run *run)
{
	struct span *span = arena_allocate(descriptor_bytes(objects));

	if (span == NULL)
		return NULL;
	if (!pageheap_allocate(request, run)) {
		arena_free(span, descriptor_bytes(objects));
		return NULL;
	}
	span->start = run->address;
	span->zeroed = run->zeroed;
	span->pages = (uint32_t)request->pages;
	span->objects = (uint16_t)objects;
	return span;
}

struct span *span_create(unsigned class)
{
	const struct size_class *info = &size_classes[class];
	const struct page_request request = {.pages = info->pages,
					     .alignment = 1,
					     .kind = info->objects >= MANY_OBJECTS ? PAGES_MANY_OBJECTS
										   : PAGES_FEW_OBJECTS,
					     .dense = info->size <= DENSE_OBJECT};
	struct page_run run;
	struct span *span = create(&request, info->objects, &run);

	if (span == NULL)
		return NULL;
	span->class = (uint8_t)class;
	span->free = info->objects;
	span->bucket_factor = OCCUPANCY_FACTOR(info->objects);
	bits_set_range(span->free_objects, 0, info->objects);
	page_map_set(page_of(span->start), span->pages, span, span->class);
	return span;
}

static struct span *create_large(const struct page_request *request, struct page_run *run)
{
	struct span *span = create(request, 0, run);

	if (span == NULL)
		return NULL;
	page_map_set(page_of(span->start), 1, span, 0);
	count_large(1, (ptrdiff_t)request->pages);
	return span;
}

struct span *span_create_large(const struct large_request *large_request)
{
	const struct page_request request = {.pages = large_request->pages,
					     .alignment = large_request->alignment,
					     .kind = PAGES_FEW_OBJECTS,
					     .zeroed = large_request->zeroed,
					     .growing = large_request->growing};
	struct page_run run;

	return create_large(&request, &run);
}

void span_destroy(struct span *span)
{
	bool is_large = span->objects == 0;

	page_map_set(page_of(span->start), is_large ? 1 : span->pages, NULL, 0);
	if (is_large)
		count_large(-1, -(ptrdiff_t)span->pages);
	pageheap_free(span->start, span->pages);
	arena_free(span, descriptor_bytes(span->objects));
}

void span_shrink(struct span *span, size_t pages)
{
	size_t less = span->pages - pages;

	if (less == 0)
		return;
	span->pages = (uint32_t)pages;
	count_large(0, -(ptrdiff_t)less);
	pageheap_free(span->start + (pages << PAGE_SHIFT), less);
}

bool span_grow(struct span *span, size_t pages)
{
	bool zeroed = false;

	if (!pageheap_grow(span->start, span->pages, pages, &zeroed))
		return false;
	count_large(0, (ptrdiff_t)(pages - span->pages));
	span->pages = (uint32_t)pages;
	return true;
}

/* The contents of a block, whose pages are taken back. */
static bool move_contents(const struct span *from, const struct page_run *to)
{
	if (from->pages > 2 * to->backed || span_bytes(from) > LARGEST_COPY_TO_MEMORY)
		return pageheap_move(from->start, to, from->pages);
	memcpy((void *)to->address, (const void *)from->start, span_bytes(from));
	pageheap_free(from->start, from->pages);
	return true;
}

struct span *span_move(struct span *span, size_t pages)
{
	const struct page_request request = {
		.pages = pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true, .moved = span->pages};
	struct page_run run;
	struct span *moved = create_large(&request, &run);

	if (moved == NULL)
		return NULL;
	/* Before the move: afterwards the old pages may be another thread's. */
	page_map_set(page_of(span->start), 1, NULL, 0);
	if (!move_contents(span, &run)) {
		page_map_set(page_of(span->start), 1, span, 0);
		span_destroy(moved);
		return NULL;
	}
	count_large(-1, -(ptrdiff_t)span->pages);
	arena_free(span, descriptor_bytes(0));
	return moved;
}

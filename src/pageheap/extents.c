/*
 * The index of free extents: a search tree by length, and by address among the equally long, whose nodes lie in the
 * records of the hugepages that the extents begin in. At most one begins in each, since all are a hugepage long or
 * longer. The tree is kept flat by chance (a treap): each node has a random priority, higher than its children's. A
 * set of the hugepages that have a node finds the extent that a page lies in.
 *
 * A node costs memory where its hugepage's record is touched anyway, and each operation some 20 steps for 10,000
 * extents.
 */
#include "pageheap/extents.h"

#include "base/number_set.h"
#include "pageheap/hugepage.h"

/* How many extents are tried for an aligned run that they are long enough for, but perhaps not in the right place. */
#define ALIGNED_TRIES 16

static struct {
	uint32_t root; /* number of its hugepage + 1; 0: the tree is empty. So are all links. */
	size_t count;
	struct number_set begun; /* hugepages that an extent begins in */
} extents;

static struct hugepage *record_of(uint32_t link)
{
	return &hugepage_records[link - 1];
}

/* Any order will do that has nothing to do with lengths and addresses. */
static uint32_t priority_of(uint32_t link)
{
	uint32_t mixed = link * UINT32_C(0x9e3779b1);

	mixed = (mixed ^ mixed >> 15) * UINT32_C(0x85ebca77);
	return mixed ^ mixed >> 13;
}

static bool comes_before(uint32_t a, uint32_t b)
{
	uint32_t pages_of_a = record_of(a)->extent_pages;
	uint32_t pages_of_b = record_of(b)->extent_pages;

	return pages_of_a != pages_of_b ? pages_of_a < pages_of_b : a < b;
}

static struct extent extent_of(uint32_t link)
{
	return (struct extent){(link - 1) * HUGEPAGE_PAGES + record_of(link)->extent_first,
			       record_of(link)->extent_pages};
}

/* Puts the node above those of lower priority, which are split into what comes before it and what comes after. */
static void insert_node(uint32_t node)
{
	uint32_t *link = &extents.root;
	uint32_t *before = &record_of(node)->extent_children[0];
	uint32_t *after = &record_of(node)->extent_children[1];
	uint32_t rest;

	while (*link != 0 && priority_of(*link) > priority_of(node))
		link = &record_of(*link)->extent_children[comes_before(*link, node)];
	rest = *link;
	*link = node;
	while (rest != 0) {
		bool is_before = comes_before(rest, node);
		uint32_t **open = is_before ? &before : &after;

		**open = rest;
		*open = &record_of(rest)->extent_children[is_before];
		rest = **open;
	}
	*before = 0;
	*after = 0;
}

/* Its two subtrees take its place, woven together by their priorities. */
static void remove_node(uint32_t node)
{
	uint32_t *link = &extents.root;
	uint32_t before = record_of(node)->extent_children[0];
	uint32_t after = record_of(node)->extent_children[1];

	while (*link != node)
		link = &record_of(*link)->extent_children[comes_before(*link, node)];
	while (before != 0 && after != 0) {
		bool take_before = priority_of(before) > priority_of(after);
		uint32_t *taken = take_before ? &before : &after;

		*link = *taken;
		link = &record_of(*taken)->extent_children[take_before];
		*taken = *link;
	}
	*link = before != 0 ? before : after;
}

static void enter(struct extent extent)
{
	size_t number = extent.first / HUGEPAGE_PAGES;

	if (extent.pages < HUGEPAGE_PAGES)
		return;
	hugepage_records[number].extent_first = (uint16_t)(extent.first % HUGEPAGE_PAGES);
	hugepage_records[number].extent_pages = (uint32_t)extent.pages;
	insert_node((uint32_t)number + 1);
	number_set_add(&extents.begun, number);
	extents.count++;
}

static void withdraw(struct extent extent)
{
	size_t number = extent.first / HUGEPAGE_PAGES;

	remove_node((uint32_t)number + 1);
	number_set_remove(&extents.begun, number);
	extents.count--;
}

/* One that comes from below has all pages of this hugepage up to this one: mostly a look at its bits says no. */
struct extent extents_at(size_t page)
{
	const struct extent none = {0, 0};
	size_t number = page / HUGEPAGE_PAGES;
	struct extent extent;

	if (!number_set_has(&extents.begun, number) || extent_of((uint32_t)number + 1).first > page) {
		if (number == 0 || bits_after_previous_set(hugepage_records[number].used, page % HUGEPAGE_PAGES) != 0)
			return none;
		number = number_set_previous(&extents.begun, number - 1);
		if (number == NO_NUMBER)
			return none;
	}
	extent = extent_of((uint32_t)number + 1);
	return page - extent.first < extent.pages ? extent : none;
}

void extents_take(size_t page, size_t pages)
{
	struct extent extent = extents_at(page);

	if (extent.pages == 0)
		return;
	withdraw(extent);
	enter((struct extent){extent.first, page - extent.first});
	enter((struct extent){page + pages, extent.first + extent.pages - (page + pages)});
}

/*
 * Free pages that are not in the index reach over one border of hugepages at most, so two hugepages are looked at.
 */
size_t extents_start_of(size_t page)
{
	for (int looks = 0; looks < 2 && page != 0; looks++) {
		size_t number = (page - 1) / HUGEPAGE_PAGES;
		size_t offset = page - number * HUGEPAGE_PAGES;
		size_t start = bits_after_previous_set(hugepage_records[number].used, offset);
		struct extent extent;

		page = number * HUGEPAGE_PAGES + start;
		if (start != 0)
			return page;
		extent = extents_at(page);
		if (extent.pages != 0)
			return extent.first;
	}
	return page;
}

/* The same upward. */
static size_t end_of(size_t page, size_t top)
{
	for (int looks = 0; looks < 2 && page / HUGEPAGE_PAGES < top; looks++) {
		size_t number = page / HUGEPAGE_PAGES;
		size_t offset = page % HUGEPAGE_PAGES;
		size_t stop = bits_next_set(hugepage_records[number].used, offset, HUGEPAGE_PAGES);
		struct extent extent;

		if (stop != HUGEPAGE_PAGES)
			return number * HUGEPAGE_PAGES + stop;
		extent = extents_at(page);
		if (extent.pages != 0)
			return extent.first + extent.pages;
		page = (number + 1) * HUGEPAGE_PAGES;
	}
	return page;
}

void extents_add(size_t page, size_t pages, size_t top)
{
	size_t start = extents_start_of(page);
	size_t end = end_of(page + pages, top);
	struct extent below;
	struct extent above;

	if (end - start < HUGEPAGE_PAGES)
		return;
	below = extents_at(start);
	above = extents_at(end - 1);
	if (below.pages != 0)
		withdraw(below);
	if (above.pages != 0)
		withdraw(above);
	enter((struct extent){start, end - start});
}

/* The first extent in the tree's order that is not before one of so many pages in the hugepage `link` - 1. */
static uint32_t first_from(size_t pages, uint32_t link)
{
	uint32_t found = 0;

	for (uint32_t at = extents.root; at != 0;) {
		struct hugepage *record = record_of(at);
		bool is_before = record->extent_pages != pages ? record->extent_pages < pages : at < link;

		if (!is_before)
			found = at;
		at = record->extent_children[is_before];
	}
	return found;
}

/* Rounds up so that the page's address is a multiple of so many pages. */
static size_t align_page(size_t page, size_t alignment)
{
	size_t base = window.base >> PAGE_SHIFT;

	return round_up(base + page, alignment) - base;
}

size_t extents_fit(size_t pages, size_t alignment)
{
	uint32_t link = first_from(pages, 0);

	for (int tries = 0; link != 0; tries++) {
		struct extent extent = extent_of(link);
		size_t start = align_page(extent.first, alignment);

		if (start + pages <= extent.first + extent.pages)
			return start;
		if (tries < ALIGNED_TRIES)
			link = first_from(extent.pages, link + 1);
		else
			link = first_from(maximum(pages + alignment - 1, extent.pages + 1), 0);
	}
	return NO_NUMBER;
}

size_t extents_count(void)
{
	return extents.count;
}

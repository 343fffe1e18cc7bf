/* The page heap's part of the whole-heap validator: every record against the counters and the sets. */
#include "pageheap/extents.h"
#include "pageheap/heap_state.h"
#include "pageheap/huge_pages.h"
#include "pageheap/moved.h"

struct totals {
	size_t mapped;
	size_t whole_free;
	size_t used;
	size_t released;
	size_t whole_backed;
};

static const char *check_counts(const struct hugepage *hugepage)
{
	for (size_t word = 0; word < HUGEPAGE_WORDS; word++) {
		if (hugepage->used[word] & hugepage->released[word])
			return "a page is both used and released";
	}
	if (bits_count_range(hugepage->used, 0, HUGEPAGE_PAGES) != hugepage->used_count)
		return "a hugepage's count of used pages is wrong";
	if (bits_count_range(hugepage->released, 0, HUGEPAGE_PAGES) != hugepage->released_count)
		return "a hugepage's count of released pages is wrong";
	if (bits_longest_clear(hugepage->used, HUGEPAGE_PAGES) != hugepage->longest)
		return "a hugepage's longest free range is wrong";
	return NULL;
}

static const char *check_sets(size_t number, const struct hugepage *hugepage)
{
	bool whole = hugepage->state != HUGEPAGE_FOREIGN && hugepage->used_count == 0;
	bool backed = whole && hugepage->state == HUGEPAGE_MAPPED && hugepage_backed_free(hugepage) != 0;
	bool listed = hugepage->used_count != 0 && hugepage->used_count != HUGEPAGE_PAGES;

	if (number_set_has(&heap.available, number) != whole)
		return "the set of free hugepages is wrong";
	if (number_set_has(&heap.backed, number) != backed)
		return "the set of backed free hugepages is wrong";
	if ((hugepage->list != 0) != listed)
		return "a partly used hugepage is not in the filler, or another is";
	return NULL;
}

static const char *check_hugepage(size_t number, struct totals *totals)
{
	const struct hugepage *hugepage = &hugepage_records[number];
	const char *wrong = check_sets(number, hugepage);

	if (wrong != NULL || hugepage->state != HUGEPAGE_MAPPED)
		return wrong;
	totals->mapped++;
	totals->used += hugepage->used_count;
	totals->released += hugepage->released_count;
	if (hugepage->used_count == 0) {
		totals->whole_free++;
		totals->whole_backed += hugepage_backed_free(hugepage);
	}
	return check_counts(hugepage);
}

static bool page_is_free(size_t page)
{
	return !bit_test(hugepage_records[page / HUGEPAGE_PAGES].used, page % HUGEPAGE_PAGES);
}

/* The index has every free run of a hugepage and more, in its whole length, and nothing else. */
static const char *check_extents(void)
{
	size_t end = heap.top * HUGEPAGE_PAGES;
	size_t count = 0;

	for (size_t page = 0; page < end; page++) {
		size_t first = page;
		struct extent extent;

		while (page < end && page_is_free(page))
			page++;
		if (page - first < HUGEPAGE_PAGES)
			continue;
		extent = extents_at(first);
		if (extent.first != first || extent.pages != page - first)
			return "a free extent is not in the index as it is";
		count++;
	}
	return count == extents_count() ? NULL : "there is an extent in the index that is not free";
}

static const char *check_heap(void)
{
	struct totals totals = {0};

	for (size_t number = 0; number < heap.top; number++) {
		const char *wrong = check_hugepage(number, &totals);

		if (wrong != NULL)
			return wrong;
	}
	if (totals.mapped != heap.mapped || totals.whole_free != heap.whole_free)
		return "the heap's count of hugepages is wrong";
	if (totals.used != heap.used || totals.released != heap.released || totals.whole_backed != heap.whole_backed)
		return "the heap's counts of pages are wrong";
	if (!huge_pages_count_is_right())
		return "the count of hugepages advised differently is wrong";
	if (!moved_count_is_right())
		return "the count of mappings that memory was moved to is wrong";
	return check_extents();
}

const char *pageheap_validate(void)
{
	const char *wrong;

	lock_acquire(&heap.lock);
	wrong = check_heap();
	lock_release(&heap.lock);
	return wrong;
}

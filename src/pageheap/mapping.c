/*
 * How hugepages get their addresses, with the page heap's lock let go while the system maps them.
 *
 * A second lock, the mapping lock, is taken by whoever finds that the place of his choice lacks addresses. Only its
 * owner raises the heap's top, and turns hugepages without addresses into mapped or foreign ones. Meanwhile they stay
 * in the sets as they are: others may choose them, too, and then wait for the mapping lock. So nothing is in between
 * states when the page heap's lock is free, and fork, which takes both locks, finds no mapping under way.
 *
 * Order: the mapping lock first, then the page heap's. Whoever has the second and needs the first lets it go
 * (mapping_begin), and must choose again: what has addresses already, others may have taken. The page map's arrays grow
 * under the mapping lock alone.
 */
#include "base/os.h"
#include "pageheap/extents.h"
#include "pageheap/heap_state.h"

static struct lock mapping_lock;

/* Hugepages below `end` that were passed over count as available, unmapped. */
static void raise_top(size_t end)
{
	size_t old = heap.top;

	if (end <= old)
		return;
	store_relaxed(&heap.top, end);
	for (size_t number = old; number < end; number++)
		heap_enter_free(number);
	extents_add(old * HUGEPAGE_PAGES, (end - old) * HUGEPAGE_PAGES, end);
	__atomic_store_n(&window.extent, end << HUGEPAGE_SHIFT, __ATOMIC_RELEASE);
}

/* An available hugepage has got its addresses. */
static void note_mapped(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];

	heap_leave_free(number);
	hugepage->state = HUGEPAGE_MAPPED;
	bits_set_range(hugepage->released, 0, HUGEPAGE_PAGES);
	hugepage->released_count = HUGEPAGE_PAGES;
	hugepage->used_count = 0;
	hugepage->longest = HUGEPAGE_PAGES;
	heap.mapped++;
	heap.released += HUGEPAGE_PAGES;
	heap_enter_free(number);
}

static void note_foreign(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];

	heap_leave_free(number);
	extents_take(number * HUGEPAGE_PAGES, HUGEPAGE_PAGES);
	hugepage->state = HUGEPAGE_FOREIGN;
	bits_set_range(hugepage->used, 0, HUGEPAGE_PAGES);
}

static void note_run_mapped(size_t first, size_t count)
{
	for (size_t number = first; number < first + count; number++)
		note_mapped(number);
}

/*
 * Maps hugepages that have no addresses. OS_TAKEN: some belong to somebody else; they are found by halving and
 * marked, the others are mapped.
 */
static enum os_result map_unmapped(size_t first, size_t count)
{
	enum os_result result;

	lock_release(&heap.lock);
	result = os_map(page_address(first * HUGEPAGE_PAGES), count << HUGEPAGE_SHIFT);
	lock_acquire(&heap.lock);
	if (result == OS_DONE)
		note_run_mapped(first, count);
	if (result != OS_TAKEN)
		return result;
	if (count == 1) {
		note_foreign(first);
		return OS_TAKEN;
	}
	if (map_unmapped(first, count / 2) == OS_FAILED ||
	    map_unmapped(first + count / 2, count - count / 2) == OS_FAILED)
		return OS_FAILED;
	return OS_TAKEN;
}

/* Maps before it makes the page map cover the hugepages, so that an impossible request fails without a trace. */
static enum os_result map_and_cover(size_t first, size_t count)
{
	uintptr_t address = page_address(first * HUGEPAGE_PAGES);
	enum os_result result = os_map(address, count << HUGEPAGE_SHIFT);

	if (result == OS_FAILED || page_map_cover(first + count))
		return result;
	if (result == OS_DONE)
		os_unmap(address, count << HUGEPAGE_SHIFT);
	return OS_FAILED;
}

static enum os_result map_beyond_top(size_t first, size_t count)
{
	enum os_result result;

	lock_release(&heap.lock);
	result = map_and_cover(first, count);
	lock_acquire(&heap.lock);
	if (result == OS_FAILED)
		return OS_FAILED;
	raise_top(first + count);
	if (result == OS_TAKEN)
		return map_unmapped(first, count);
	note_run_mapped(first, count);
	return OS_DONE;
}

/* The hugepages from the first page's to the last page's. */
static size_t end_of_hugepages(size_t page, size_t pages)
{
	return (page + pages - 1) / HUGEPAGE_PAGES + 1;
}

bool mapping_covers(size_t page, size_t pages)
{
	size_t end = end_of_hugepages(page, pages);

	if (end > heap.top)
		return false;
	for (size_t number = page / HUGEPAGE_PAGES; number < end; number++) {
		if (hugepage_records[number].state != HUGEPAGE_MAPPED)
			return false;
	}
	return true;
}

void mapping_begin(void)
{
	lock_release(&heap.lock);
	lock_acquire(&mapping_lock);
	lock_acquire(&heap.lock);
}

void mapping_end(void)
{
	lock_release(&mapping_lock);
}

enum os_result mapping_extend(size_t page, size_t pages)
{
	size_t first = page / HUGEPAGE_PAGES;
	size_t end = end_of_hugepages(page, pages);
	enum os_result result = OS_DONE;

	if (end > heap.top) {
		size_t beyond = maximum(first, heap.top);

		result = map_beyond_top(beyond, end - beyond);
	}
	for (size_t number = first; number < end && result == OS_DONE;) {
		size_t stop = number;

		while (stop < end && hugepage_records[stop].state == HUGEPAGE_UNMAPPED)
			stop++;
		if (stop > number)
			result = map_unmapped(number, stop - number);
		number = stop + 1;
	}
	return result;
}

struct lock *pageheap_mapping_lock(void)
{
	return &mapping_lock;
}

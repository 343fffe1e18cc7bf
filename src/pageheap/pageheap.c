/*
 * The page heap's allocation policy: runs of less than a hugepage go through the filler, longer ones to the lowest
 * sufficient run of free hugepages, whose last one's tail the filler gets.
 */
#include "pageheap/pageheap.h"

#include <string.h>

#include "base/os.h"
#include "pageheap/huge_pages.h"
#include "pageheap/limits.h"

struct heap_state heap;

/* How often a run of addresses is looked for again after somebody else's mapping was found in it. */
#define MAPPING_TRIES 64

void heap_enter_free(size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];
	size_t backed = 0;

	bit_set(heap.available, number);
	heap.first_available = minimum(heap.first_available, number);
	if (hugepage->state == HUGEPAGE_MAPPED) {
		backed = hugepage_backed_free(hugepage);
		heap.whole_free++;
	}
	if (backed != 0) {
		bit_set(heap.backed, number);
		heap.whole_backed += backed;
	}
}

void heap_leave_free(size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];

	bit_clear(heap.available, number);
	if (hugepage->state != HUGEPAGE_MAPPED)
		return;
	heap.whole_free--;
	if (bit_test(heap.backed, number)) {
		bit_clear(heap.backed, number);
		heap.whole_backed -= hugepage_backed_free(hugepage);
	}
}

size_t heap_take(size_t number, size_t first, size_t count, enum page_kind kind)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t released = bits_count_range(hugepage->released, first, count);
	size_t range;

	if (hugepage->used_count == 0) {
		heap_leave_free(number);
		hugepage->kind = (uint8_t)kind;
		hugepage->growing = false;
	} else {
		filler_remove(number);
	}
	range = bits_clear_run_around(hugepage->used, HUGEPAGE_PAGES, first);
	bits_set_range(hugepage->used, first, count);
	if (range == hugepage->longest)
		hugepage->longest = (uint16_t)bits_longest_clear(hugepage->used, HUGEPAGE_PAGES);
	bits_clear_range(hugepage->released, first, count);
	hugepage->used_count = (uint16_t)(hugepage->used_count + count);
	hugepage->released_count = (uint16_t)(hugepage->released_count - released);
	heap.used += count;
	heap.released -= released;
	filler_insert(number);
	return released;
}

/* Free pages are not backed: all of these, or those that are in a set of the hugepage's. */
static void mark_released(struct hugepage *hugepage, size_t first, size_t count, const uint64_t *set)
{
	size_t before = bits_count_range(hugepage->released, first, count);
	size_t gained;

	if (set == NULL)
		bits_set_range(hugepage->released, first, count);
	for (size_t page = first; set != NULL && page < first + count; page++) {
		if (bit_test(set, page))
			bit_set(hugepage->released, page);
	}
	gained = bits_count_range(hugepage->released, first, count) - before;
	hugepage->released_count = (uint16_t)(hugepage->released_count + gained);
	heap.released += gained;
}

void heap_return(size_t number, size_t first, size_t count, const uint64_t *released)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t range;

	filler_remove(number);
	bits_clear_range(hugepage->used, first, count);
	range = bits_clear_run_around(hugepage->used, HUGEPAGE_PAGES, first);
	hugepage->longest = (uint16_t)maximum(hugepage->longest, range);
	hugepage->used_count = (uint16_t)(hugepage->used_count - count);
	heap.used -= count;
	mark_released(hugepage, first, count, released);
	if (hugepage->used_count == 0)
		heap_enter_free(number);
	else
		filler_insert(number);
}

/* A run's part in one hugepage. */
struct part {
	size_t number;
	size_t first;
	size_t count;
};

static struct part part_at(size_t page, size_t pages)
{
	size_t first = page % HUGEPAGE_PAGES;

	return (struct part){page / HUGEPAGE_PAGES, first, minimum(pages, HUGEPAGE_PAGES - first)};
}

/* Returns whether all of the run is known to read zero. */
static bool take_run(size_t page, size_t pages, enum page_kind kind)
{
	size_t released = 0;
	size_t total = pages;

	while (pages != 0) {
		struct part part = part_at(page, pages);

		released += heap_take(part.number, part.first, part.count, kind);
		page += part.count;
		pages -= part.count;
	}
	release_note_taken(total);
	return released == total;
}

static void return_run(size_t page, size_t pages, bool released)
{
	static const uint64_t none[HUGEPAGE_WORDS];

	while (pages != 0) {
		struct part part = part_at(page, pages);

		heap_return(part.number, part.first, part.count, released ? NULL : none);
		page += part.count;
		pages -= part.count;
	}
	release_note_freed();
}

/* Hugepages below `end` that were passed over count as available, unmapped. */
static void raise_top(size_t end)
{
	size_t old = heap.top;

	if (end <= old)
		return;
	heap.top = end;
	for (size_t number = old; number < end; number++) {
		if (hugepage_records[number].state == HUGEPAGE_UNMAPPED)
			heap_enter_free(number);
	}
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
	heap_leave_free(number);
	hugepage_records[number].state = HUGEPAGE_FOREIGN;
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
	enum os_result result = os_map(page_address(first * HUGEPAGE_PAGES), count << HUGEPAGE_SHIFT);

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
static enum os_result map_beyond_top(size_t first, size_t count)
{
	uintptr_t address = page_address(first * HUGEPAGE_PAGES);
	enum os_result result = os_map(address, count << HUGEPAGE_SHIFT);

	if (result == OS_FAILED)
		return OS_FAILED;
	if (!page_map_cover(first + count)) {
		if (result == OS_DONE)
			os_unmap(address, count << HUGEPAGE_SHIFT);
		return OS_FAILED;
	}
	raise_top(first + count);
	if (result == OS_TAKEN)
		return map_unmapped(first, count);
	note_run_mapped(first, count);
	return OS_DONE;
}

/* Sees to it that all hugepages of an available run have addresses. */
static enum os_result map_run(size_t first, size_t count)
{
	size_t end = first + count;
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

/* First hugepage of the run of available ones that ends at the heap's top. */
static size_t start_of_top(void)
{
	size_t start = heap.top;

	while (start > 0 && bit_test(heap.available, start - 1))
		start--;
	return start;
}

/* Rounds a hugepage's number up so that its address is a multiple of `alignment` hugepages. */
static size_t align_number(size_t number, size_t alignment)
{
	size_t base = window.base >> HUGEPAGE_SHIFT;

	return round_up(base + number, alignment) - base;
}

/* The lowest run of available hugepages; it may reach beyond the top, where everything is available. */
static size_t find_hugepages(size_t count, size_t alignment)
{
	size_t at = bits_next_set(heap.available, heap.first_available, heap.top);

	heap.first_available = at;
	if (count == 1 && alignment == 1 && heap.whole_backed != 0)
		return bits_next_set(heap.backed, 0, heap.top);
	while (at < heap.top) {
		size_t start = align_number(at, alignment);
		size_t stop;

		if (start >= heap.top)
			break;
		stop = bits_next_clear(heap.available, start, heap.top);
		if (stop > start && (stop - start >= count || stop == heap.top))
			return start;
		at = bits_next_set(heap.available, maximum(stop, start + 1), heap.top);
	}
	return align_number(heap.top, alignment);
}

/* A free hugepage that has its addresses already: the last resort when the system gives no new ones. */
static size_t find_mapped_hugepage(void)
{
	size_t number = bits_next_set(heap.available, heap.first_available, heap.top);

	while (number < heap.top && hugepage_records[number].state != HUGEPAGE_MAPPED)
		number = bits_next_set(heap.available, number + 1, heap.top);
	return number < heap.top ? number : NO_HUGEPAGE;
}

/* Finds and maps a run of wholly free hugepages. */
static size_t obtain_hugepages(size_t count, size_t alignment, bool growing)
{
	for (int tries = 0; tries < MAPPING_TRIES; tries++) {
		size_t first = growing ? align_number(start_of_top(), alignment) : find_hugepages(count, alignment);
		enum os_result result;

		if (count > page_map_capacity() || first > page_map_capacity() - count)
			return NO_HUGEPAGE;
		result = map_run(first, count);
		if (result == OS_DONE)
			return first;
		if (result == OS_FAILED)
			return count == 1 && alignment == 1 ? find_mapped_hugepage() : NO_HUGEPAGE;
	}
	return NO_HUGEPAGE;
}

/* A run that is likely to grow goes where it can become so many times as long, or onto a free hugepage. */
#define ROOM_TO_GROW 4

static size_t find_kind_in_filler(const struct page_request *request, size_t *first)
{
	if (request->growing && request->alignment == 1)
		return filler_find_roomiest(request->kind, request->pages * ROOM_TO_GROW, first);
	return filler_find(request->kind, request->pages, request->alignment, first);
}

/* The first page of a run that fits into one hugepage, or NO_HUGEPAGE. */
static size_t find_in_filler(const struct page_request *request)
{
	size_t first = 0;
	size_t number = find_kind_in_filler(request, &first);

	if (number == NO_HUGEPAGE) {
		number = obtain_hugepages(1, 1, false);
		first = 0;
	}
	for (unsigned kind = 0; number == NO_HUGEPAGE && kind < PAGE_KINDS; kind++)
		number = filler_find((enum page_kind)kind, request->pages, request->alignment, &first);
	return number == NO_HUGEPAGE ? NO_HUGEPAGE : number * HUGEPAGE_PAGES + first;
}

static size_t find_hugepage_run(const struct page_request *request)
{
	size_t count = (request->pages + HUGEPAGE_PAGES - 1) / HUGEPAGE_PAGES;
	size_t alignment = maximum(request->alignment / HUGEPAGE_PAGES, 1);
	size_t number;

	if (count > page_map_capacity() || alignment > page_map_capacity())
		return NO_HUGEPAGE;
	number = obtain_hugepages(count, alignment, request->growing);
	return number == NO_HUGEPAGE ? NO_HUGEPAGE : number * HUGEPAGE_PAGES;
}

/* Pages of a run, which has its addresses, that are not backed. */
static size_t count_released(size_t page, size_t pages)
{
	size_t released = 0;

	for (size_t at = page; at < page + pages;) {
		struct part part = part_at(at, page + pages - at);

		released += bits_count_range(hugepage_records[part.number].released, part.first, part.count);
		at += part.count;
	}
	return released;
}

/*
 * Where zeroed pages are wanted and only some are known to be so, the others are given back to the system, which
 * clears them when they are touched: clearing all would touch all. Pages that are all backed are left to be cleared
 * by the caller.
 */
static void unback_mixed(size_t page, size_t pages)
{
	size_t released = count_released(page, pages);

	if (released == 0 || released == pages)
		return;
	for (size_t at = page; at < page + pages;) {
		struct part part = part_at(at, page + pages - at);

		release_range(part.number, part.first, part.count);
		at += part.count;
	}
}

/* Whether a run may be taken, where the memory of so many pages goes soon. */
static bool hard_limit_admits(size_t page, size_t pages, size_t moved)
{
	size_t released;

	if (likely(limits.hard_bytes == 0))
		return true;
	released = count_released(page, pages);
	return limits_admit(pages - moved, released > moved ? released - moved : 0);
}

/* The first page of a run that may be taken, or NO_HUGEPAGE. `small`: it fits into a hugepage. */
static inline size_t find_run(const struct page_request *request, bool small)
{
	size_t more = request->pages - request->moved;
	size_t page;

	if (!limits_admit(more, 0))
		return NO_HUGEPAGE;
	page = small ? find_in_filler(request) : find_hugepage_run(request);
	if (page == NO_HUGEPAGE)
		return NO_HUGEPAGE;
	if (request->zeroed)
		unback_mixed(page, request->pages);
	return hard_limit_admits(page, request->pages, request->moved) ? page : NO_HUGEPAGE;
}

/* False: none, or against the hard limit. */
static bool allocate(const struct page_request *request, struct page_run *run)
{
	bool small = request->pages < HUGEPAGE_PAGES && request->alignment <= HUGEPAGE_PAGES;
	struct huge_page_work huge_pages = {0};
	size_t populated = 0;
	size_t page;

	lock_acquire(&heap.lock);
	page = find_run(request, small);
	if (page != NO_HUGEPAGE) {
		run->address = page_address(page);
		run->zeroed = take_run(page, request->pages, request->kind);
		if (small && request->growing)
			hugepage_records[page / HUGEPAGE_PAGES].growing = true;
		huge_pages_choose(page, request, run->zeroed, &huge_pages);
		if (small && request->dense && run->zeroed && huge_pages.samples == 0)
			populated = populate_choose(page / HUGEPAGE_PAGES, page % HUGEPAGE_PAGES, request->pages);
		heap_report(&(struct page_event){
			.kind = PAGE_ALLOCATED, .page = page, .pages = request->pages, .request = request});
		limits_look();
	}
	lock_release(&heap.lock);
	huge_pages_perform(&huge_pages);
	if (populated != 0)
		populate_perform(run->address, populated << PAGE_SHIFT);
	limits_act();
	return page != NO_HUGEPAGE;
}

bool pageheap_allocate(const struct page_request *request, struct page_run *run)
{
	return likely(allocate(request, run)) || (limits_make_room(request->pages) && allocate(request, run));
}

/* Whether kernel calls can work on exactly this run. */
static bool kernel_aligned(uintptr_t address, size_t pages)
{
	return ((address | pages << PAGE_SHIFT) & (os_page_size() - 1)) == 0;
}

void pageheap_free(uintptr_t address, size_t pages, bool remap)
{
	bool released;

	lock_acquire(&heap.lock);
	released = remap && kernel_aligned(address, pages) && os_map_over(address, pages << PAGE_SHIFT) == OS_DONE;
	if (released)
		huge_pages_forget(page_of(address), pages);
	return_run(page_of(address), pages, released);
	heap_report(&(struct page_event){.kind = PAGE_FREED, .page = page_of(address), .pages = pages, .remap = remap});
	release_after_free();
	limits_look();
	lock_release(&heap.lock);
	limits_act();
}

/* Whether the pages are all free, or beyond the top. */
static bool run_is_free(size_t page, size_t pages)
{
	while (pages != 0) {
		struct part part = part_at(page, pages);

		if (part.number >= heap.top)
			return true;
		if (!bit_test(heap.available, part.number)) {
			const struct hugepage *hugepage = &hugepage_records[part.number];

			if (hugepage->state != HUGEPAGE_MAPPED ||
			    bits_count_range(hugepage->used, part.first, part.count) != 0)
				return false;
		}
		page += part.count;
		pages -= part.count;
	}
	return true;
}

static bool grow(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed)
{
	size_t page = page_of(address) + pages;
	size_t count = new_pages - pages;
	size_t first = page / HUGEPAGE_PAGES;
	size_t last = (page + count - 1) / HUGEPAGE_PAGES;
	struct huge_page_work huge_pages = {0};
	bool grown;

	lock_acquire(&heap.lock);
	grown = last < page_map_capacity() && limits_admit(count, 0) && run_is_free(page, count) &&
		map_run(first, last - first + 1) == OS_DONE && hard_limit_admits(page, count, 0);
	if (grown) {
		*zeroed = take_run(page, count, PAGES_FEW_OBJECTS);
		huge_pages_choose_grown(page, count, new_pages, *zeroed, &huge_pages);
		heap_report(&(struct page_event){
			.kind = PAGE_GROWN, .page = page_of(address), .pages = pages, .other = new_pages});
		limits_look();
	}
	lock_release(&heap.lock);
	huge_pages_perform(&huge_pages);
	limits_act();
	return grown;
}

bool pageheap_grow(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed)
{
	return grow(address, pages, new_pages, zeroed) ||
	       (limits_make_room(new_pages - pages) && grow(address, pages, new_pages, zeroed));
}

bool pageheap_move(uintptr_t from, uintptr_t to, size_t pages)
{
	enum os_result result = OS_FAILED;

	lock_acquire(&heap.lock);
	if (kernel_aligned(from, pages) && kernel_aligned(to, pages))
		result = os_move(from, to, pages << PAGE_SHIFT);
	/* OS_TAKEN: the old addresses are somebody else's now, and stay in use for ever. */
	if (result != OS_FAILED)
		huge_pages_moved(page_of(from), page_of(to), pages);
	if (result == OS_DONE)
		return_run(page_of(from), pages, true);
	if (result != OS_FAILED)
		heap_report(&(struct page_event){
			.kind = PAGE_MOVED, .page = page_of(from), .pages = pages, .other = page_of(to)});
	lock_release(&heap.lock);
	return result != OS_FAILED;
}

void pageheap_read_statistics(struct pageheap_statistics *statistics)
{
	lock_acquire(&heap.lock);
	*statistics = (struct pageheap_statistics){
		.mapped = heap.mapped << HUGEPAGE_SHIFT,
		.used = (heap.used - heap.transit) << PAGE_SHIFT,
		.purged = pageheap_purged(),
		.free = (heap_backed_free() + heap.transit) << PAGE_SHIFT,
		.released = heap.released << PAGE_SHIFT,
		.hugepages = heap.mapped,
		.whole_free_hugepages = heap.whole_free,
		.map_bytes = page_map_bytes(),
		.released_total = heap.released_total + release_purged_total(),
		.counted = limits_counted(),
		.release_limit = release_limit_bytes(),
	};
	huge_pages_read_statistics(&statistics->huge_pages);
	lock_release(&heap.lock);
}

struct lock *pageheap_lock(void)
{
	return &heap.lock;
}

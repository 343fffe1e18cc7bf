/*
 * The page heap's allocation policy. Runs of less than a hugepage go through the filler, each into one hugepage. Longer
 * ones go to the shortest free extent that has room (extents.h): they may begin behind what else a hugepage holds, and
 * the rest of their last hugepage is the filler's.
 *
 * Runs that grow have hugepages of their own kind. They move on and on, and whatever shared a hugepage with them would
 * hold it, nearly empty, when they have gone: vectors that grew among 10 MiB of other spans left those on 45
 * hugepages.
 *
 * The lock is not held while the system is called: a run's memory is moved, mapped anew or cleared while the run is in
 * use, and so nobody else's; mapping.c says how hugepages get their addresses.
 */
#include "pageheap/pageheap.h"

#include <string.h>

#include "base/os.h"
#include "pageheap/extents.h"
#include "pageheap/huge_pages.h"
#include "pageheap/limits.h"
#include "pageheap/moved.h"

struct heap_state heap;

/*
 * How often a place is looked for again, after somebody else's mapping was found there, or another thread has taken
 * part of it.
 */
#define MAPPING_TRIES 64

void heap_enter_free(size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];
	size_t backed = 0;

	number_set_add(&heap.available, number);
	if (hugepage->state == HUGEPAGE_MAPPED) {
		backed = hugepage_backed_free(hugepage);
		heap.whole_free++;
	}
	if (backed != 0) {
		number_set_add(&heap.backed, number);
		heap.whole_backed += backed;
	}
}

void heap_leave_free(size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];

	number_set_remove(&heap.available, number);
	if (hugepage->state != HUGEPAGE_MAPPED)
		return;
	heap.whole_free--;
	if (number_set_has(&heap.backed, number)) {
		number_set_remove(&heap.backed, number);
		heap.whole_backed -= hugepage_backed_free(hugepage);
	}
}

/* Takes pages of one mapped hugepage. Returns how many of them were released and so read zero. */
static size_t take_pages(size_t number, size_t first, size_t count, enum page_kind kind)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t released = bits_count_range(hugepage->released, first, count);
	size_t range;

	if (hugepage->used_count == 0) {
		heap_leave_free(number);
		hugepage->kind = (uint8_t)kind;
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

static void return_pages(size_t number, size_t first, size_t count, const uint64_t *released)
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

void heap_take(size_t number, size_t first, size_t count, enum page_kind kind)
{
	extents_take(number * HUGEPAGE_PAGES + first, count);
	take_pages(number, first, count, kind);
}

void heap_return(size_t number, size_t first, size_t count, const uint64_t *released)
{
	return_pages(number, first, count, released);
	extents_add(number * HUGEPAGE_PAGES + first, count, heap.top);
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

/* Returns how many of the pages were released and so read zero. */
static size_t take_run(size_t page, size_t pages, enum page_kind kind)
{
	size_t total = pages;
	size_t released = 0;

	extents_take(page, pages);
	while (pages != 0) {
		struct part part = part_at(page, pages);

		released += take_pages(part.number, part.first, part.count, kind);
		page += part.count;
		pages -= part.count;
	}
	release_note_taken(total);
	return released;
}

static void return_run(size_t page, size_t pages, bool released)
{
	static const uint64_t none[HUGEPAGE_WORDS];

	for (size_t at = page; at < page + pages;) {
		struct part part = part_at(at, page + pages - at);

		return_pages(part.number, part.first, part.count, released ? NULL : none);
		at += part.count;
	}
	extents_add(page, pages, heap.top);
	release_note_freed();
}

/* Where pages go if they are to lie above everything else that is in use: they may reach beyond the top. */
static size_t place_at_top(size_t alignment)
{
	size_t start = extents_start_of(heap.top * HUGEPAGE_PAGES);
	size_t base = window.base >> PAGE_SHIFT;

	return round_up(base + start, alignment) - base;
}

/*
 * A run of a hugepage or more that is likely to grow goes where it can become so many times as long, or above all
 * others. (Always above all others, 300 MiB in vectors went through 55 GiB of addresses, and as the lower ones became
 * free they held up to 10 times what was used. With 1 here they moved 27,573 times, with 2 20,726 times, with 4
 * 19,201 times.)
 *
 * It begins with a hugepage: where both places do, the kernel moves whole page tables instead of their entries.
 */
#define ROOM_ABOVE_HUGEPAGE 2

static size_t place_growing_run(const struct page_request *request)
{
	size_t alignment = maximum(request->alignment, HUGEPAGE_PAGES);
	size_t page = extents_fit(request->pages * ROOM_ABOVE_HUGEPAGE, alignment);

	return page != NO_NUMBER ? page : place_at_top(alignment);
}

static size_t place_run(const struct page_request *request)
{
	size_t page;

	if (request->growing)
		return place_growing_run(request);
	page = extents_fit(request->pages, request->alignment);
	return page != NO_NUMBER ? page : place_at_top(request->alignment);
}

/* A run that is likely to grow goes where it can become so many times as long, or onto a free hugepage. */
#define ROOM_TO_GROW 4

static enum page_kind kind_of(const struct page_request *request)
{
	return request->growing ? PAGES_GROWING : request->kind;
}

static size_t find_kind_in_filler(const struct page_request *request, size_t *first)
{
	if (request->growing && request->alignment == 1)
		return filler_find_roomiest(PAGES_GROWING, request->pages * ROOM_TO_GROW, first);
	return filler_find(kind_of(request), request->pages, request->alignment, first);
}

/* The lowest free hugepage that has memory behind it, or else any memory, or else the next one beyond the top. */
static size_t place_hugepage(void)
{
	size_t number = number_set_next(&heap.backed, 0);

	if (number == NO_NUMBER)
		number = number_set_next(&heap.available, 0);
	return number != NO_NUMBER ? number : heap.top;
}

static bool is_small(const struct page_request *request)
{
	return request->pages < HUGEPAGE_PAGES && request->alignment <= HUGEPAGE_PAGES;
}

/* The best place for a run. It may still lack addresses, and reach beyond the window. */
static size_t place(const struct page_request *request)
{
	size_t first = 0;
	size_t number;

	if (!is_small(request))
		return place_run(request);
	number = find_kind_in_filler(request, &first);
	if (number == NO_HUGEPAGE)
		return place_hugepage() * HUGEPAGE_PAGES;
	return number * HUGEPAGE_PAGES + first;
}

/* A place where nothing has to be mapped, however bad, for a run that fits into a hugepage. */
static size_t place_in_need(const struct page_request *request)
{
	size_t number = number_set_next(&heap.available, 0);
	size_t first = 0;

	while (number != NO_NUMBER && hugepage_records[number].state != HUGEPAGE_MAPPED)
		number = number_set_next(&heap.available, number + 1);
	for (unsigned kind = 0; number == NO_NUMBER && kind < PAGE_KINDS; kind++)
		number = filler_find((enum page_kind)kind, request->pages, request->alignment, &first);
	return number != NO_NUMBER ? number * HUGEPAGE_PAGES + first : NO_NUMBER;
}

/* Finds a place again and again, until it has addresses. Between mapping_begin and mapping_end. */
static size_t find_and_map(const struct page_request *request)
{
	size_t capacity = page_map_capacity() * HUGEPAGE_PAGES;

	for (int tries = 0; tries < MAPPING_TRIES;) {
		size_t page = place(request);
		enum os_result result;

		if (page > capacity - request->pages)
			break;
		if (mapping_covers(page, request->pages))
			return page;
		result = mapping_extend(page, request->pages);
		if (result == OS_FAILED)
			break;
		/* What has turned out to be somebody else's is not tried again: the window ends that. */
		tries += result == OS_DONE;
	}
	return is_small(request) ? place_in_need(request) : NO_NUMBER;
}

/* The first of the free pages for a run, which have addresses; or NO_NUMBER. */
static size_t find(const struct page_request *request)
{
	size_t capacity = page_map_capacity() * HUGEPAGE_PAGES;
	size_t page;

	if (request->pages > capacity || request->alignment > capacity)
		return NO_NUMBER;
	page = place(request);
	if (mapping_covers(page, request->pages))
		return page;
	mapping_begin();
	page = find_and_map(request);
	mapping_end();
	return page;
}

/* Whether kernel calls can work on exactly this run. */
static bool kernel_aligned(uintptr_t address, size_t pages)
{
	return ((address | pages << PAGE_SHIFT) & (os_page_size() - 1)) == 0;
}

/*
 * Has the system clear a run that was taken, of which only some pages read zero: clearing it by hand would touch all.
 * Pages that are all backed are left to be cleared by the caller.
 */
static bool clear_mixed(uintptr_t address, size_t pages)
{
	return kernel_aligned(address, pages) && os_release(address, pages << PAGE_SHIFT) == OS_DONE;
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

/* Whether a run may be taken, where the memory of so many pages goes soon. */
static bool hard_limit_admits(size_t page, size_t pages, size_t moved)
{
	size_t released;

	if (likely(limits.hard_bytes == 0))
		return true;
	released = count_released(page, pages);
	return limits_admit(pages - moved, released > moved ? released - moved : 0);
}

/* Under the lock, which it may let go meanwhile. NO_NUMBER: none, or against the hard limit. */
static inline size_t find_admitted(const struct page_request *request)
{
	size_t page = limits_admit(request->pages - request->moved, 0) ? find(request) : NO_NUMBER;

	return page != NO_NUMBER && hard_limit_admits(page, request->pages, request->moved) ? page : NO_NUMBER;
}

/* False: none, or against the hard limit. */
static bool allocate(const struct page_request *request, struct page_run *run)
{
	struct huge_page_work huge_pages = {0};
	size_t populated = 0;
	size_t released = 0;
	size_t page;

	lock_acquire(&heap.lock);
	page = find_admitted(request);
	if (page != NO_NUMBER) {
		run->address = page_address(page);
		/* Under a hard limit nothing may be there twice: it is moved. */
		run->backed = limits.hard_bytes == 0 ? request->moved - count_released(page, request->moved) : 0;
		heap.moving += run->backed == 0 ? request->moved : 0;
		released = take_run(page, request->pages, kind_of(request));
		run->zeroed = released == request->pages;
		huge_pages_choose(page, request, run->zeroed, &huge_pages);
		if (request->dense && run->zeroed && is_small(request) && huge_pages.samples == 0)
			populated = populate_choose(page / HUGEPAGE_PAGES, page % HUGEPAGE_PAGES, request->pages);
		heap_report(&(struct page_event){
			.kind = PAGE_ALLOCATED, .page = page, .pages = request->pages, .request = request});
		limits_look();
	}
	lock_release(&heap.lock);
	if (page == NO_NUMBER)
		return false;
	huge_pages_perform(&huge_pages);
	if (populated != 0)
		populate_perform(run->address, populated << PAGE_SHIFT);
	if (request->zeroed && released != 0 && !run->zeroed)
		run->zeroed = clear_mixed(run->address, request->pages);
	limits_act();
	return true;
}

bool pageheap_allocate(const struct page_request *request, struct page_run *run)
{
	return likely(allocate(request, run)) || (limits_make_room(request->pages) && allocate(request, run));
}

void pageheap_free(uintptr_t address, size_t pages)
{
	lock_acquire(&heap.lock);
	return_run(page_of(address), pages, false);
	heap_report(&(struct page_event){.kind = PAGE_FREED, .page = page_of(address), .pages = pages});
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
		if (bits_count_range(hugepage_records[part.number].used, part.first, part.count) != 0)
			return false;
		page += part.count;
		pages -= part.count;
	}
	return true;
}

/* Sees to it that pages are free and have addresses; false: they are not, or can't have any. */
static bool find_behind(size_t page, size_t count)
{
	bool found;

	if (!run_is_free(page, count))
		return false;
	if (mapping_covers(page, count))
		return true;
	mapping_begin();
	found = run_is_free(page, count) && mapping_extend(page, count) == OS_DONE && run_is_free(page, count) &&
		mapping_covers(page, count);
	mapping_end();
	return found;
}

static bool grow(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed)
{
	size_t page = page_of(address) + pages;
	size_t count = new_pages - pages;
	size_t last = (page + count - 1) / HUGEPAGE_PAGES;
	struct huge_page_work huge_pages = {0};
	bool grown;

	lock_acquire(&heap.lock);
	grown = last < page_map_capacity() && limits_admit(count, 0) && find_behind(page, count) &&
		hard_limit_admits(page, count, 0);
	if (grown) {
		*zeroed = take_run(page, count, PAGES_GROWING) == count;
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

static bool may_move(size_t pages)
{
	bool admitted;

	lock_acquire(&heap.lock);
	admitted = moved_admits(pages);
	lock_release(&heap.lock);
	return admitted;
}

static enum os_result move(uintptr_t from, uintptr_t to, size_t pages)
{
	if (!kernel_aligned(from, pages) || !kernel_aligned(to, pages) || !may_move(pages))
		return OS_FAILED;
	return os_move(from, to, pages << PAGE_SHIFT);
}

bool pageheap_move(uintptr_t from, const struct page_run *run, size_t pages)
{
	uintptr_t to = run->address;
	enum os_result result = move(from, to, pages);

	lock_acquire(&heap.lock);
	if (run->backed == 0)
		heap.moving -= minimum(heap.moving, pages);
	if (result == OS_FAILED) {
		lock_release(&heap.lock);
		return false;
	}
	huge_pages_moved(page_of(from), page_of(to), pages);
	moved_note(page_of(from), page_of(to), pages);
	/* OS_TAKEN: the old addresses are somebody else's now, and stay in use for ever. */
	if (result == OS_DONE)
		return_run(page_of(from), pages, true);
	heap_report(
		&(struct page_event){.kind = PAGE_MOVED, .page = page_of(from), .pages = pages, .other = page_of(to)});
	lock_release(&heap.lock);
	return true;
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

/* Limits on the memory that the heap has, and on how fast it gives memory back. */
#include "pageheap/limits.h"

#include "base/bell.h"
#include "base/options.h"
#include "base/os.h"
#include "pageheap/rate.h"

/*
 * While more is in use than the soft limit allows, so many free pages may stay: one that comes and goes is not given back and
 * faulted in each time, which costs some 1 us for each 4 KiB.
 */
#define SLACK_PAGES HUGEPAGE_PAGES

/* What the page map has for each hugepage: classes, references, the record. */
#define MAP_BYTES (HUGEPAGE_PAGES * (sizeof(uint16_t) + sizeof(*span_references)) + sizeof(struct hugepage))

struct limits limits;
uint32_t pageheap_asks;
struct bell background_bell;

static struct rate release_rate;

static size_t metadata(void)
{
	return arena_touched() + heap.mapped * MAP_BYTES;
}

size_t limits_counted(void)
{
	return ((heap.used + heap_backed_free()) << PAGE_SHIFT) + metadata();
}

/* What of a limit is left for pages, or 0 if it is exceeded without them. */
static size_t left_for_pages(size_t limit)
{
	return limit > metadata() ? (limit - metadata()) >> PAGE_SHIFT : 0;
}

/* Pages that are there once only, and so count once: what is being moved is not where it will be. */
static size_t used_once(void)
{
	return heap.used - heap.moving;
}

COLD bool limits_admit_slow(size_t pages, size_t backed)
{
	size_t left = left_for_pages(limits.hard_bytes);

	return used_once() - heap.transit + pages <= left &&
	       (backed == 0 || used_once() + heap_backed_free() + backed <= left);
}

/* The free pages that a limit leaves room for. */
static size_t room_for_free(size_t limit, size_t pages)
{
	size_t left = left_for_pages(limit);

	return left > used_once() + pages ? left - used_once() - pages : 0;
}

size_t limits_room(void)
{
	size_t room;

	if (likely(limits.lowest_bytes == 0))
		return SIZE_MAX;
	room = room_for_free(limits.lowest_bytes, 0);
	return room > heap_backed_free() ? room - heap_backed_free() : 0;
}

static void look_at_lowest(void)
{
	size_t keep = room_for_free(limits.lowest_bytes, 0);

	if (heap_backed_free() > keep + (keep == 0 ? SLACK_PAGES : 0))
		__atomic_fetch_or(&limits.due, LIMITS_RELEASE, __ATOMIC_RELAXED);
	if (used_once() + heap_backed_free() > left_for_pages(limits.lowest_bytes))
		__atomic_fetch_or(&pageheap_asks, PAGEHEAP_ASKS_CACHES, __ATOMIC_RELAXED);
}

COLD void limits_look_slow(void)
{
	size_t retained = release_base_pages();

	if (limits.lowest_bytes != 0)
		look_at_lowest();
	if (!limits.background || heap.used + heap_backed_free() <= retained)
		return;
	if (limits.unstarted)
		__atomic_fetch_or(&pageheap_asks, PAGEHEAP_ASKS_BACKGROUND, __ATOMIC_RELAXED);
	else if (heap_backed_free() > retained)
		__atomic_fetch_or(&limits.due, LIMITS_RING, __ATOMIC_RELAXED);
}

COLD void limits_act_slow(void)
{
	uint32_t due = __atomic_exchange_n(&limits.due, 0, __ATOMIC_RELAXED);
	size_t keep;

	if (due & LIMITS_RING)
		bell_ring(&background_bell);
	if (!(due & LIMITS_RELEASE))
		return;
	lock_acquire(&heap.lock);
	keep = limits.lowest_bytes != 0 ? room_for_free(limits.lowest_bytes, 0) : SIZE_MAX >> PAGE_SHIFT;
	lock_release(&heap.lock);
	pageheap_release(keep << PAGE_SHIFT);
}

bool limits_make_room(size_t pages)
{
	bool possible;
	bool others;
	size_t keep;

	if (likely(load_relaxed(&limits.hard_bytes) == 0))
		return false;
	lock_acquire(&heap.lock);
	possible = limits_admit(pages, 0);
	keep = room_for_free(limits.hard_bytes, pages);
	others = heap.transit != 0;
	possible = possible && (others || heap_backed_free() > keep);
	lock_release(&heap.lock);
	return possible && (pageheap_release(keep << PAGE_SHIFT) != 0 || others);
}

static void set_watched(void)
{
	limits.watched = limits.lowest_bytes != 0 || limits.background;
}

static void set(size_t *limit, size_t bytes)
{
	lock_acquire(&heap.lock);
	store_relaxed(limit, bytes);
	/* None, which is 0, counts as the highest. */
	limits.lowest_bytes = minimum(limits.soft_bytes - 1, limits.hard_bytes - 1) + 1;
	set_watched();
	limits_look();
	lock_release(&heap.lock);
	limits_act();
}

void pageheap_set_soft_limit(size_t bytes)
{
	set(&limits.soft_bytes, bytes);
}

void pageheap_set_hard_limit(size_t bytes)
{
	set(&limits.hard_bytes, bytes);
}

void pageheap_set_background(bool wanted, bool runs)
{
	lock_acquire(&heap.lock);
	limits.background = wanted;
	limits.unstarted = !runs;
	set_watched();
	lock_release(&heap.lock);
}

void pageheap_forget_background(void)
{
	limits.unstarted = true;
}

void pageheap_set_release_rate(size_t bytes)
{
	lock_acquire(&heap.lock);
	rate_set(&release_rate, bytes, os_milliseconds());
	lock_release(&heap.lock);
}

size_t release_rate_pages(void)
{
	size_t bytes = rate_allowance(&release_rate, os_milliseconds());

	/* Less than a page is as good as one: the rest is debt. */
	return (bytes >> PAGE_SHIFT) + (bytes != 0 && bytes >> PAGE_SHIFT == 0);
}

void release_rate_spend(size_t pages)
{
	rate_spend(&release_rate, pages << PAGE_SHIFT);
}

/*
 * First fit and best fit over hugepages, to compare the page heap's placement with. Runs may lie anywhere, also across
 * hugepages. A hugepage goes back to the system as soon as nothing in it is used, and never in part: what such a heap
 * holds is what its placement is worth.
 */
#include "account.h"
#include "extents.h"
#include "heaps.h"
#include "pageheap/page_map.h"

static struct {
	struct extents by_address;
	struct extents by_length; /* of best fit only */
	bool best_fit;
	size_t top; /* pages below it are mapped */
} simple = {.by_address = {.order = BY_ADDRESS}, .by_length = {.order = BY_LENGTH}};

static void insert(struct extent extent)
{
	if (extent.count == 0)
		return;
	extents_insert(&simple.by_address, extent);
	if (simple.best_fit)
		extents_insert(&simple.by_length, extent);
}

static void take_out(struct extent extent)
{
	extents_remove(&simple.by_address, extent);
	if (simple.best_fit)
		extents_remove(&simple.by_length, extent);
}

/* Makes pages free, and joins them with their neighbours. Returns the whole free extent. */
static struct extent add_free(size_t first, size_t count)
{
	struct extent below = extents_at_or_below(&simple.by_address, first);
	struct extent above = extents_at_or_below(&simple.by_address, first + count);
	struct extent whole = {first, count};

	if (below.count != 0 && below.first + below.count == first) {
		take_out(below);
		whole.first = below.first;
		whole.count += below.count;
	}
	if (above.count != 0 && above.first == first + count) {
		take_out(above);
		whole.count += above.count;
	}
	insert(whole);
	return whole;
}

/* Takes pages out of the free extent that they lie in. */
static void take_pages(struct extent extent, size_t first, size_t count)
{
	take_out(extent);
	insert((struct extent){extent.first, first - extent.first});
	insert((struct extent){first + count, extent.first + extent.count - first - count});
}

/* Maps hugepages at the end until the last free extent has so many pages. */
static struct extent extend(size_t count)
{
	struct extent last = extents_at_or_below(&simple.by_address, simple.top);
	size_t have = last.count != 0 && last.first + last.count == simple.top ? last.count : 0;
	size_t pages = round_up(count - have, HUGEPAGE_PAGES);
	size_t first = simple.top;

	os_map(page_address(first), pages << PAGE_SHIFT);
	simple.top += pages;
	return add_free(first, pages);
}

static size_t align_page(size_t page, size_t alignment)
{
	size_t base = window.base >> PAGE_SHIFT;

	return round_up(base + page, alignment) - base;
}

static bool allocate(const struct page_request *request, struct page_run *run)
{
	size_t room = request->pages + request->alignment - 1;
	struct extent found = extents_find(simple.best_fit ? &simple.by_length : &simple.by_address, room);
	size_t first;

	if (found.count == 0)
		found = extend(room);
	first = align_page(found.first, request->alignment);
	take_pages(found, first, request->pages);
	*run = (struct page_run){.address = page_address(first)};
	return true;
}

/* Gives back the hugepages that lie in this free extent and in which pages of the run lay. */
static void release_whole(struct extent free, size_t first, size_t count)
{
	size_t start = maximum(round_up(free.first, HUGEPAGE_PAGES), round_down(first, HUGEPAGE_PAGES));
	size_t end =
		minimum(round_down(free.first + free.count, HUGEPAGE_PAGES), round_up(first + count, HUGEPAGE_PAGES));

	if (start < end)
		os_release(page_address(start), (end - start) << PAGE_SHIFT);
}

static void free_run(uintptr_t address, size_t pages)
{
	size_t first = page_of(address);

	release_whole(add_free(first, pages), first, pages);
}

static bool grow(uintptr_t address, size_t pages, size_t new_pages, bool *zeroed)
{
	size_t end = page_of(address) + pages;
	struct extent behind = extents_at_or_below(&simple.by_address, end);

	*zeroed = false;
	if (behind.count == 0 || behind.first != end || behind.count < new_pages - pages)
		return false;
	take_pages(behind, end, new_pages - pages);
	return true;
}

static bool move(uintptr_t from, uintptr_t to, size_t pages)
{
	os_move(from, to, pages << PAGE_SHIFT);
	add_free(page_of(from), pages);
	return true;
}

static size_t release(size_t keep)
{
	(void)keep;
	return 0;
}

static void tick(void)
{
}

static void set_nothing(size_t amount)
{
	(void)amount;
}

static const char *validate(void)
{
	return NULL;
}

static bool allocate_best_fit(const struct page_request *request, struct page_run *run)
{
	simple.best_fit = true;
	return allocate(request, run);
}

static bool purge_nothing(uintptr_t address, size_t bytes)
{
	(void)address;
	(void)bytes;
	return false;
}

const struct page_heap first_fit_heap = {
	.name = "first-fit",
	.allocate = allocate,
	.free = free_run,
	.grow = grow,
	.move = move,
	.release = release,
	.tick = tick,
	.set_retain = set_nothing,
	.set_spare = set_nothing,
	.purge = purge_nothing,
	.set_purged = set_nothing,
	.validate = validate,
};

const struct page_heap best_fit_heap = {
	.name = "best-fit",
	.allocate = allocate_best_fit,
	.free = free_run,
	.grow = grow,
	.move = move,
	.release = release,
	.tick = tick,
	.set_retain = set_nothing,
	.set_spare = set_nothing,
	.purge = purge_nothing,
	.set_purged = set_nothing,
	.validate = validate,
};

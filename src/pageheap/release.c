/*
 * Giving memory back: how much free memory the heap keeps, and what it gives back first.
 *
 * Free memory is kept for the demand that is to be expected, by what it has lately been (history.h):
 *
 * - `retain` bytes always;
 * - as much as was taken in the last seconds (HISTORY_PEAK), up to SLACK and an eighth of what is in use: the come and go
 *   of a program at work. A program that does little gets down to `retain`;
 * - as much as the demand has fallen and risen again in the last moments (HISTORY_DECAY): a program that takes and frees the
 *   same again and again pays for the first times and is then left alone;
 * - in partly used hugepages, which are whole no longer once a part is given back: as much as would bring the demand to
 *   its peak of the last seconds (HISTORY_PEAK), or as it has swung in the last minutes (HISTORY_TREND), up to half of what
 *   is in use. So steady programs keep their hugepages whole, and one whose demand has collapsed does not keep them all.
 *
 * What exceeds that goes back at once, from the free that caused it or from the next tick of a slow path: no thread is
 * needed. Whole free hugepages go first, the highest before the others, then free pages of partly used ones, from the
 * emptiest on. Empty spans that the central tier keeps count as kept (pageheap_spare_add).
 *
 * Where address space itself is scarce, whole hugepages are unmapped instead. All under the page heap's lock.
 */
#include "base/options.h"
#include "base/os.h"
#include "pageheap/heap_state.h"
#include "pageheap/history.h"

/* The come and go of small programs: two hugepages. */
#define SLACK ((size_t)4 << 20 >> PAGE_SHIFT)

/* Shares of the pages in use: of what is kept, and of that in partly used hugepages. */
#define KEPT_SHARE   8
#define BROKEN_SHARE 2

static struct {
	size_t base_pages;
	size_t spare_pages; /* empty spans kept above; atomic, as the next two */
	size_t spare_taken; /* pages of them that were used again, since the last look at the history */
	size_t keep_pages;  /* as of that look */
	size_t keep_share;  /* beyond that, not by empty spans */
	size_t keep_unbroken;
	bool useless; /* the system refuses (locked memory): tried again at the next tick */
} release = {.base_pages = DEFAULT_RELEASE_LIMIT >> PAGE_SHIFT, .keep_pages = DEFAULT_RELEASE_LIMIT >> PAGE_SHIFT};

bool pageheap_spare_fits(void)
{
	return load_relaxed(&release.spare_pages) <= load_relaxed(&release.keep_pages);
}

bool pageheap_spare_add(size_t pages)
{
	if (load_relaxed(&release.spare_pages) + pages > load_relaxed(&release.keep_pages))
		return false;
	__atomic_fetch_add(&release.spare_pages, pages, __ATOMIC_RELAXED);
	return true;
}

void pageheap_spare_remove(size_t pages, bool reused)
{
	__atomic_fetch_sub(&release.spare_pages, pages, __ATOMIC_RELAXED);
	if (reused)
		__atomic_fetch_add(&release.spare_taken, pages, __ATOMIC_RELAXED);
}

size_t pageheap_spare(void)
{
	return load_relaxed(&release.spare_pages);
}

size_t release_base_pages(void)
{
	return release.base_pages;
}

/* Pages that somebody needs. */
static size_t demand_now(void)
{
	return heap.used - minimum(heap.used, load_relaxed(&release.spare_pages));
}

void release_note_taken(size_t pages)
{
	history_note_taken(pages, demand_now());
}

void release_note_freed(void)
{
	history_note_freed(demand_now());
}

/* What the page heap itself may keep. */
static size_t keep_here(void)
{
	size_t spare = load_relaxed(&release.spare_pages);

	return (release.keep_pages > spare ? release.keep_pages - spare : 0) + release.keep_share;
}

/* A program whose demand has fallen so far is not about to come back to where it was. */
static bool has_collapsed(const struct demand *lately, size_t demand)
{
	return demand < lately->most / 2;
}

static void look_at_history(void)
{
	uint32_t time = (uint32_t)os_milliseconds();
	size_t demand = demand_now();
	size_t moments_swing;
	size_t minutes_swing;
	struct demand lately;
	size_t work = 0;
	size_t unbroken = 0;

	history_note_taken(__atomic_exchange_n(&release.spare_taken, 0, __ATOMIC_RELAXED), demand);
	history_note_freed(demand);
	moments_swing = history_fast_swing(HISTORY_DECAY, time);
	minutes_swing = history_slow_swing(HISTORY_TREND, time);
	lately = history_read(HISTORY_PEAK, time);
	if (!has_collapsed(&lately, demand)) {
		work = lately.taken;
		unbroken = minimum(maximum(lately.most - demand, minutes_swing), demand / BROKEN_SHARE);
	}
	release.keep_share = minimum(work, demand / KEPT_SHARE);
	store_relaxed(&release.keep_pages, maximum(maximum(release.base_pages, minimum(work, SLACK)), moments_swing));
	release.keep_unbroken = unbroken;
}

struct page_slice kernel_slice(size_t first, size_t count)
{
	size_t unit = maximum(os_page_size() >> PAGE_SHIFT, 1);
	size_t start = round_up(first, unit);
	size_t end = round_down(first + count, unit);

	return (struct page_slice){start, end > start ? end - start : 0};
}

static uintptr_t address_of(size_t number, size_t page)
{
	return page_address(number * HUGEPAGE_PAGES + page);
}

static void note_released(struct hugepage *hugepage, size_t first, size_t count)
{
	size_t before = bits_count_range(hugepage->released, first, count);
	size_t gained = count - before;

	bits_set_range(hugepage->released, first, count);
	hugepage->released_count = (uint16_t)(hugepage->released_count + gained);
	heap.released += gained;
	heap.released_total += gained << PAGE_SHIFT;
}

void release_range(size_t number, size_t first, size_t count)
{
	struct hugepage *hugepage = &hugepage_records[number];
	struct page_slice slice = kernel_slice(first, count);
	bool whole = hugepage->used_count == 0;

	if (slice.count == bits_count_range(hugepage->released, slice.first, slice.count) ||
	    os_release(address_of(number, slice.first), slice.count << PAGE_SHIFT) != OS_DONE)
		return;
	if (whole)
		heap_leave_free(number);
	note_released(hugepage, slice.first, slice.count);
	if (whole)
		heap_enter_free(number);
	filler_update(number);
}

/* Gives back a whole free hugepage. Returns pages. */
static size_t release_whole(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t pages = hugepage_backed_free(hugepage);
	bool unmap = os_addresses_are_scarce();
	enum os_result result;

	result = unmap ? os_unmap(address_of(number, 0), HUGEPAGE_SIZE)
		       : os_release(address_of(number, 0), HUGEPAGE_SIZE);
	if (result != OS_DONE)
		return 0;
	heap_leave_free(number);
	note_released(hugepage, 0, HUGEPAGE_PAGES);
	if (unmap) {
		hugepage->state = HUGEPAGE_UNMAPPED;
		heap.mapped--;
		heap.released -= HUGEPAGE_PAGES;
	}
	heap_enter_free(number);
	return pages;
}

/* Gives back the free pages of a partly used hugepage. Returns pages. */
static size_t release_partial(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t before = hugepage->released_count;

	for (size_t at = bits_next_clear(hugepage->used, 0, HUGEPAGE_PAGES); at < HUGEPAGE_PAGES;) {
		size_t stop = bits_next_set(hugepage->used, at, HUGEPAGE_PAGES);
		struct page_slice slice = kernel_slice(at, stop - at);

		if (slice.count != bits_count_range(hugepage->released, slice.first, slice.count) &&
		    os_release(address_of(number, slice.first), slice.count << PAGE_SHIFT) == OS_DONE)
			note_released(hugepage, slice.first, slice.count);
		at = bits_next_clear(hugepage->used, stop, HUGEPAGE_PAGES);
	}
	filler_update(number);
	return hugepage->released_count - before;
}

/* The highest whole free hugepage with backed pages: reuse starts at the lowest. */
static size_t highest_backed(void)
{
	for (size_t word = WORDS_FOR_BITS(heap.top); word-- > 0;) {
		if (heap.backed[word] != 0)
			return word * 64 + log2_floor(heap.backed[word]);
	}
	return NO_HUGEPAGE;
}

static size_t release_whole_down_to(size_t keep)
{
	size_t total = 0;

	while (heap.whole_backed > keep && !release.useless) {
		size_t pages = release_whole(highest_backed());

		total += pages;
		release.useless = pages == 0;
	}
	return total;
}

static size_t partial_backed(void)
{
	return heap_backed_free() - heap.whole_backed;
}

static size_t release_partial_down_to(size_t keep)
{
	size_t total = 0;

	while (partial_backed() > keep && !release.useless) {
		size_t number = filler_emptiest_backed();
		size_t pages = number == NO_HUGEPAGE ? 0 : release_partial(number);

		total += pages;
		release.useless = pages == 0;
	}
	return total;
}

size_t release_down_to(size_t pages)
{
	size_t partial = partial_backed();
	size_t total;

	release.useless = false;
	total = release_whole_down_to(pages > partial ? pages - partial : 0);
	return total + release_partial_down_to(pages > heap.whole_backed ? pages - heap.whole_backed : 0);
}

void release_after_free(void)
{
	size_t keep;

	if (likely(heap_backed_free() + load_relaxed(&release.spare_pages) <= release.base_pages) || release.useless)
		return;
	look_at_history();
	keep = keep_here();
	if (heap_backed_free() <= keep)
		return;
	release_whole_down_to(keep > partial_backed() ? keep - partial_backed() : 0);
	keep = maximum(keep, release.keep_unbroken);
	/* A quarter more, so that the next free does not look for one page again. */
	if (partial_backed() > keep)
		release_partial_down_to(keep - keep / 4);
}

void pageheap_tick(void)
{
	lock_acquire(&heap.lock);
	release.useless = false;
	look_at_history();
	release_after_free();
	heap_report(&(struct page_event){.kind = PAGE_TICK});
	lock_release(&heap.lock);
}

/*
 * Hugepages whose memory has gone already, by a move or before addresses became scarce, still have addresses to
 * give back.
 */
static void unmap_released(void)
{
	for (size_t number = bits_next_set(heap.available, 0, heap.top); number < heap.top;
	     number = bits_next_set(heap.available, number + 1, heap.top)) {
		const struct hugepage *hugepage = &hugepage_records[number];

		if (hugepage->state == HUGEPAGE_MAPPED && hugepage_backed_free(hugepage) == 0)
			release_whole(number);
	}
}

size_t pageheap_release(size_t keep)
{
	size_t pages;

	lock_acquire(&heap.lock);
	pages = release_down_to(keep >> PAGE_SHIFT);
	if (os_addresses_are_scarce())
		unmap_released();
	heap_report(&(struct page_event){.kind = PAGE_RELEASED, .pages = keep >> PAGE_SHIFT});
	lock_release(&heap.lock);
	return pages << PAGE_SHIFT;
}

void pageheap_set_release_limit(size_t bytes)
{
	lock_acquire(&heap.lock);
	release.base_pages = bytes >> PAGE_SHIFT;
	look_at_history();
	heap_report(&(struct page_event){.kind = PAGE_LIMIT, .pages = release.base_pages});
	lock_release(&heap.lock);
}

size_t release_limit_bytes(void)
{
	return release.keep_pages << PAGE_SHIFT;
}

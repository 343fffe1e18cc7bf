/*
 * Giving memory back: how much free memory the heap keeps, and what it gives back first.
 *
 * The rule: free memory may be kept up to `base` bytes and an eighth of what is in use, plus the *regret*: the
 * bytes that were taken into use again within a second of being given back, as far as that is a noticeable part of
 * the second's work. A program whose demand swings so fast pays for the first swings and is then left alone; the
 * regret halves every second, and is never more than has lately been in use at a time: to keep more serves no demand
 * (vectors that grow and move, 312 MiB in use at most, made the heap hold 2190 MiB without that bound, 519 with it). What exceeds the rule goes back at once, from the free that caused it or from the
 * next tick of a slow path: no thread is needed. Whole free hugepages go first, the highest before the others, then
 * free pages of partly used ones.
 *
 * Empty spans that the central tier keeps count as well (pageheap_spare_add).
 *
 * Where address space itself is scarce, whole hugepages are unmapped instead. All under the page heap's lock.
 */
#include "base/options.h"
#include "base/os.h"
#include "pageheap/heap_state.h"

#define REGRET_WINDOW_MS 1000

/*
 * Taken again within a second without regret: giving so much back and faulting it in again costs some 1.5 ms, or 0.15 %
 * of the second. (With 64 MiB here, 100,000 objects of 256 bytes that were taken and freed in turn cost 97 ns each in
 * the first rounds instead of 35; settled, 26.)
 */
#define UNREGRETTED ((size_t)4 << 20)

#define USED_SHARE 8

static struct {
	size_t base_pages;
	size_t regret_pages;
	size_t retaken_pages;      /* in the present second */
	size_t demand_pages;       /* most that was in use when memory was taken again; halves as the regret does */
	uint32_t regret_halved_at; /* milliseconds; the present second began then */
	size_t spare_pages;        /* empty spans kept above; atomic, as the next one */
	size_t keep_pages;         /* base and regret */
	bool useless;              /* the system refuses (locked memory): tried again at the next tick */
} release = {.base_pages = DEFAULT_RELEASE_LIMIT >> PAGE_SHIFT, .keep_pages = DEFAULT_RELEASE_LIMIT >> PAGE_SHIFT};

static void set_keep(size_t base, size_t regret)
{
	release.base_pages = base;
	release.regret_pages = regret;
	store_relaxed(&release.keep_pages, base + regret);
}

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

void pageheap_spare_remove(size_t pages)
{
	__atomic_fetch_sub(&release.spare_pages, pages, __ATOMIC_RELAXED);
}

size_t pageheap_spare(void)
{
	return load_relaxed(&release.spare_pages);
}

size_t release_base_pages(void)
{
	return release.base_pages;
}

/* What the page heap itself may keep. */
static size_t keep_here(void)
{
	size_t spare = load_relaxed(&release.spare_pages);

	return release.keep_pages > spare ? release.keep_pages - spare : 0;
}

/* Milliseconds in 32 bits, never 0; differences stay right when they wrap. */
static uint32_t now(void)
{
	return (uint32_t)os_milliseconds() | 1;
}

static void age_regret(uint32_t time)
{
	uint32_t windows = (time - release.regret_halved_at) / REGRET_WINDOW_MS;

	if (windows == 0)
		return;
	set_keep(release.base_pages, windows < 32 ? release.regret_pages >> windows : 0);
	release.demand_pages = windows < 32 ? release.demand_pages >> windows : 0;
	release.retaken_pages = 0;
	release.regret_halved_at = time;
}

void release_note_taken(const struct hugepage *hugepage, size_t pages)
{
	uint32_t time;

	if (hugepage->released_at == 0)
		return;
	time = now();
	if (time - hugepage->released_at >= REGRET_WINDOW_MS)
		return;
	age_regret(time);
	release.retaken_pages += pages;
	release.demand_pages = maximum(release.demand_pages, heap.used + pages);
	if (release.retaken_pages > UNREGRETTED >> PAGE_SHIFT)
		set_keep(release.base_pages, minimum(release.regret_pages + pages, release.demand_pages));
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
	hugepage->released_at = now();
	heap.released += gained;
	heap.released_total += gained << PAGE_SHIFT;
}

void release_range(size_t number, size_t first, size_t count)
{
	struct hugepage *hugepage = &hugepage_records[number];
	struct page_slice slice = kernel_slice(first, count);
	uint32_t released_at = hugepage->released_at;
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
	/* Not a release whose undoing would be regretted. */
	hugepage->released_at = released_at;
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
	size_t keep = keep_here() + heap.used / USED_SHARE;

	if (likely(heap_backed_free() <= keep))
		return;
	age_regret(now());
	keep = keep_here() + heap.used / USED_SHARE;
	if (heap_backed_free() <= keep || release.useless)
		return;
	release_whole_down_to(keep > partial_backed() ? keep - partial_backed() : 0);
	/* Of partly used hugepages a quarter more, so that the next free does not look for one page again. */
	if (heap_backed_free() > keep)
		release_partial_down_to(keep - keep / 4);
}

void pageheap_tick(void)
{
	lock_acquire(&heap.lock);
	release.useless = false;
	age_regret(now());
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
	set_keep(bytes >> PAGE_SHIFT, release.regret_pages);
	heap_report(&(struct page_event){.kind = PAGE_LIMIT, .pages = release.base_pages});
	lock_release(&heap.lock);
}

size_t release_limit_bytes(void)
{
	return release.keep_pages << PAGE_SHIFT;
}

/*
 * Giving memory back: how much free memory the heap keeps, and what it gives back first.
 *
 * Free memory is kept for the demand that is to be expected, by what it has lately been (history.h):
 *
 * - `retain` bytes always;
 * - as much as was taken in the last seconds (HISTORY_PEAK), up to SLACK and an eighth of what is in use: the come and go
 *   of a program at work. A program that does little gets down to `retain`;
 * - as much as the demand has fallen and risen again in the last moments (HISTORY_DECAY): a program that takes and frees the
 *   same again and again pays for the first times and is then left alone. But what is free and the demand together are no
 *   more than the demand's peak and a 16th, or the hugepages that it takes, for what does not fit where it is free;
 * - in partly used hugepages, which are whole no longer once a part is given back: as much as would bring the demand to
 *   its peak of the last seconds (HISTORY_PEAK), or as it has swung in the last minutes (HISTORY_TREND), up to half of what
 *   is in use. So steady programs keep their hugepages whole, and one whose demand has collapsed does not keep them all.
 *
 * What exceeds that goes back from the free that caused it, as soon as it is a 64th of the demand, or from the next tick of a
 * slow path: no thread is needed. Whole free hugepages go first, the highest before the others, then free pages of partly used
 * ones, from the emptiest on. Empty spans that the central tier keeps count as kept (pageheap_spare_add).
 *
 * Where address space itself is scarce, whole hugepages are unmapped instead. All under the page heap's lock.
 */
#include "base/options.h"
#include "base/os.h"
#include "pageheap/give_back.h"
#include "pageheap/heap_state.h"
#include "pageheap/history.h"
#include "pageheap/huge_pages.h"
#include "pageheap/limits.h"

/* The come and go of small programs: two hugepages. */
#define SLACK ((size_t)4 << 20 >> PAGE_SHIFT)

/*
 * What may be kept beyond the peak of the last moments. With a quarter Python's programs take 1 to 2 MiB of 50 more than with a
 * sixteenth, and no other time. Programs that grow several vectors at a time gain by more (resident at most 438 MiB instead of 381
 * in the simulator's vectors, the system's part 24 s instead of 38; a real one of eight to 64 MiB: 925 instead of 805 MiB, 0.5
 * instead of 0.55 s).
 */
#define PEAK_SHARE 16

/* Shares of the pages in use: of what is kept, and of that in partly used hugepages. */
#define KEPT_SHARE   8
#define BROKEN_SHARE 2

static struct {
	size_t base_pages;
	uint64_t purged_total; /* bytes; atomic, as the next four */
	size_t purged_bytes;   /* of runs in use */
	size_t spare_pages;    /* empty spans kept above */
	size_t spare_taken;    /* pages of them that were used again, since the last look at the history */
	size_t keep_pages;     /* as of that look */
	size_t keep_share;     /* beyond that, not by empty spans */
	size_t keep_unbroken;
	uint32_t looked_at; /* milliseconds */

	/* What the system refuses to take (locked memory) is tried again at the next tick. */
	size_t whole_end; /* whole free hugepages from this one on */
	bool useless;     /* nothing else is left */
} release = {
	.base_pages = DEFAULT_RETAIN >> PAGE_SHIFT, .keep_pages = DEFAULT_RETAIN >> PAGE_SHIFT, .whole_end = SIZE_MAX};

bool pageheap_waiting;

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

static COLD void break_outside(size_t number)
{
	size_t first;
	size_t count;

	lock_acquire(&heap.lock);
	count = huge_pages_plan_break(number, &first);
	lock_release(&heap.lock);
	huge_pages_perform_break(first, count);
}

bool pageheap_purge(uintptr_t address, size_t bytes)
{
	if (huge_pages_may_be(page_of(address) / HUGEPAGE_PAGES))
		break_outside(page_of(address) / HUGEPAGE_PAGES);
	if (os_release(address, bytes) != OS_DONE)
		return false;
	if (likely(load_relaxed(&heap_observer) == NULL))
		return true;
	lock_acquire(&heap.lock);
	heap_report(&(struct page_event){.kind = PAGE_PURGED,
					 .page = page_of(address),
					 .other = (address & (PAGE_SIZE - 1)) / PURGE_UNIT,
					 .pages = bytes / PURGE_UNIT});
	lock_release(&heap.lock);
	return true;
}

void pageheap_purged_add(size_t bytes)
{
	__atomic_fetch_add(&release.purged_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&release.purged_total, bytes, __ATOMIC_RELAXED);
}

void pageheap_purged_remove(size_t bytes)
{
	__atomic_fetch_sub(&release.purged_bytes, bytes, __ATOMIC_RELAXED);
}

size_t pageheap_purged(void)
{
	return load_relaxed(&release.purged_bytes);
}

uint64_t release_purged_total(void)
{
	return load_relaxed(&release.purged_total);
}

bool pageheap_would_keep(size_t pages)
{
	return pages <= load_relaxed(&release.keep_pages) + load_relaxed(&release.keep_share);
}

size_t release_base_pages(void)
{
	return release.base_pages;
}

/* Pages that somebody needs. */
static size_t demand_now(void)
{
	size_t used = heap.used - heap.transit;
	size_t unneeded = load_relaxed(&release.spare_pages) + (load_relaxed(&release.purged_bytes) >> PAGE_SHIFT);

	return used - minimum(used, unneeded);
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

/*
 * What the demand has swung by, up to where all of it and what is free would be a part more than its peak.
 *
 * A demand that comes up again does not find all of the same pages free, and after some turns has been on every page of
 * the hugepages that its peak takes. One page less than that, and each turn gives back and faults in a quarter of them
 * (100,000 objects of 256 bytes, taken and freed in random order: 41 ns each, and 30 with this).
 */
static size_t kept_for_moments(size_t demand, uint32_t time)
{
	size_t swing = history_fast_swing(HISTORY_DECAY, time);
	size_t most = history_read(HISTORY_DECAY, time).most;
	size_t whole = most >= HUGEPAGE_PAGES ? round_up(most, HUGEPAGE_PAGES) : most;

	/* No more than it has swung: one page that comes and goes does not keep a hugepage. */
	return minimum(swing + minimum(whole - most, swing), maximum(most + most / PEAK_SHARE, whole) - demand);
}

static void look_at_history(void)
{
	uint32_t time = (uint32_t)os_milliseconds();
	size_t demand = demand_now();
	size_t moments;
	size_t minutes_swing;
	struct demand lately;
	size_t work = 0;
	size_t unbroken = 0;

	release.looked_at = time;
	history_note_taken(__atomic_exchange_n(&release.spare_taken, 0, __ATOMIC_RELAXED), demand);
	history_note_freed(demand);
	moments = kept_for_moments(demand, time);
	minutes_swing = history_slow_swing(HISTORY_TREND, time);
	lately = history_read(HISTORY_PEAK, time);
	if (!has_collapsed(&lately, demand)) {
		work = lately.taken;
		unbroken = minimum(maximum(lately.most - demand, minutes_swing), demand / BROKEN_SHARE);
	}
	store_relaxed(&release.keep_share, minimum(work, demand / KEPT_SHARE));
	store_relaxed(&release.keep_pages, maximum(maximum(release.base_pages, minimum(work, SLACK)), moments));
	release.keep_unbroken = unbroken;
}

struct page_slice kernel_slice(size_t first, size_t count)
{
	size_t unit = maximum(os_page_size() >> PAGE_SHIFT, 1);
	size_t start = round_up(first, unit);
	size_t end = round_down(first + count, unit);

	return (struct page_slice){start, end > start ? end - start : 0};
}

static size_t partial_backed(void)
{
	return heap_backed_free() - heap.whole_backed;
}

/* The highest free hugepages, since reuse starts at the lowest, until at most so many backed pages are left in such. */
static void collect_whole(struct batch *batch, size_t keep, size_t most)
{
	size_t before = heap_backed_free();

	while (heap.whole_backed > keep && batch->count < PARTS_IN_BATCH && before - heap_backed_free() < most) {
		size_t end = minimum(heap.top, release.whole_end);
		size_t number = end != 0 ? number_set_previous(&heap.backed, end - 1) : NO_NUMBER;

		if (number == NO_NUMBER)
			return;
		batch_add(batch, number, 0, HUGEPAGE_PAGES);
	}
}

/* Free pages of one partly used hugepage. False: there were none that could be given back by themselves. */
static bool collect_from(struct batch *batch, size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];
	size_t before = batch->count;

	for (size_t at = bits_next_clear(hugepage->used, 0, HUGEPAGE_PAGES);
	     at < HUGEPAGE_PAGES && batch->count < PARTS_IN_BATCH;) {
		size_t stop = bits_next_set(hugepage->used, at, HUGEPAGE_PAGES);
		struct page_slice slice = kernel_slice(at, stop - at);

		if (slice.count != bits_count_range(hugepage->released, slice.first, slice.count))
			batch_add(batch, number, slice.first, slice.count);
		at = bits_next_clear(hugepage->used, stop, HUGEPAGE_PAGES);
	}
	return batch->count != before;
}

/* The emptiest hugepages' free pages, until at most so many backed ones are left in partly used hugepages. */
static void collect_partial(struct batch *batch, size_t keep, size_t most)
{
	size_t before = heap_backed_free();

	while (partial_backed() > keep && batch->count < PARTS_IN_BATCH && before - heap_backed_free() < most) {
		size_t number = filler_emptiest_backed();

		if (number == NO_HUGEPAGE)
			return;
		if (!collect_from(batch, number))
			filler_pass_over(number);
	}
}

/* What the system has refused is not tried again before the next tick. */
static void pass_over_refused(const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		const struct part_in_transit *part = &batch->parts[i];

		if (part->given_back)
			continue;
		if (part->count == HUGEPAGE_PAGES)
			release.whole_end = minimum(release.whole_end, part->number);
		else if (hugepage_records[part->number].list != 0)
			filler_pass_over(part->number);
	}
}

static void try_refused_again(void)
{
	release.useless = false;
	release.whole_end = SIZE_MAX;
}

/*
 * Gives back until at most so many pages are left in whole free, and in partly used hugepages, or about `most` have gone.
 * Leaves the lock while it does.
 */
static size_t release_down_to(size_t whole, size_t partial, size_t most)
{
	bool scarce = os_addresses_are_scarce();
	size_t total = 0;

	while (total < most) {
		struct batch batch;

		batch.unmap = scarce;
		batch.count = 0;
		collect_whole(&batch, whole, most - total);
		if (batch.count == 0) {
			batch.unmap = false;
			collect_partial(&batch, partial, most - total);
		}
		if (batch.count == 0) {
			release.useless = heap.whole_backed > whole || partial_backed() > partial;
			return total;
		}
		total += batch_give_back(&batch);
		pass_over_refused(&batch);
	}
	return total;
}

/* Whether more than what is kept in any case is free. */
static bool more_is_free(void)
{
	return heap_backed_free() + load_relaxed(&release.spare_pages) > release.base_pages;
}

/*
 * Frees let this part of the demand become free beyond what is kept, before they give it back; ticks do not. A peak that is freed
 * block by block goes in larger pieces so, and what is left of it shrinks with the demand. (419 MiB of small objects: 67 ns each
 * with 64 and with 16, 76 without; python's strings took 1.4 MiB more with 16.)
 */
#define PATIENCE_SHARE 64

static size_t patience(void)
{
	return demand_now() / PATIENCE_SHARE;
}

static void release_by_rule(size_t tolerated)
{
	size_t keep = keep_here();
	size_t partial = maximum(keep, release.keep_unbroken);
	size_t whole;

	if (heap_backed_free() <= keep + tolerated)
		return;
	/* A quarter more, so that the next free does not look for one page again. */
	if (partial_backed() > partial)
		partial -= partial / 4;
	whole = keep > partial_backed() ? keep - partial_backed() : 0;
	release_rate_spend(release_down_to(whole, partial, release_rate_pages()));
}

/* Whether what is free is kept as of the last look at the history, which was a moment ago. */
static bool is_kept(void)
{
	return heap_backed_free() <= keep_here() + patience() && (uint32_t)os_milliseconds() == release.looked_at;
}

/* Whether nobody has to look: whoever is giving back at the time gives back this, too. */
static bool nothing_to_release(void)
{
	return likely(!more_is_free()) || release.useless || heap.transit != 0;
}

void release_after_free(void)
{
	if (nothing_to_release() || is_kept())
		return;
	look_at_history();
	release_by_rule(patience());
	store_relaxed(&pageheap_waiting, more_is_free());
}

void pageheap_tick(void)
{
	lock_acquire(&heap.lock);
	heap_report(&(struct page_event){.kind = PAGE_TICK});
	try_refused_again();
	look_at_history();
	if (!nothing_to_release())
		release_by_rule(0);
	store_relaxed(&pageheap_waiting, more_is_free());
	lock_release(&heap.lock);
}

/*
 * Hugepages whose memory has gone already, by a move or before addresses became scarce, still have addresses to
 * give back.
 */
static void unmap_released(void)
{
	size_t next = 0;
	size_t number;

	do {
		struct batch batch;

		batch.unmap = true;
		batch.count = 0;
		/* Looked up anew after each batch: the lock was let go. */
		for (number = number_set_next(&heap.available, next);
		     number != NO_NUMBER && batch.count < PARTS_IN_BATCH;
		     number = number_set_next(&heap.available, next)) {
			next = number + 1;
			if (hugepage_records[number].state == HUGEPAGE_MAPPED)
				batch_add(&batch, number, 0, HUGEPAGE_PAGES);
		}
		batch_give_back(&batch);
	} while (number != NO_NUMBER);
}

size_t pageheap_release(size_t keep)
{
	size_t pages = keep >> PAGE_SHIFT;
	size_t partial;
	size_t total;

	lock_acquire(&heap.lock);
	heap_report(&(struct page_event){.kind = PAGE_RELEASED, .pages = pages});
	try_refused_again();
	partial = partial_backed();
	total = release_down_to(pages > partial ? pages - partial : 0, pages, SIZE_MAX);
	if (os_addresses_are_scarce())
		unmap_released();
	batches_await();
	store_relaxed(&pageheap_waiting, more_is_free());
	lock_release(&heap.lock);
	return total << PAGE_SHIFT;
}

void pageheap_set_retain(size_t bytes)
{
	lock_acquire(&heap.lock);
	release.base_pages = bytes >> PAGE_SHIFT;
	look_at_history();
	heap_report(&(struct page_event){.kind = PAGE_LIMIT, .pages = release.base_pages});
	lock_release(&heap.lock);
}

static void set_window(enum history_window window, uint32_t milliseconds)
{
	lock_acquire(&heap.lock);
	history_set_window(window, milliseconds);
	look_at_history();
	lock_release(&heap.lock);
}

void pageheap_set_decay(uint32_t milliseconds)
{
	set_window(HISTORY_DECAY, milliseconds);
}

void pageheap_set_peak(uint32_t milliseconds)
{
	set_window(HISTORY_PEAK, milliseconds);
}

void pageheap_set_trend(uint32_t milliseconds)
{
	set_window(HISTORY_TREND, milliseconds);
}

size_t release_limit_bytes(void)
{
	return release.keep_pages << PAGE_SHIFT;
}

/*
 * A simple model of the page heap for its tests: which pages are whose, what they contain, and how many there
 * are.
 *
 * Each page of a run carries its owner's mark at both ends. Relies on support.h and the page heap's header;
 * runs checks after each operation. Include support.h first.
 */
#ifndef TIERMALLOC_TESTS_UNIT_PAGEHEAP_MODEL_H
#define TIERMALLOC_TESTS_UNIT_PAGEHEAP_MODEL_H

#include "address_limit.h"
#include "base/bits.h"
#include "base/os.h"
#include "pageheap/heap_state.h"
#include "pageheap/page_map.h"
#include "pageheap/pageheap.h"

#define MODEL_RUNS  256
#define MODEL_PAGES ((size_t)1 << 20) /* of window that the model knows about */

struct run {
	uintptr_t address; /* 0: none */
	size_t pages;
	uint64_t mark;
};

struct model {
	struct run runs[MODEL_RUNS];
	uint64_t owned[MODEL_PAGES / 64];
	size_t pages; /* in all runs */
	uint64_t marks;
};

static struct model model;

static inline uint64_t *page_start(uintptr_t address, size_t page)
{
	return (uint64_t *)(address + (page << PAGE_SHIFT));
}

static inline uint64_t *page_end(uintptr_t address, size_t page)
{
	return page_start(address, page + 1) - 1;
}

UNUSED static void model_mark(const struct run *run, size_t from)
{
	for (size_t page = from; page < run->pages; page++) {
		*page_start(run->address, page) = run->mark + page;
		*page_end(run->address, page) = ~(run->mark + page);
	}
}

UNUSED static void model_check_marks(const struct run *run)
{
	for (size_t page = 0; page < run->pages; page++) {
		if (*page_start(run->address, page) != run->mark + page ||
		    *page_end(run->address, page) != ~(run->mark + page))
			fail_msg("page %zu of the run at %p has lost its contents", page, (void *)run->address);
	}
}

/* Pages [from, run->pages) have become the run's: they were nobody's. */
UNUSED static void model_own(const struct run *run, size_t from)
{
	size_t first = page_of(run->address) + from;
	size_t count = run->pages - from;

	assert_true(page_of(run->address) + run->pages <= MODEL_PAGES);
	assert_true(in_window(run->address) && in_window(run->address + (run->pages << PAGE_SHIFT) - 1));
	assert_int_equal(bits_count_range(model.owned, first, count), 0);
	bits_set_range(model.owned, first, count);
	model.pages += count;
}

/* Pages [from, run->pages) are nobody's any more. */
UNUSED static void model_disown(const struct run *run, size_t from)
{
	size_t first = page_of(run->address) + from;
	size_t count = run->pages - from;

	assert_int_equal(bits_count_range(model.owned, first, count), count);
	bits_clear_range(model.owned, first, count);
	model.pages -= count;
}

UNUSED static void model_check_zero(uintptr_t address, size_t pages)
{
	const uint64_t *word = (const uint64_t *)address;

	for (size_t at = 0; at < pages << PAGE_SHIFT >> 3; at++) {
		if (word[at] != 0)
			fail_msg("word %zu of a run that should read zero is %llx", at, (unsigned long long)word[at]);
	}
}

UNUSED static struct pageheap_statistics heap_statistics(void)
{
	struct pageheap_statistics now;

	pageheap_read_statistics(&now);
	return now;
}

/* What the statistics promise, and the model's own count. */
UNUSED static void model_check_totals(void)
{
	struct pageheap_statistics now = heap_statistics();

	assert_int_equal(now.used, model.pages << PAGE_SHIFT);
	assert_int_equal(now.mapped, now.used + now.free + now.released);
	assert_int_equal(now.mapped, now.hugepages << HUGEPAGE_SHIFT);
	assert_true(now.whole_free_hugepages <= now.hugepages);
}

UNUSED static void model_check_all(void)
{
	const char *wrong = pageheap_validate();

	if (wrong != NULL)
		fail_msg("%s", wrong);
	model_check_totals();
	for (size_t i = 0; i < MODEL_RUNS; i++) {
		if (model.runs[i].address != 0)
			model_check_marks(&model.runs[i]);
	}
}

/* Returns whether there was memory. */
UNUSED static bool model_allocate(struct run *run, const struct page_request *request)
{
	struct page_run got = {0};

	assert_int_equal(run->address, 0);
	if (!pageheap_allocate(request, &got))
		return false;
	*run = (struct run){got.address, request->pages, ++model.marks << 32};
	assert_int_equal(got.address & ((request->alignment << PAGE_SHIFT) - 1), 0);
	model_own(run, 0);
	if (got.zeroed)
		model_check_zero(run->address, run->pages);
	model_mark(run, 0);
	return true;
}

UNUSED static void model_free(struct run *run)
{
	model_check_marks(run);
	model_disown(run, 0);
	pageheap_free(run->address, run->pages);
	run->address = 0;
}

UNUSED static void model_shrink(struct run *run, size_t pages)
{
	size_t less = run->pages - pages;

	model_disown(run, pages);
	run->pages = pages;
	pageheap_free(run->address + (pages << PAGE_SHIFT), less);
	model_check_marks(run);
}

UNUSED static bool model_grow(struct run *run, size_t pages)
{
	size_t before = run->pages;
	bool zeroed = false;

	if (!pageheap_grow(run->address, before, pages, &zeroed))
		return false;
	run->pages = pages;
	model_own(run, before);
	if (zeroed)
		model_check_zero(run->address + (before << PAGE_SHIFT), pages - before);
	model_mark(run, before);
	model_check_marks(run);
	return true;
}

/* Whether runs can be moved at all. */
UNUSED static bool pages_are_moved(void)
{
	static bool told;

	if (os_page_size() <= PAGE_SIZE && os_can_move())
		return true;
	assert_true(os_page_size() > PAGE_SIZE || under_emulator());
	if (!told)
		not_tested("moving pages", "the kernel's are larger than this profile's, or an emulator is in between");
	told = true;
	return false;
}

/*
 * To a run of `pages` pages, not fewer than it has. False: no memory, or not to be moved; nothing has changed
 * then.
 */
UNUSED static bool model_move(struct run *run, size_t pages)
{
	const struct page_request request = {.pages = pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	struct run target = {0};

	if (!model_allocate(&target, &request))
		return false;
	if (!pageheap_move(run->address, &(struct page_run){.address = target.address}, run->pages)) {
		model_check_marks(run);
		model_free(&target);
		return false;
	}
	model_disown(run, 0);
	target.mark = run->mark;
	model_mark(&target, run->pages);
	model_check_marks(&target);
	*run = target;
	return true;
}

UNUSED static void model_free_all(void)
{
	for (size_t i = 0; i < MODEL_RUNS; i++) {
		if (model.runs[i].address != 0)
			model_free(&model.runs[i]);
	}
	assert_int_equal(model.pages, 0);
	model_check_all();
}

/* Takes hugepages, from this run of the model on, until none that has addresses is wholly free. */
UNUSED static void model_use_up_free(struct run *run)
{
	const struct page_request request = {.pages = HUGEPAGE_PAGES, .alignment = 1, .kind = PAGES_FEW_OBJECTS};

	for (; run < model.runs + MODEL_RUNS && heap_statistics().whole_free_hugepages != 0; run++) {
		if (run->address == 0)
			assert_true(model_allocate(run, &request));
	}
}

/*
 * When nothing is in use: gives all addresses back. Hugepages are taken once more for it, as those with no
 * memory keep theirs.
 */
UNUSED static void model_unmap_all(void)
{
	model_use_up_free(model.runs);
	assert_true(make_addresses_scarce(true));
	model_free_all();
	pageheap_release(0);
	assert_true(make_addresses_scarce(false));
	assert_int_equal(heap_statistics().mapped, 0);
}

#endif

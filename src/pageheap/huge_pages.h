/*
 * Transparent huge pages: which hugepages the kernel is asked to back by one page, and which by none. Internal to the
 * page heap.
 *
 * The choice is made under the page heap's lock; the calls to the system that it leads to are made after it
 * (huge_pages_perform).
 */
#ifndef TIERMALLOC_PAGEHEAP_HUGE_PAGES_H
#define TIERMALLOC_PAGEHEAP_HUGE_PAGES_H

#include "pageheap/hugepage.h"

/* What the kernel has last been told of a hugepage. */
enum huge_page_advice {
	ADVICE_NONE,
	ADVICE_HUGE,
	ADVICE_SMALL,
};

/* What remains to be done after the lock. */
struct huge_page_work {
	size_t first; /* hugepages to advise */
	size_t count;
	size_t samples; /* so many of them are made resident, and what that costs is noted */
	size_t rest;    /* so many more behind them are advised if that was cheap */
	bool huge;
	size_t trial;        /* a hugepage left to small pages, to be looked at: its number + 1, 0 for none */
	enum page_kind kind; /* of the trial */
};

/*
 * A run has just been taken into use. `fresh`: nothing in it had memory behind it. All free pages of a partly used
 * hugepage that is asked for become backed.
 */
void huge_pages_choose(size_t page, const struct page_request *request, bool fresh, struct huge_page_work *work);

/* A run has just grown to `pages` pages, the last `count` of them from `page` on. */
void huge_pages_choose_grown(size_t page, size_t count, size_t pages, bool fresh, struct huge_page_work *work);

/* Without the lock; takes it. The run is still the caller's. */
void huge_pages_perform(const struct huge_page_work *work);

/* Whether the kernel may make this hugepage, which has addresses, a huge page. Without the lock: of a moment. */
bool huge_pages_may_be(size_t number);

/*
 * Before memory of a part of this hugepage is given back: the kernel must not fill it up again. Planned under the lock,
 * performed with or without it: on *first and as many hugepages as are returned.
 */
size_t huge_pages_plan_break(size_t number, size_t *first);
void huge_pages_perform_break(size_t first, size_t count);
void huge_pages_break(size_t number);

/* The hugepage has been mapped anew, or unmapped: nothing is advised any more. */
void huge_pages_forget(size_t number);

/* What mremap has moved takes its advice along. */
void huge_pages_moved(size_t from, size_t to, size_t pages);

/* What pages cost that are made resident by small ones: the measure for what huge ones may cost. Without the lock. */
void huge_pages_note_small(uint64_t nanoseconds, size_t bytes);

struct huge_page_statistics;
void huge_pages_read_statistics(struct huge_page_statistics *statistics);

/* Whether the count of borders between differently advised hugepages is right. */
bool huge_pages_count_is_right(void);

#endif

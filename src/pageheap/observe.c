/*
 * Telling an observer what the page heap does. The calls are in the functions of pageheap.h themselves, a test of one
 * pointer where nobody observes; here is what the observer is told at the beginning.
 */
#include "pageheap/heap_state.h"

page_observer *heap_observer;

/* Neighbouring runs cannot be told apart any more: they are reported as one, and may be freed in parts. */
static void report_used(size_t number, page_observer *observer)
{
	const struct hugepage *hugepage = &hugepage_records[number];

	for (size_t at = bits_next_set(hugepage->used, 0, HUGEPAGE_PAGES); at < HUGEPAGE_PAGES;) {
		size_t stop = bits_next_clear(hugepage->used, at, HUGEPAGE_PAGES);
		const struct page_request request = {.pages = stop - at,
						     .alignment = 1,
						     .kind = hugepage->kind == PAGES_MANY_OBJECTS ? PAGES_MANY_OBJECTS
												  : PAGES_FEW_OBJECTS,
						     .growing = hugepage->kind == PAGES_GROWING};

		observer(&(struct page_event){.kind = PAGE_ALLOCATED,
					      .page = number * HUGEPAGE_PAGES + at,
					      .pages = stop - at,
					      .request = &request});
		at = bits_next_set(hugepage->used, stop, HUGEPAGE_PAGES);
	}
}

void pageheap_observe(page_observer *observer)
{
	lock_acquire(&heap.lock);
	heap_observer = observer;
	if (observer != NULL) {
		observer(&(struct page_event){.kind = PAGE_LIMIT, .pages = release_base_pages()});
		for (size_t number = 0; number < heap.top; number++) {
			if (hugepage_records[number].state == HUGEPAGE_MAPPED)
				report_used(number, observer);
		}
	}
	lock_release(&heap.lock);
}

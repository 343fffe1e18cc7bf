/*
 * Runs a trace of the page heap against a page heap whose operating system is an account, and prints what that came to
 * as JSON. docs/simulator.md explains the values.
 *
 * The trace names runs by the pages that they had when it was recorded; here they lie elsewhere. `places` says where,
 * for each page of the recorded heap.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "account.h"
#include "heaps.h"
#include "metrics.h"
#include "pageheap/page_map.h"
#include "pageheap/pageheap.h"
#include "trace_reader.h"

#define SAMPLES 1000

/* Blocks of fewer pages grow by being copied, others are moved: as in resize.c. */
#define LEAST_MOVED ((size_t)256 << 10 >> PAGE_SHIFT)

/* What a trace may name: the widest window. */
#define MOST_PAGES ((size_t)1 << 30)

static const struct page_heap *heap;

/* Page here plus 1, by page of the trace; 0: free. */
static uint32_t *places;

/*
 * A run that was taken in order to grow. If the next event moves pages to its beginning, the program has not written
 * there; until then it is not known.
 */
static struct {
	size_t page; /* of the trace */
	size_t pages;
	bool waiting;
} growing;

static void make_places(void)
{
	places = mmap(NULL, MOST_PAGES * sizeof(*places), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (places == MAP_FAILED) {
		perror("simulate: places");
		exit(1);
	}
}

static void check_range(size_t page, size_t pages)
{
	if (pages == 0 || pages > MOST_PAGES || page > MOST_PAGES - pages)
		trace_fail("pages that no heap can have");
}

static void enter(size_t page, size_t pages, uintptr_t address)
{
	size_t here = page_of(address);

	check_range(page, pages);
	for (size_t i = 0; i < pages; i++) {
		if (places[page + i] != 0)
			trace_fail("pages that are in use already");
		places[page + i] = (uint32_t)(here + i + 1);
	}
}

static uintptr_t find(size_t page, size_t pages)
{
	check_range(page, pages);
	for (size_t i = 0; i < pages; i++) {
		if (places[page + i] == 0)
			trace_fail("pages that are not in use");
		if (places[page + i] != places[page] + i)
			trace_fail("pages of more than one run");
	}
	return page_address(places[page] - 1);
}

static void leave(size_t page, size_t pages)
{
	memset(&places[page], 0, pages * sizeof(*places));
}

static size_t bytes_of(size_t pages)
{
	return pages << PAGE_SHIFT;
}

static void touch_growing(void)
{
	if (!growing.waiting)
		return;
	growing.waiting = false;
	account_touch(find(growing.page, growing.pages), bytes_of(growing.pages));
}

static uintptr_t allocate(const struct page_request *request)
{
	struct page_run run = {0};
	bool got;

	metrics_begin_call();
	got = heap->allocate(request, &run);
	metrics_end_call(request->pages < HUGEPAGE_PAGES ? TIMED_ALLOCATE : TIMED_ALLOCATE_LONG);
	if (!got)
		trace_fail("the heap has no room for it");
	account_use(run.address, bytes_of(request->pages));
	return run.address;
}

static void free_pages(uintptr_t address, size_t pages)
{
	account_unuse(address, bytes_of(pages));
	metrics_begin_call();
	heap->free(address, pages);
	metrics_end_call(TIMED_FREE);
}

static void run_allocate(const struct trace_event *event)
{
	const struct page_request request = {
		.pages = event->pages,
		.alignment = event->operation == TRACE_ALLOCATE_ALIGNED ? (size_t)1 << (event->other % 40) : 1,
		.kind = event->flags & TRACE_FEW_OBJECTS ? PAGES_FEW_OBJECTS : PAGES_MANY_OBJECTS,
		.zeroed = event->flags & TRACE_ZEROED,
		.growing = event->flags & TRACE_GROWING,
		.dense = event->flags & TRACE_DENSE,
	};
	uintptr_t address;

	check_range(event->page, event->pages);
	address = allocate(&request);
	enter(event->page, event->pages, address);
	metrics_note_place(page_of(address) == event->page);
	if (request.growing) {
		growing.page = event->page;
		growing.pages = event->pages;
		growing.waiting = true;
	} else {
		account_touch(address, bytes_of(event->pages));
	}
}

static void run_free(const struct trace_event *event)
{
	uintptr_t address = find(event->page, event->pages);

	leave(event->page, event->pages);
	free_pages(address, event->pages);
}

static void copy(uintptr_t from, uintptr_t to, size_t pages)
{
	account_touch(to, bytes_of(pages));
	free_pages(from, pages);
}

/* Or copies, where the heap does not move it. */
static void move(uintptr_t from, uintptr_t to, size_t pages)
{
	bool moved;

	account_unuse(from, bytes_of(pages));
	metrics_begin_call();
	moved = heap->move(from, to, pages);
	metrics_end_call(TIMED_OTHER);
	if (!moved) {
		account_use(from, bytes_of(pages));
		copy(from, to, pages);
	}
}

/* Where the recorded heap had room behind the run and this one has not. */
static uintptr_t move_to_grow(uintptr_t from, size_t pages, size_t new_pages)
{
	const struct page_request request = {
		.pages = new_pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	uintptr_t to = allocate(&request);

	if (pages >= LEAST_MOVED)
		move(from, to, pages);
	else
		copy(from, to, pages);
	return to;
}

static void run_grow(const struct trace_event *event)
{
	size_t more = event->other - event->pages;
	uintptr_t from = find(event->page, event->pages);
	uintptr_t to = from;
	bool zeroed;
	bool grown;

	if (event->other <= event->pages)
		trace_fail("growing by nothing");
	metrics_begin_call();
	grown = heap->grow(from, event->pages, event->other, &zeroed);
	metrics_end_call(TIMED_OTHER);
	if (grown)
		account_use(from + bytes_of(event->pages), bytes_of(more));
	else
		to = move_to_grow(from, event->pages, event->other);
	leave(event->page, event->pages);
	enter(event->page, event->other, to);
	account_touch(to + bytes_of(event->pages), bytes_of(more));
}

static void run_move(const struct trace_event *event)
{
	uintptr_t from = find(event->page, event->pages);
	uintptr_t to = find(event->other, event->pages);

	move(from, to, event->pages);
	leave(event->page, event->pages);
	if (growing.waiting && growing.page == event->other && growing.pages > event->pages)
		account_touch(to + bytes_of(event->pages), bytes_of(growing.pages - event->pages));
	growing.waiting = false;
}

static void run_tick(void)
{
	metrics_begin_call();
	heap->tick();
	metrics_end_call(TIMED_OTHER);
}

/* What the program writes there again is not known: it counts as given back until the run is. */
static void run_purge(const struct trace_event *event)
{
	size_t start = event->other * PURGE_UNIT;
	size_t bytes = event->pages * PURGE_UNIT;

	if (event->other >= PAGE_SIZE / PURGE_UNIT || event->pages > bytes_of(HUGEPAGE_PAGES) / PURGE_UNIT)
		trace_fail("more than a run can have");
	heap->purge(find(event->page, (start + bytes + PAGE_SIZE - 1) >> PAGE_SHIFT) + start, bytes);
}

static void run_event(const struct trace_event *event)
{
	switch (event->operation) {
	case TRACE_ALLOCATE:
	case TRACE_ALLOCATE_ALIGNED:
		run_allocate(event);
		break;
	case TRACE_FREE:
		run_free(event);
		break;
	case TRACE_GROW:
		run_grow(event);
		break;
	case TRACE_MOVE:
		run_move(event);
		break;
	case TRACE_RELEASE:
		heap->release(bytes_of(event->pages));
		break;
	case TRACE_TICK:
		run_tick();
		break;
	case TRACE_LIMIT:
		heap->set_retain(bytes_of(event->pages));
		break;
	case TRACE_SPARE:
		heap->set_spare(event->pages);
		break;
	case TRACE_PURGE:
		run_purge(event);
		break;
	case TRACE_PURGED:
		heap->set_purged(event->pages * PURGE_UNIT);
		break;
	case TRACE_TIME:
		metrics_note_time(event->time);
		account.milliseconds += event->time;
		break;
	}
}

static bool is_operation(const struct trace_event *event)
{
	return event->operation != TRACE_TIME && event->operation != TRACE_SPARE && event->operation != TRACE_PURGED;
}

static void run_trace(void)
{
	struct trace_event event = {0};

	while (trace_next(&event)) {
		if (is_operation(&event) && !(event.operation == TRACE_MOVE && event.other == growing.page))
			touch_growing();
		run_event(&event);
		if (is_operation(&event))
			metrics_note_event();
	}
	touch_growing();
}

static const char usage[] =
	"usage: simulate [--heap tiermalloc|first-fit|best-fit] [--huge] [--thp] [--samples N] TRACE\n"
	"  --heap     the page heap (default: tiermalloc, the one that it is built with)\n"
	"  --huge     the kernel gives huge pages wherever it can (transparent_hugepage: always)\n"
	"  --thp      the page heap has its policy for huge pages (option thp:auto); otherwise it asks for none\n"
	"  --samples  at most so many points of the series (1000)\n"
	"  TRACE      a file as the option trace_pages writes it, or - for standard input\n";

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{"heap", required_argument, NULL, 'p'}, {"huge", no_argument, NULL, 'h'},
		{"thp", no_argument, NULL, 't'},        {"samples", required_argument, NULL, 's'},
		{"help", no_argument, NULL, '?'},       {0}};
	size_t samples = SAMPLES;
	bool policy = false;
	const char *wrong;
	int option;

	heap = heap_named("tiermalloc");
	while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
		if (option == 'p')
			heap = heap_named(optarg);
		else if (option == 'h')
			account_set_huge(true);
		else if (option == 't')
			policy = true;
		else if (option == 's')
			samples = strtoull(optarg, NULL, 10);
		if (option == '?' || heap == NULL || samples < 2) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind + 1 != count) {
		fputs(usage, stderr);
		return 2;
	}
	make_places();
	account.milliseconds = trace_open(arguments[optind]);
	if (!page_map_initialise()) {
		fprintf(stderr, "simulate: no room for the page map\n");
		return 1;
	}
	if (policy)
		pageheap_set_huge_pages(HUGE_PAGES_AUTO, os_huge_pages());
	metrics_begin(samples);
	run_trace();
	wrong = heap->validate();
	if (wrong != NULL) {
		fprintf(stderr, "simulate: the heap is damaged: %s\n", wrong);
		return 1;
	}
	metrics_print(stdout, heap->name);
	return 0;
}

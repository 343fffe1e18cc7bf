/* Giving free pages back to the system; give_back.h says how. The heap's lock guards the list of batches. */
#include "pageheap/give_back.h"

#include <string.h>

#include "base/os.h"
#include "base/thread_state.h"
#include "pageheap/heap_state.h"
#include "pageheap/huge_pages.h"
#include "pageheap/moved.h"

/* On the stacks of the threads that give back. */
static struct batch *batches;

void batch_add(struct batch *batch, size_t number, size_t first, size_t count)
{
	struct part_in_transit *part = &batch->parts[batch->count++];

	*part = (struct part_in_transit){.number = number, .first = first, .count = count};
	memcpy(part->released, hugepage_records[number].released, sizeof(part->released));
	if (count != HUGEPAGE_PAGES)
		part->broken_count = huge_pages_plan_break(number, &part->broken_first);
	heap.transit += count;
	heap_take(number, first, count, (enum page_kind)hugepage_records[number].kind);
}

static uintptr_t address_of(const struct part_in_transit *part)
{
	return page_address(part->number * HUGEPAGE_PAGES + part->first);
}

/*
 * Whether a part is mapped anew instead of being emptied, to be one mapping with its neighbours again. Nobody else changes
 * that of a whole hugepage in transit.
 */
static bool is_remapped(const struct part_in_transit *part)
{
	return part->count == HUGEPAGE_PAGES && moved_to(part->number);
}

/* One call for parts that follow each other, downward or upward. */
static size_t neighbours(const struct batch *batch, size_t first)
{
	size_t end = first + 1;
	ptrdiff_t step;

	if (end == batch->count)
		return end;
	step = address_of(&batch->parts[first]) < address_of(&batch->parts[end]) ? 1 : -1;
	for (; end < batch->count; end++) {
		const struct part_in_transit *lower = &batch->parts[step > 0 ? end - 1 : end];
		const struct part_in_transit *upper = &batch->parts[step > 0 ? end : end - 1];

		if (address_of(lower) + (lower->count << PAGE_SHIFT) != address_of(upper) ||
		    is_remapped(lower) != is_remapped(upper))
			break;
	}
	return end;
}

static bool call_system(const struct batch *batch, size_t first, size_t end)
{
	uintptr_t address = minimum(address_of(&batch->parts[first]), address_of(&batch->parts[end - 1]));
	size_t pages = 0;

	for (size_t i = first; i < end; i++) {
		huge_pages_perform_break(batch->parts[i].broken_first, batch->parts[i].broken_count);
		pages += batch->parts[i].count;
	}
	if (batch->unmap)
		return os_unmap(address, pages << PAGE_SHIFT) == OS_DONE;
	if (is_remapped(&batch->parts[first]))
		return os_map_over(address, pages << PAGE_SHIFT) == OS_DONE;
	return os_release(address, pages << PAGE_SHIFT) == OS_DONE;
}

/* What the system refuses for neighbours together (one page that is locked is enough) may be possible for each. */
static void make_calls(struct batch *batch)
{
	for (size_t first = 0, end; first < batch->count; first = end) {
		bool done;

		end = neighbours(batch, first);
		done = call_system(batch, first, end);
		for (size_t i = first; i < end; i++)
			batch->parts[i].given_back = done || (end - first > 1 && call_system(batch, i, i + 1));
	}
}

static void forget_mapping(size_t number)
{
	huge_pages_forget(number);
	moved_forget(number);
}

static void note_unmapped(size_t number)
{
	heap_leave_free(number);
	hugepage_records[number].state = HUGEPAGE_UNMAPPED;
	heap.mapped--;
	heap.released -= HUGEPAGE_PAGES;
	heap_enter_free(number);
}

/* Returns how many of its pages are not backed any more. */
static size_t return_part(const struct part_in_transit *part, bool unmapped)
{
	size_t before = bits_count_range(part->released, part->first, part->count);

	heap.transit -= part->count;
	if (!part->given_back) {
		heap_return(part->number, part->first, part->count, part->released);
		return 0;
	}
	if (unmapped || is_remapped(part))
		forget_mapping(part->number);
	heap_return(part->number, part->first, part->count, NULL);
	if (unmapped)
		note_unmapped(part->number);
	heap.released_total += (part->count - before) << PAGE_SHIFT;
	return part->count - before;
}

static size_t return_all(const struct batch *batch)
{
	size_t pages = 0;

	for (size_t i = 0; i < batch->count; i++)
		pages += return_part(&batch->parts[i], batch->unmap);
	return pages;
}

static void unlink_batch(const struct batch *batch)
{
	struct batch **link = &batches;

	while (*link != batch)
		link = &(*link)->next;
	*link = batch->next;
}

size_t batch_give_back(struct batch *batch)
{
	batch->owner = &thread_state;
	batch->next = batches;
	batches = batch;
	lock_release(&heap.lock);
	make_calls(batch);
	lock_acquire(&heap.lock);
	unlink_batch(batch);
	return return_all(batch);
}

/*
 * How long to wait for others, and in what steps: a batch of 64 MiB takes the kernel some 10 ms. Longer only in the child of a
 * fork that came in the middle of one.
 */
#define AWAIT_TRIES 1000
#define AWAIT_NS    100000

void batches_await(void)
{
	for (int tries = 0; heap.transit != 0 && tries < AWAIT_TRIES; tries++) {
		lock_release(&heap.lock);
		os_sleep(AWAIT_NS);
		lock_acquire(&heap.lock);
	}
}

/*
 * This thread's own goes on: it forked in a signal handler that had interrupted it. Where addresses were being given back,
 * nobody knows whether they are still the heap's: they stay in use for ever.
 */
void pageheap_adopt_in_child(void)
{
	struct batch **link = &batches;

	heap.moving = 0;
	while (*link != NULL) {
		struct batch *batch = *link;

		if (batch->owner == &thread_state) {
			link = &batch->next;
			continue;
		}
		*link = batch->next;
		for (size_t i = 0; i < batch->count; i++)
			batch->parts[i].given_back = false;
		if (batch->unmap)
			heap.transit -= batch->count * HUGEPAGE_PAGES;
		else
			return_all(batch);
	}
}

/*
 * The filler: lists of partly used hugepages. There is one per length of the longest free range and eighth of
 * fullness, so that the first list that is not empty, from the wanted length on, holds the tightest fit, and of
 * these the fullest. In each, the hugepages that have backed free pages come before those that have none, or none that can be
 * given back: they are used first, and release finds one at the front or nowhere in the list.
 */
#include "pageheap/hugepage.h"

#define FULLNESS_STEPS 8
#define LISTS          ((HUGEPAGE_PAGES + 1) * FULLNESS_STEPS)

_Static_assert(LISTS < UINT16_MAX, "a record names its list in 16 bits");

/* How many hugepages of one list are looked at when an alignment is wanted that the list says nothing about. */
#define ALIGNED_TRIES 16

struct list {
	uint32_t head; /* hugepage number + 1 */
	uint32_t tail;
};

/* The lists of long ranges are all that a small heap has: those of all kinds lie beside the words that say which are filled. */
static struct {
	struct list lists[LISTS][PAGE_KINDS];
	uint64_t filled[PAGE_KINDS][WORDS_FOR_BITS(LISTS)];
} filler;

static size_t list_of(const struct hugepage *hugepage)
{
	size_t fullness = (size_t)hugepage->used_count * FULLNESS_STEPS / (HUGEPAGE_PAGES + 1);

	return hugepage->longest * FULLNESS_STEPS + (FULLNESS_STEPS - 1 - fullness);
}

void filler_remove(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];
	unsigned kind = hugepage->kind;
	size_t list;

	if (hugepage->list == 0)
		return;
	list = hugepage->list - 1u;
	if (hugepage->previous != 0)
		hugepage_records[hugepage->previous - 1].next = hugepage->next;
	else
		filler.lists[list][kind].head = hugepage->next;
	if (hugepage->next != 0)
		hugepage_records[hugepage->next - 1].previous = hugepage->previous;
	else
		filler.lists[list][kind].tail = hugepage->previous;
	if (filler.lists[list][kind].head == 0)
		bit_clear(filler.filled[kind], list);
	hugepage->list = 0;
}

static void insert_first(unsigned kind, size_t list, size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];

	hugepage->previous = 0;
	hugepage->next = filler.lists[list][kind].head;
	if (hugepage->next != 0)
		hugepage_records[hugepage->next - 1].previous = (uint32_t)number + 1;
	else
		filler.lists[list][kind].tail = (uint32_t)number + 1;
	filler.lists[list][kind].head = (uint32_t)number + 1;
}

static void insert_last(unsigned kind, size_t list, size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];

	hugepage->next = 0;
	hugepage->previous = filler.lists[list][kind].tail;
	if (hugepage->previous != 0)
		hugepage_records[hugepage->previous - 1].next = (uint32_t)number + 1;
	else
		filler.lists[list][kind].head = (uint32_t)number + 1;
	filler.lists[list][kind].tail = (uint32_t)number + 1;
}

static bool may_give(const struct hugepage *hugepage)
{
	return hugepage_backed_free(hugepage) != 0 && !hugepage->passed_over;
}

/* Those that may give come first. */
static void insert(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];
	unsigned kind = hugepage->kind;
	size_t list;

	if (hugepage->used_count == 0 || hugepage->used_count == HUGEPAGE_PAGES)
		return;
	list = list_of(hugepage);
	if (may_give(hugepage))
		insert_first(kind, list, number);
	else
		insert_last(kind, list, number);
	bit_set(filler.filled[kind], list);
	hugepage->list = (uint16_t)(list + 1);
}

void filler_insert(size_t number)
{
	hugepage_records[number].passed_over = false;
	insert(number);
}

void filler_pass_over(size_t number)
{
	filler_remove(number);
	hugepage_records[number].passed_over = true;
	insert(number);
}

void filler_update(size_t number)
{
	if (hugepage_records[number].list == 0)
		return;
	filler_remove(number);
	filler_insert(number);
}

/*
 * The tightest free range; for many small objects of backed pages, if there is one: what has been given back costs a fault, and
 * memory. (100,000 objects of 16 bytes, taken and freed in reverse: 7.2 instead of 7.9 ns each, and 4.2 instead of 4.7 MiB. Not for
 * the rest: blocks that grow got ranges without room behind them, and the simulator's vectors took 1.07 times the system's time.)
 */
static size_t tightest_range(const struct hugepage *hugepage, size_t pages, size_t alignment)
{
	uint64_t taken[HUGEPAGE_WORDS];
	size_t first = HUGEPAGE_PAGES;

	if (hugepage->kind == PAGES_MANY_OBJECTS && hugepage->released_count != 0 &&
	    hugepage_backed_free(hugepage) >= pages) {
		for (size_t word = 0; word < HUGEPAGE_WORDS; word++)
			taken[word] = hugepage->used[word] | hugepage->released[word];
		first = bits_tightest_clear(taken, HUGEPAGE_PAGES, pages, alignment);
	}
	return first != HUGEPAGE_PAGES ? first : bits_tightest_clear(hugepage->used, HUGEPAGE_PAGES, pages, alignment);
}

static size_t find_in_list(enum page_kind kind, size_t list, size_t pages, size_t alignment, size_t *first)
{
	uint32_t link = filler.lists[list][kind].head;

	for (int tries = 0; link != 0 && tries < ALIGNED_TRIES; tries++) {
		const struct hugepage *hugepage = &hugepage_records[link - 1];

		*first = tightest_range(hugepage, pages, alignment);
		if (*first != HUGEPAGE_PAGES)
			return link - 1;
		link = hugepage->next;
	}
	return NO_HUGEPAGE;
}

size_t filler_find(enum page_kind kind, size_t pages, size_t alignment, size_t *first)
{
	size_t list = bits_next_set(filler.filled[kind], pages * FULLNESS_STEPS, LISTS);

	while (list < LISTS) {
		size_t found = find_in_list(kind, list, pages, alignment, first);

		if (found != NO_HUGEPAGE)
			return found;
		list = bits_next_set(filler.filled[kind], list + 1, LISTS);
	}
	return NO_HUGEPAGE;
}

size_t filler_find_roomiest(enum page_kind kind, size_t pages, size_t *first)
{
	size_t end = bits_after_previous_set(filler.filled[kind], LISTS);
	const struct hugepage *hugepage;
	size_t number;

	if (end <= pages * FULLNESS_STEPS)
		return NO_HUGEPAGE;
	number = filler.lists[end - 1][kind].head - 1u;
	hugepage = &hugepage_records[number];
	*first = bits_tightest_clear(hugepage->used, HUGEPAGE_PAGES, hugepage->longest, 1);
	return number;
}

static size_t emptiest_backed_of(unsigned kind)
{
	for (size_t end = bits_after_previous_set(filler.filled[kind], LISTS); end != 0;
	     end = bits_after_previous_set(filler.filled[kind], end - 1)) {
		size_t number = filler.lists[end - 1][kind].head - 1u;

		if (may_give(&hugepage_records[number]))
			return number;
	}
	return NO_HUGEPAGE;
}

size_t filler_emptiest_backed(void)
{
	size_t emptiest = NO_HUGEPAGE;

	for (unsigned kind = 0; kind < PAGE_KINDS; kind++) {
		size_t number = emptiest_backed_of(kind);

		if (number != NO_HUGEPAGE && (emptiest == NO_HUGEPAGE || hugepage_records[number].used_count <
										 hugepage_records[emptiest].used_count))
			emptiest = number;
	}
	return emptiest;
}

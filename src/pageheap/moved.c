/*
 * Which hugepages mremap has moved memory to, and where mappings may meet; moved.h says why.
 *
 * A border between mappings is known by the sixteenth of a MiB that it lies in: each hugepage has a bit for each of its own.
 * Moved runs are longer, so few of them have two, and bits too many go when something is moved over them.
 */
#include "pageheap/moved.h"

#include "pageheap/heap_state.h"

/* No run is moved when there are so many borders: far below 65530, since the program has mappings of its own. */
#define MOST_BORDERS 512

/* A run is worth a border for so many of its bytes: what is short is copied sooner. */
#define BYTES_FOR_BORDER 4096

#define GRANULES_PER_HUGEPAGE 32
#define GRANULE_PAGES         (HUGEPAGE_PAGES / GRANULES_PER_HUGEPAGE)

static size_t borders;

static uint32_t *bits_of(size_t granule)
{
	return &hugepage_records[granule / GRANULES_PER_HUGEPAGE].mapping_borders;
}

static bool has_border(size_t granule)
{
	return *bits_of(granule) >> granule % GRANULES_PER_HUGEPAGE & 1;
}

static void set_border(size_t granule, bool present)
{
	uint32_t bit = UINT32_C(1) << granule % GRANULES_PER_HUGEPAGE;
	uint32_t *bits = bits_of(granule);

	borders -= has_border(granule);
	*bits = present ? *bits | bit : *bits & ~bit;
	borders += present;
}

bool moved_admits(size_t pages)
{
	return borders < minimum(MOST_BORDERS, (pages << PAGE_SHIFT) / BYTES_FOR_BORDER);
}

void moved_note(size_t from, size_t to, size_t pages)
{
	size_t source = from / GRANULE_PAGES;
	size_t first = to / GRANULE_PAGES;
	size_t last = (to + pages - 1) / GRANULE_PAGES;

	for (size_t number = to / HUGEPAGE_PAGES; number <= (to + pages - 1) / HUGEPAGE_PAGES; number++)
		hugepage_records[number].moved = true;
	/* Mappings that have met within the run meet there still. */
	for (size_t granule = first + 1; granule < last; granule++)
		set_border(granule, has_border(source + granule - first));
	set_border(first, true);
	set_border(last, true);
}

void moved_forget(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];

	borders -= (size_t)__builtin_popcount(hugepage->mapping_borders);
	hugepage->mapping_borders = 0;
	hugepage->moved = false;
	if (number != 0 && moved_to(number - 1))
		set_border(number * GRANULES_PER_HUGEPAGE, true);
	if (number + 1 < heap.top)
		set_border((number + 1) * GRANULES_PER_HUGEPAGE, moved_to(number + 1));
}

bool moved_count_is_right(void)
{
	size_t counted = 0;

	for (size_t number = 0; number < heap.top; number++)
		counted += (size_t)__builtin_popcount(hugepage_records[number].mapping_borders);
	return counted == borders;
}

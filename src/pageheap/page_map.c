/* The window: where it is, and how its flat arrays grow. */
#include "pageheap/page_map.h"

#include "base/bits.h"
#include "base/os.h"
#include "pageheap/hugepage.h"

/* The arrays are mapped for so much heap at a time: 0.4 MiB of address space, touched as used. */
#define COVER_STEP ((size_t)512 << 20 >> HUGEPAGE_SHIFT)

#define GIBIBYTE ((uintptr_t)1 << 30)
#define TEBIBYTE ((uintptr_t)1 << 40)
#define ATTEMPTS 16

/*
 * Where windows may lie: the first for 47-bit address spaces, the second for 39-bit ones and under tools that keep
 * the middle to themselves.
 */
struct placement {
	uintptr_t lowest;
	uintptr_t highest; /* of the base */
	uintptr_t bytes;
};

static const struct placement placements[] = {
#ifndef __SANITIZE_THREAD__ /* which has its own plans for the middle, and hands out address 0 instead */
	{17 * TEBIBYTE, 48 * TEBIBYTE, 16 * TEBIBYTE},
#endif
	{16 * GIBIBYTE, 64 * GIBIBYTE, 128 * GIBIBYTE},
};

struct window window CACHE_ALIGNED;
uint32_t *span_references;
struct hugepage *hugepage_records;

static struct {
	size_t capacity; /* hugepages */
	size_t covered;  /* hugepages */
	size_t bytes;
} arrays;

static uintptr_t random_base(const struct placement *placement)
{
	uintptr_t choices = (placement->highest - placement->lowest) >> HUGEPAGE_SHIFT;

	return placement->lowest + ((uintptr_t)(os_random() % choices) << HUGEPAGE_SHIFT);
}

/* Not more than the class map's distance covers. */
static uintptr_t window_bytes(const struct placement *placement)
{
	return minimum(placement->bytes, CLASS_MAP_DISTANCE / sizeof(uint16_t) << PAGE_SHIFT);
}

static void lay_out(uintptr_t base, uintptr_t bytes)
{
	uintptr_t pages = bytes >> PAGE_SHIFT;
	uintptr_t arena_bytes = bytes / 64;
	uintptr_t below = base - CLASS_MAP_DISTANCE;

	arrays.capacity = bytes >> HUGEPAGE_SHIFT;
	below -= round_up(pages * sizeof(*span_references), HUGEPAGE_SIZE);
	span_references = (uint32_t *)below;
	below -= round_up(arrays.capacity * sizeof(*hugepage_records), HUGEPAGE_SIZE);
	hugepage_records = (struct hugepage *)below;
	arena_initialise(below - arena_bytes, arena_bytes);
}

struct slice {
	uintptr_t start;
	uintptr_t end;
};

/* What of an array the hugepages [from, to) need, in whole pages of the kernel. */
static struct slice slice_of(uintptr_t array, size_t entry_bytes, size_t from, size_t to)
{
	size_t os_page = os_page_size();

	return (struct slice){round_up(array + from * entry_bytes, os_page),
			      round_up(array + to * entry_bytes, os_page)};
}

/* Maps the three arrays for at least so many hugepages; undoes what it did if one of them can't be had. */
static enum os_result cover(uintptr_t base, size_t hugepages)
{
	size_t from = arrays.covered;
	size_t to = minimum(round_up(hugepages, COVER_STEP), arrays.capacity);
	struct slice slices[] = {
		slice_of(base - CLASS_MAP_DISTANCE, HUGEPAGE_PAGES * sizeof(uint16_t), from, to),
		slice_of((uintptr_t)span_references, HUGEPAGE_PAGES * sizeof(*span_references), from, to),
		slice_of((uintptr_t)hugepage_records, sizeof(*hugepage_records), from, to),
	};
	const size_t count = sizeof(slices) / sizeof(slices[0]);

	for (size_t i = 0; i < count; i++) {
		enum os_result result = OS_DONE;

		if (slices[i].start < slices[i].end)
			result = os_map(slices[i].start, slices[i].end - slices[i].start);
		if (result != OS_DONE) {
			while (i-- > 0)
				os_unmap(slices[i].start, slices[i].end - slices[i].start);
			return result;
		}
	}
	for (size_t i = 0; i < count; i++)
		store_relaxed(&arrays.bytes, arrays.bytes + slices[i].end - slices[i].start);
	arrays.covered = to;
	return OS_DONE;
}

bool page_map_cover(size_t hugepages)
{
	if (hugepages > arrays.capacity)
		return false;
	return arrays.covered >= hugepages || cover(window.base, hugepages) == OS_DONE;
}

bool page_map_initialise(void)
{
	for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
		for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
			uintptr_t base = random_base(&placements[p]);
			enum os_result result;

			lay_out(base, window_bytes(&placements[p]));
			result = cover(base, 1);
			if (result == OS_DONE) {
				window.base = base;
				return true;
			}
			if (result == OS_FAILED)
				break;
		}
	}
	return false;
}

size_t page_map_capacity(void)
{
	return arrays.capacity;
}

size_t page_map_bytes(void)
{
	return load_relaxed(&arrays.bytes);
}

void page_map_set(size_t first, size_t pages, const struct span *span, unsigned class)
{
	uint32_t reference = span != NULL ? arena_reference(span) : 0;
	uint16_t offset = (uint16_t)CLASS_OFFSET(class);
	uint16_t *offsets = page_class_offset(first);
	uint32_t *references = span_references + first;

	for (size_t i = 0; i < pages; i++) {
		offsets[i] = offset;
		references[i] = reference;
	}
}

/* The words of recorded blocks: mapping and forgetting them. */
#include "observe/records.h"

#include "base/os.h"

struct record_place record_places[CLASS_COUNT];
uintptr_t *record_areas;

/* The rows of words of finer shifts lie in front: 2 MiB, 1 MiB ... for hugepages of 2 MiB. */
static struct record_place place_of(size_t size)
{
	uint32_t shift = (uint32_t)minimum(log2_floor(size), COARSEST_SHIFT);

	return (struct record_place){
		.start = (uint32_t)(2 * HUGEPAGE_SIZE - (2 * HUGEPAGE_SIZE >> (shift - FINEST_SHIFT))),
		.shift = shift,
	};
}

bool records_initialise(void)
{
	if (record_areas != NULL)
		return true;
	record_places[0] = place_of(PAGE_SIZE);
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		record_places[class] = place_of(size_classes[class].size);
	record_areas =
		(uintptr_t *)os_map_anywhere(round_up(page_map_capacity() * sizeof(*record_areas), os_page_size()));
	return record_areas != NULL;
}

/* In whole pages of the kernel. */
static size_t area_bytes(void)
{
	return round_up(RECORD_AREA_BYTES, os_page_size());
}

bool records_map_area(size_t hugepage)
{
	uintptr_t area = os_map_anywhere(area_bytes());
	uintptr_t expected = 0;

	if (area == 0)
		return false;
	if (!__atomic_compare_exchange_n(&record_areas[hugepage], &expected, area, false, __ATOMIC_RELEASE,
					 __ATOMIC_ACQUIRE))
		os_unmap(area, area_bytes());
	return true;
}

void records_forget(void)
{
	size_t hugepages = round_up(load_relaxed(&window.extent), HUGEPAGE_SIZE) >> HUGEPAGE_SHIFT;

	for (size_t i = 0; i < hugepages; i++) {
		if (record_areas[i] != 0 && os_release(record_areas[i], area_bytes()) != OS_DONE)
			os_map_over(record_areas[i], area_bytes());
	}
}

/*
 * Checks the generated tables as the compiler sees them: each reciprocal for every offset for which it is promised to be
 * exact, and the lookups for every request. The tables themselves are in tables_define.c, so this also shows that
 * the header's two uses fit together. Exit status 0 and silence if all is well.
 */
#include <stdbool.h>
#include <stdio.h>

#include "size_classes.h"

static bool reciprocal_is_exact(const struct size_class *entry)
{
	uint64_t index = 0;
	uint32_t rest = 0;
	for (uint64_t offset = 0; offset < (uint64_t)1 << RECIPROCAL_OFFSET_BITS; offset++) {
		if ((offset * entry->reciprocal) >> RECIPROCAL_SHIFT != index) {
			fprintf(stderr, "size %u: wrong index for offset %llu\n", entry->size, (unsigned long long)offset);
			return false;
		}
		if (((offset * entry->reciprocal & RECIPROCAL_REST) == 0) != (rest == 0)) {
			fprintf(stderr, "size %u: wrong rest for offset %llu\n", entry->size, (unsigned long long)offset);
			return false;
		}
		if (++rest == entry->size) {
			rest = 0;
			index++;
		}
	}
	return true;
}

static unsigned class_of(size_t request)
{
	size_t step = (size_t)1 << MEDIUM_SHIFT;
	if (request <= SMALL_SIZE)
		return small_class[(request + 7) >> 3];
	return medium_class[(request + step - 1) >> MEDIUM_SHIFT];
}

static bool request_is_served(size_t request)
{
	unsigned number = class_of(request);
	if (number == 0 || number >= CLASS_COUNT || size_classes[number].size < request) {
		fprintf(stderr, "request %zu: class %u is wrong\n", request, number);
		return false;
	}
	return true;
}

static bool alignment_is_kept(unsigned row, unsigned number)
{
	unsigned found = aligned_class[row][number];
	if (found != 0 && (found < number || size_classes[found].size % ((size_t)16 << row) != 0)) {
		fprintf(stderr, "aligned_class[%u][%u] = %u is wrong\n", row, number, found);
		return false;
	}
	return true;
}

int main(void)
{
	bool good = true;
	for (unsigned number = 1; number < CLASS_COUNT; number++)
		good = reciprocal_is_exact(&size_classes[number]) && good;
	for (size_t request = 0; request <= LARGEST_CLASS_SIZE; request++)
		good = request_is_served(request) && good;
	for (unsigned row = 0; row < ALIGNED_CLASS_ROWS; row++)
		for (unsigned number = 0; number < CLASS_COUNT; number++)
			good = alignment_is_kept(row, number) && good;
	return good ? 0 : 1;
}

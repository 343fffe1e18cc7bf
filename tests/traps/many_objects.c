/*
 * Trap: 100,000 live objects of 8 KiB must not become 100,000 mappings, neither while
 * they live nor when every second one has been freed: the kernel allows 65,530.
 */
#include "churn.h"

enum { OBJECTS = 100000, ALLOWED = 1000, LARGE = 4000 };

static void check_mappings(size_t before, const char *when)
{
	size_t now = mapping_count();
	REQUIRE(now < before + ALLOWED, "%zu mappings at the start, %zu %s", before, now, when);
}

static void fill(void **objects, int count, size_t size)
{
	for (int i = 0; i < count; i++) {
		objects[i] = malloc(size);
		REQUIRE(objects[i], "malloc(%zu), object %d: %s", size, i, strerror(errno));
		if (i % 8 == 0)
			*(int *)objects[i] = i;
	}
}

static void free_from(void **objects, int count, int first, int step)
{
	for (int i = first; i < count; i += step)
		free(objects[i]);
}

int main(void)
{
	require_allocator();
	void **objects = map_room(OBJECTS * sizeof *objects);
	size_t before = mapping_count();

	fill(objects, OBJECTS, 8 * KIB);
	check_mappings(before, "with 100,000 objects of 8 KiB");
	free_from(objects, OBJECTS, 0, 2);
	check_mappings(before, "after every second has been freed");
	for (int i = 1; i < OBJECTS; i += 2)
		REQUIRE(i % 8 != 0 || *(int *)objects[i] == i, "object %d has changed", i);
	free_from(objects, OBJECTS, 1, 2);
	check_mappings(before, "after all have been freed");

	fill(objects, LARGE, MIB / 2);
	check_mappings(before, "with 4,000 objects of 512 KiB");
	free_from(objects, LARGE, 0, 2);
	check_mappings(before, "after every second of them has been freed");
	free_from(objects, LARGE, 1, 2);
	check_mappings(before, "at the end");
	return 0;
}

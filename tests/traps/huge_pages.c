/*
 * Trap: huge pages make memory resident that nobody has written to. A small heap has none unless they are asked
 * for; a large one has them if they are, and gives the memory back all the same. Whatever the kernel does, the heap
 * stays a few mappings.
 *
 *     huge_pages small     20 MiB of objects: no huge page
 *     huge_pages wanted    256 MiB: mostly huge pages
 *     huge_pages unwanted  256 MiB: none
 *     huge_pages any       256 MiB
 */
#include "trap.h"

#include <malloc.h>

#define OBJECT 200

#define MOST_MAPPINGS       400
#define RESIDENT_AFTER_TRIM (12 * MIB)

static size_t huge_bytes(void)
{
	return proc_number("/proc/self/smaps_rollup", "AnonHugePages:") * KIB;
}

static void **fill(size_t bytes)
{
	void **objects = map_room(bytes / OBJECT * sizeof *objects);
	/* The table itself has none, on any kernel. */
	madvise(objects, bytes / OBJECT * sizeof *objects, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < bytes / OBJECT; i++) {
		objects[i] = malloc(OBJECT);
		REQUIRE(objects[i], "malloc: %s", strerror(errno));
		memset(objects[i], (int)i, OBJECT);
	}
	return objects;
}

/* What is left lies in every hugepage; what goes back must go in parts. */
static void free_but_few(void **objects, size_t bytes)
{
	size_t before = mapping_count();
	size_t count = bytes / OBJECT;
	for (size_t i = 0; i < count; i++) {
		if (i % 10000 != 0)
			free(objects[i]);
	}
	malloc_trim(0);
	size_t room = count * sizeof *objects;
	size_t resident = resident_bytes();
	REQUIRE(resident < RESIDENT_AFTER_TRIM + room, "%zu KiB are resident when nearly all is free", resident / KIB);
	for (size_t i = 0; i < count; i += 10000) {
		const unsigned char *object = objects[i];
		REQUIRE(object[0] == (unsigned char)i && object[OBJECT - 1] == (unsigned char)i,
			"an object has lost its contents");
		free(objects[i]);
	}
	REQUIRE(mapping_count() < before + MOST_MAPPINGS, "%zu mappings, before %zu", mapping_count(), before);
}

int main(int count, char **values)
{
	/* What is left would be more than is allowed. */
	if (malloc_usable_size(malloc(OBJECT)) > 4 * OBJECT) {
		puts("this profile's classes are far apart");
		return 77;
	}
	require_allocator();
	REQUIRE(count == 2, "one argument is needed");
	size_t bytes = strcmp(values[1], "small") == 0 ? 20 * MIB : 256 * MIB;
	void **objects = fill(bytes);
	size_t huge = huge_bytes();
	if (strcmp(values[1], "wanted") == 0)
		REQUIRE(huge > bytes / 2, "%zu KiB in huge pages, though all were asked for", huge / KIB);
	else if (strcmp(values[1], "any") != 0)
		REQUIRE(huge == 0, "%zu KiB in huge pages", huge / KIB);
	free_but_few(objects, bytes);
	return 0;
}

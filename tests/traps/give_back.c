/*
 * Trap: memory that is freed must go back to the system without being asked for: large
 * blocks at once, the cut-off part of a block that shrinks, a peak of small objects.
 * malloc_trim gives back what is left and says truthfully whether it did.
 *
 *     give_back large|shrink|shrink-many|medium|small
 */
#include "trap.h"

#include <malloc.h>

#define SIZE_CLASSES_DEFINE
#include "size_classes.h"

/* What may stay after a peak, programs and tables included. */
#define RESIDENT_AFTER_PEAK (10 * MIB)
#define RESIDENT_AFTER_TRIM (4 * MIB)

/* Descriptors of spans stay for reuse, and so does the page map. These limits have room for so many, and for pages of so many
 * bytes; with pages of 4 KiB there are more of both. */
#define DESCRIPTOR          64
#define SPANS_WITHIN_LIMITS 32768
#define MAP_ENTRY           6
#define PAGE_WITHIN_LIMITS  (8 * KIB)

static void *written(size_t size, int value)
{
	void *block = malloc(size);
	REQUIRE(block, "malloc(%zu): %s", size, strerror(errno));
	memset(block, value, size);
	return block;
}

static void require_resident_below(size_t limit, const char *when)
{
	size_t resident = resident_bytes();
	REQUIRE(resident < limit, "%s %zu KiB are resident, more than %zu", when, resident / KIB, limit / KIB);
}

/* The first peak goes back at once. Whoever takes the same again right away may be left alone with it for a
 * while, but not for good: malloc_trim still gets everything. */
static void check_large(void)
{
	free(written(200 * MIB, 1));
	require_resident_below(RESIDENT_AFTER_PEAK, "after a block of 200 MiB has been freed");
	for (int round = 0; round < 5; round++)
		free(written(200 * MIB, round));
	malloc_trim(0);
	require_resident_below(RESIDENT_AFTER_TRIM, "after five more, and malloc_trim,");
}

static void require_bytes(const unsigned char *block, size_t size, int value)
{
	for (size_t i = 0; i < size; i++)
		REQUIRE(block[i] == value, "byte %zu has changed", i);
}

static void check_shrink(void)
{
	unsigned char *block = written(200 * MIB, 7);
	block = realloc(block, MIB);
	REQUIRE(block, "realloc: %s", strerror(errno));
	require_resident_below(RESIDENT_AFTER_PEAK, "after shrinking 200 MiB to 1 MiB");
	require_bytes(block, MIB, 7);
	free(block);
}

static void check_shrink_many(void)
{
	enum { BLOCKS = 60 };
	unsigned char *blocks[BLOCKS];
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = written(3 * MIB, i);
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = realloc(blocks[i], 64 * KIB);
		REQUIRE(blocks[i], "realloc: %s", strerror(errno));
	}
	require_resident_below(RESIDENT_AFTER_PEAK + BLOCKS * 64 * KIB,
			       "after shrinking 60 blocks of 3 MiB to 64 KiB each");
	for (int i = 0; i < BLOCKS; i++) {
		require_bytes(blocks[i], 64 * KIB, i);
		blocks[i] = realloc(blocks[i], 100);
		require_bytes(blocks[i], 100, i);
	}
	require_resident_below(RESIDENT_AFTER_PEAK, "after shrinking them to 100 bytes");
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

/* Bytes that a block of this size takes. */
static size_t usable(size_t size)
{
	void *object = malloc(size);
	size_t bytes = malloc_usable_size(object);
	free(object);
	return bytes;
}

/* Bytes of descriptors and of the page map beyond those that the limits have room for, for so many objects of this size. */
static size_t further_records(size_t count, size_t size)
{
	unsigned class = 1;
	while (class < CLASS_COUNT && size_classes[class].size != usable(size))
		class ++;
	size_t spans = class < CLASS_COUNT ? count / size_classes[class].objects : count;
	size_t descriptors = spans > SPANS_WITHIN_LIMITS ? (spans - SPANS_WITHIN_LIMITS) * DESCRIPTOR : 0;
	size_t bytes = count * usable(size);
	size_t page = (size_t)1 << PAGE_SHIFT;
	size_t entries = page < PAGE_WITHIN_LIMITS ? bytes / page - bytes / PAGE_WITHIN_LIMITS : 0;
	return descriptors + entries * MAP_ENTRY;
}

/* As many objects as are asked for, or fewer where the profile rounds them up so much that they would take `most` bytes. */
static void check_peak(size_t count, size_t size, size_t most)
{
	if (count > most / usable(size))
		count = most / usable(size);
	size_t records = further_records(count, size);
	void **objects = map_room(count * sizeof *objects);
	for (size_t i = 0; i < count; i++)
		objects[i] = written(size, (int)i);
	REQUIRE(resident_bytes() > count * size, "the objects are not resident");
	for (size_t i = 0; i < count; i++)
		free(objects[i]);
	munmap(objects, count * sizeof *objects);
	require_resident_below(RESIDENT_AFTER_PEAK + records, "after the peak has been freed");

	size_t before = resident_bytes();
	int released = malloc_trim(0);
	size_t after = resident_bytes();
	REQUIRE(after < RESIDENT_AFTER_TRIM + records, "%zu KiB are resident after malloc_trim", after / KIB);
	REQUIRE(released || before <= after + 64 * KIB,
		"malloc_trim says that it released nothing, but %zu KiB became %zu", before / KIB, after / KIB);
	REQUIRE(!malloc_trim(0), "a second malloc_trim says that there was still something");
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(count == 2, "one argument is needed");
	if (strcmp(values[1], "large") == 0)
		check_large();
	else if (strcmp(values[1], "shrink") == 0)
		check_shrink();
	else if (strcmp(values[1], "shrink-many") == 0)
		check_shrink_many();
	else if (strcmp(values[1], "medium") == 0)
		check_peak(1000, 256 * KIB, 1024 * MIB);
	else if (strcmp(values[1], "small") == 0)
		check_peak(2000000, 100, 256 * MIB);
	else
		FAIL("unknown case %s", values[1]);
	return 0;
}

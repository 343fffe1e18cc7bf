/*
 * Trap: what stays when small objects are freed. All of them, in random order: the few that a cache still holds must not
 * keep a span each. All but one in a hundred: with malloc_trim, or after some seconds in which the program does little, no
 * more is resident than the kernel's pages that the others lie on.
 *
 *     residue all|trim|light
 */
#include "trap.h"

#include <malloc.h>
#include <time.h>

#define PEAK_BYTES (96 * MIB)
#define SMALLEST   16
#define LARGEST    8192

/* The kernel's page, or that of the profile if it is larger: objects of a span that is smaller are not told apart. */
#define KERNEL_PAGE ((size_t)sysconf(_SC_PAGESIZE))

/* Program and metadata: profiles with small classes only have a descriptor for each of the larger blocks. */
#define BESIDE (10 * MIB)

/* Without being asked: free pages that are kept, and what the classes may hold below which nobody looks. */
#define KEPT (16 * MIB)

/* Seconds of light activity after which it has to be over; it takes five. */
#define LIGHT_SECONDS 30

static struct block {
	unsigned char *start;
	size_t size;
} * blocks;
static size_t count;
static uint64_t seed;

/* Half as many are larger than twice a size as are larger than it. */
static size_t random_size(void)
{
	uint64_t share = random_next(&seed) % 1000;
	return SMALLEST * 1000 / (1000 - share * (LARGEST - SMALLEST) / LARGEST);
}

static void fill(void)
{
	size_t most = PEAK_BYTES / SMALLEST;
	blocks = map_room(most * sizeof *blocks);
	for (size_t bytes = 0; bytes < PEAK_BYTES; count++) {
		struct block *block = &blocks[count];
		block->size = random_size();
		block->start = malloc(block->size);
		REQUIRE(block->start, "malloc(%zu): %s", block->size, strerror(errno));
		memset(block->start, (int)count, block->size);
		block->start[0] = (unsigned char)block->size;
		bytes += block->size;
	}
}

static void free_at_random(size_t left)
{
	size_t had = count * sizeof *blocks;
	while (count > left) {
		struct block *block = &blocks[random_next(&seed) % count];
		free(block->start);
		*block = blocks[--count];
	}
	size_t used = (count * sizeof *blocks + KERNEL_PAGE - 1) / KERNEL_PAGE * KERNEL_PAGE;
	munmap((char *)blocks + used, had - used + KERNEL_PAGE);
}

static int by_address(const void *first, const void *second)
{
	const struct block *a = first;
	const struct block *b = second;
	return (a->start > b->start) - (a->start < b->start);
}

/* Bytes of the kernel's pages that a part of a live object lies on. qsort might allocate: so little is sorted in place. */
static size_t floor_bytes(void)
{
	size_t pages = 0;
	uintptr_t last = 0;
	qsort(blocks, count, sizeof *blocks, by_address);
	for (size_t i = 0; i < count; i++) {
		uintptr_t first = (uintptr_t)blocks[i].start / KERNEL_PAGE;
		uintptr_t end = ((uintptr_t)blocks[i].start + blocks[i].size - 1) / KERNEL_PAGE;
		pages += end - first + (first != last);
		last = end;
	}
	return pages * KERNEL_PAGE;
}

static void require_contents(void)
{
	for (size_t i = 0; i < count; i++) {
		const struct block *block = &blocks[i];
		REQUIRE(block->start[0] == (unsigned char)block->size, "an object has lost its first byte");
		for (size_t at = 2; at < block->size; at++)
			REQUIRE(block->start[at] == block->start[1], "an object of %zu bytes has lost byte %zu",
				block->size, at);
	}
}

static void check_all(void)
{
	fill();
	free_at_random(0);
	size_t resident = resident_bytes();
	REQUIRE(resident < BESIDE + KEPT, "%zu KiB are resident after everything has been freed", resident / KIB);
}

static void check_trim(void)
{
	fill();
	free_at_random(count / 100);
	size_t least = floor_bytes();
	REQUIRE(malloc_trim(0), "malloc_trim says that there was nothing");
	size_t resident = resident_bytes();
	REQUIRE(resident < least + least / 7 + BESIDE, "after malloc_trim %zu KiB are resident, %zu are needed",
		resident / KIB, least / KIB);
	REQUIRE(!malloc_trim(0), "a second malloc_trim says that there was still something");
	require_contents();
	free_at_random(0);
	malloc_trim(0);
	resident = resident_bytes();
	REQUIRE(resident < BESIDE + KEPT / 4, "after the rest has been freed, and malloc_trim, %zu KiB are resident",
		resident / KIB);
}

/* Eight calls a millisecond, which a cache can serve alone. */
static void do_little(void)
{
	static void *recent[64];
	const struct timespec millisecond = {.tv_nsec = 1000000};
	for (int i = 0; i < 100; i++) {
		for (int j = 0; j < 4; j++) {
			void **slot = &recent[random_next(&seed) % 64];
			free(*slot);
			*slot = malloc(16 + random_next(&seed) % 1000);
			REQUIRE(*slot, "malloc: %s", strerror(errno));
		}
		nanosleep(&millisecond, NULL);
	}
}

static void check_light(void)
{
	fill();
	free_at_random(count / 100);
	size_t least = floor_bytes();
	size_t limit = least + least / 7 + BESIDE + KEPT;
	time_t end = time(NULL) + LIGHT_SECONDS;
	while (resident_bytes() > limit && time(NULL) < end)
		do_little();
	size_t resident = resident_bytes();
	REQUIRE(resident <= limit, "after %d s with little to do %zu KiB are resident, %zu are needed", LIGHT_SECONDS,
		resident / KIB, least / KIB);
	require_contents();
}

int main(int argument_count, char **values)
{
	require_allocator();
	REQUIRE(argument_count >= 2, "an argument is needed");
	seed = argument(argument_count, values, 2, 1);
	if (strcmp(values[1], "all") == 0)
		check_all();
	else if (strcmp(values[1], "trim") == 0)
		check_trim();
	else if (strcmp(values[1], "light") == 0)
		check_light();
	else
		FAIL("unknown case %s", values[1]);
	return 0;
}

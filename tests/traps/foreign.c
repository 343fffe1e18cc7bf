/*
 * Trap: pointers of another allocator, here the C library's own, handed to the
 * preloaded one: free, realloc (which must keep every byte), malloc_usable_size, and
 * the sized and aligned forms of C++'s delete, and C's sized frees.
 */
#include "churn.h"
#include "foreign.h"

#include <malloc.h>

static const size_t sizes[] = {1,    8,     16,    24,     25,     40,      100,     1000,    1032,
			       4096, 10000, 65536, 131072, 140000, 1000000, 5000000, 40000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static allocate_function *foreign_malloc;
static align_function *foreign_memalign;
static size_function *foreign_usable_size;

static void fill(unsigned char *block, size_t size)
{
	for (size_t i = 0; i < size; i++)
		block[i] = (unsigned char)(i * 7 + (i >> 8));
}

static void check(const unsigned char *block, size_t size)
{
	for (size_t i = 0; i < size; i++)
		REQUIRE(block[i] == (unsigned char)(i * 7 + (i >> 8)), "byte %zu of %zu has changed", i, size);
}

static unsigned char *foreign_block(size_t size)
{
	unsigned char *block = foreign_malloc(size);
	REQUIRE(block, "the C library's malloc(%zu): %s", size, strerror(errno));
	fill(block, size);
	return block;
}

static unsigned char *foreign_aligned_block(size_t alignment, size_t size)
{
	unsigned char *block = foreign_memalign(alignment, size);
	REQUIRE(block, "the C library's memalign(%zu, %zu): %s", alignment, size, strerror(errno));
	fill(block, size);
	return block;
}

static void check_usable_size(size_t size)
{
	void *block = foreign_block(size);
	size_t ours = malloc_usable_size(block), theirs = foreign_usable_size(block);
	REQUIRE(ours == theirs, "malloc_usable_size of foreign %zu bytes: %zu, the C library says %zu", size, ours,
		theirs);
	errno = 4711;
	free(block);
	REQUIRE(errno == 4711, "free of a foreign pointer changed errno to %d", errno);
}

/* Whoever frees does not expect that it asks the dynamic linker for something. */
static void check_linker_message(void)
{
	REQUIRE(!dlopen("/nowhere/libnothing.so", RTLD_NOW), "a library that is not there was loaded");
	free(foreign_block(100));
	REQUIRE(dlerror(), "free of a foreign pointer has taken the linker's message away");
}

/* Every byte of the block's usable size counts, not only of what was asked for. */
static void check_realloc(unsigned char *block, size_t old_size, size_t new_size)
{
	size_t kept = old_size < new_size ? old_size : new_size;
	unsigned char *moved = realloc(block, new_size);
	REQUIRE(moved, "realloc(%zu -> %zu): %s", old_size, new_size, strerror(errno));
	check(moved, kept);
	fill(moved, new_size);
	unsigned char *again = realloc(moved, new_size * 2 + 1);
	REQUIRE(again, "realloc(%zu -> %zu): %s", new_size, new_size * 2 + 1, strerror(errno));
	check(again, new_size);
	free(again);
}

static void check_realloc_failing(void)
{
	unsigned char *block = foreign_block(1000);
	volatile size_t impossible = SIZE_MAX / 2;
	errno = 0;
	REQUIRE(!realloc(block, impossible), "realloc to an impossible size succeeded");
	REQUIRE(errno == ENOMEM, "errno %d, not ENOMEM", errno);
	check(block, 1000);
	free(block);
}

/* The forms of delete come with whichever allocator is loaded, or from libstdc++. */
typedef void delete_plain(void *);
typedef void delete_sized(void *, size_t);
typedef void delete_aligned(void *, size_t, size_t);

static void check_deletes(size_t size)
{
	void *plain = dlsym(RTLD_DEFAULT, "_ZdlPv"), *sized = dlsym(RTLD_DEFAULT, "_ZdlPvm");
	void *aligned = dlsym(RTLD_DEFAULT, "_ZdlPvmSt11align_val_t");
	delete_plain *call_plain;
	delete_sized *call_sized;
	delete_aligned *call_aligned;
	memcpy(&call_plain, &plain, sizeof plain);
	memcpy(&call_sized, &sized, sizeof sized);
	memcpy(&call_aligned, &aligned, sizeof aligned);
	if (plain)
		call_plain(foreign_block(size));
	if (sized)
		call_sized(foreign_block(size), size);
	if (aligned)
		call_aligned(foreign_aligned_block(64, size), size, 64);
}

/* C's sized frees look at the address, also where the thread's cache has room for objects of this size. */
static void check_sized_frees(size_t size)
{
	typedef void deallocate_sized(void *, size_t, int);
	enum { LIVE = 40 };
	void *sized = dlsym(RTLD_DEFAULT, "free_sized"), *flagged = dlsym(RTLD_DEFAULT, "sdallocx");
	void *blocks[LIVE];
	delete_sized *call_sized;
	deallocate_sized *call_flagged;
	memcpy(&call_sized, &sized, sizeof sized);
	memcpy(&call_flagged, &flagged, sizeof flagged);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < LIVE; i++)
			blocks[i] = malloc(size);
		for (int i = 0; i < LIVE; i++)
			free(blocks[i]);
	}
	for (int i = 0; i < LIVE / 4; i++)
		blocks[i] = malloc(size);
	if (sized)
		call_sized(foreign_block(size), size);
	if (flagged)
		call_flagged(foreign_block(size), size, 0);
	for (int i = 0; i < LIVE / 4; i++)
		free(blocks[i]);
}

/* If a sized delete had put a foreign block into one of our stacks, malloc would now
 * hand it out. */
static void check_none_is_handed_out(void)
{
	enum { LIVE = 20000 };
	static void *blocks[LIVE];
	const char *ours = file_of(dlsym(RTLD_DEFAULT, "malloc"));
	if (strncmp(ours, "libc.so", 7) == 0)
		return;
	void *low = sbrk(0);
	uintptr_t heap_end = (uintptr_t)low, heap_start = heap_end - 64 * MIB;
	for (int i = 0; i < LIVE; i++) {
		blocks[i] = malloc(sizes[i % 9]);
		uintptr_t address = (uintptr_t)blocks[i];
		REQUIRE(address < heap_start || address >= heap_end,
			"malloc returned %p, a block of the C library's heap", blocks[i]);
	}
	for (int i = 0; i < LIVE; i++)
		free(blocks[i]);
}

int main(void)
{
	require_allocator();
	foreign_malloc = foreign_function("malloc");
	foreign_memalign = foreign_align_function("memalign");
	foreign_usable_size = foreign_size_function("malloc_usable_size");
	for (int i = 0; i < SIZES; i++) {
		size_t size = sizes[i];
		check_usable_size(size);
		for (int j = 0; j < SIZES; j++) {
			if (sizes[i] > MIB && sizes[j] > MIB && i != j)
				continue; /* one pair of the largest is enough */
			check_realloc(foreign_block(size), size, sizes[j]);
			check_realloc(foreign_aligned_block(4096, size), size, sizes[j]);
		}
		REQUIRE(!realloc(foreign_block(size), 0), "realloc(foreign, 0) is not NULL");
		check_deletes(size);
	}
	check_linker_message();
	check_realloc_failing();
	for (int i = 0; i < SIZES && sizes[i] < MIB; i++)
		check_sized_frees(sizes[i]);
	check_none_is_handed_out();
	use_heap_briefly(1);
	return 0;
}

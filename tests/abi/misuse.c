/* Wrong uses, one per name given as argument; each must stop the process with a message. Prints `size N` (the usable size of
   the object misused) first, for the driver to find the size class in the message. Ends with status 0 if nothing stopped it,
   with 77 if the profile has no classes to do it with.
   Relies on memory going back to the central tier when a thread frees many objects, idles, or trims. */
#define _GNU_SOURCE
#include "check.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiermalloc/tiermalloc.h>

#include "size_classes.h"

/* Of a class among the smallest, of one among the largest, and of none. */
enum { MANY = 20000, SMALL = 48, LARGE = 5 << 20 };
#define MEDIUM at_most_largest(100000)

/* Status of a use that the profile's classes leave no room for; the reason is on stdout. */
enum { NOT_APPLICABLE = 77 };

static size_t at_most_largest(size_t size)
{
	return size < LARGEST_CLASS_SIZE ? size : LARGEST_CLASS_SIZE;
}

static void *many[MANY];

/* Says what is misused, on stdout, before it happens. */
static char *tell(void *block)
{
	printf("size %zu\n", malloc_usable_size(block));
	fflush(stdout);
	return hide_pointer(block);
}

static char *take(size_t size)
{
	return tell(malloc(hide_size(size)));
}

static void allocate_many(size_t size)
{
	for (size_t i = 0; i < MANY; ++i)
		many[i] = hide_pointer(malloc(size));
}

/* Everything this thread has cached goes back to the central tier. */
static void send_back_many(void)
{
	for (size_t i = 0; i < MANY; ++i)
		free(many[i]);
	tiermalloc_thread_idle();
	malloc_trim(0);
}

static void no_misuse(void)
{
	allocate_many(SMALL);
	free(take(SMALL));
	send_back_many();
	free_sized(take(LARGE), LARGE);
}

static void interior(size_t size, size_t offset)
{
	allocate_many(SMALL);
	free(take(size) + offset);
	send_back_many();
}
static void interior_of_small(void)
{
	interior(SMALL, 16);
}
static void interior_of_small_misaligned(void)
{
	interior(SMALL, 1);
}
static void interior_of_small_end(void)
{
	interior(SMALL, SMALL - 8);
}
static void interior_of_medium(void)
{
	interior(MEDIUM, 4096);
}
static void interior_of_medium_misaligned(void)
{
	interior(MEDIUM, 3);
}
static void interior_of_large(void)
{
	interior(LARGE, 16);
}
static void interior_of_large_next_page(void)
{
	interior(LARGE, PAGE_SIZE);
}
static void interior_of_large_next_mib(void)
{
	interior(LARGE, 3 << 20);
}

/* Interior pointers among many right ones, whose spans then come back whole. */
static void interior_among_many(void)
{
	allocate_many(SMALL);
	tell(many[MANY / 2]);
	many[MANY / 2] = (char *)many[MANY / 2] + 8;
	send_back_many();
}

static void free_twice_at_once(size_t size)
{
	char *block = take(size);
	free(block);
	free(hide_pointer(block));
}
static void double_free_last_8(void)
{
	free_twice_at_once(8);
}
static void double_free_last_48(void)
{
	free_twice_at_once(SMALL);
}
static void double_free_last_4096(void)
{
	free_twice_at_once(at_most_largest(4096));
}
static void double_free_last_65536(void)
{
	free_twice_at_once(at_most_largest(65536));
}
static void double_free_last_medium(void)
{
	free_twice_at_once(MEDIUM);
}
static void double_free_large(void)
{
	free_twice_at_once(LARGE);
}
static void double_free_huge(void)
{
	free_twice_at_once((size_t)600 << 20);
}

/* Also when the stack of the class is full, or was just flushed, the last one freed is known. */
static void double_free_last_of_many(void)
{
	allocate_many(SMALL);
	tell(many[0]);
	for (size_t i = 0; i < MANY; ++i)
		free(many[i]);
	free(hide_pointer(many[MANY - 1]));
	tiermalloc_thread_idle();
}

static void double_free_later(void)
{
	allocate_many(SMALL);
	char *first = take(SMALL), *second = take(SMALL);
	free(first);
	free(second);
	free(hide_pointer(first));
	send_back_many();
}

static void double_free_much_later(void)
{
	allocate_many(SMALL);
	char *first = take(SMALL);
	free(first);
	send_back_many();
	free(hide_pointer(first));
	tiermalloc_thread_idle();
	malloc_trim(0);
}

static void double_free_of_medium_later(void)
{
	char *first = take(MEDIUM), *second = take(MEDIUM);
	free(first);
	free(second);
	free(hide_pointer(first));
	tiermalloc_thread_idle();
	malloc_trim(0);
}

static void *free_one(void *block)
{
	free(block);
	return NULL;
}

static void double_free_in_another_thread(void)
{
	allocate_many(SMALL);
	char *block = take(SMALL);
	pthread_t thread;
	if (pthread_create(&thread, NULL, free_one, block) != 0)
		return;
	pthread_join(thread, NULL);
	free(hide_pointer(block));
	send_back_many();
}

/* The last page of the last hugepage of a large block: in the heap, behind the block's end, and given out to nobody yet, as small
   spans come from the front of what is free. */
static char *never_allocated_address(void)
{
	enum { HUGEPAGE = 2 << 20 };
	char *block = tell(malloc(LARGE));
	uintptr_t end = ((uintptr_t)block + LARGE + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE;
	return block + (end - (uintptr_t)block) - PAGE_SIZE + 64;
}
static void never_allocated(void)
{
	free(never_allocated_address());
}
static void never_allocated_sized(void)
{
	free_sized(never_allocated_address(), SMALL);
	tiermalloc_thread_idle();
	malloc_trim(0);
}
static void never_allocated_realloc(void)
{
	printf("%p\n", realloc(never_allocated_address(), 100));
}
static void never_allocated_usable_size(void)
{
	printf("%zu\n", malloc_usable_size(never_allocated_address()));
}

/* Memory that no allocator gave out: neither ours nor, dynamically linked, the next allocator's. */
static void foreign_address(void)
{
	static char space[256] __attribute__((aligned(64)));
	free(hide_pointer(space + 64));
}

/* Bytes of a block of this size. */
static size_t usable(size_t size)
{
	void *block = hide_pointer(malloc(size));
	size_t bytes = malloc_usable_size(block);
	free(block);
	return bytes;
}

static void sized_mismatch(size_t size, size_t said)
{
	allocate_many(SMALL);
	free_sized(take(size), hide_size(said));
	send_back_many();
	void *blocks[200];
	for (size_t i = 0; i < 200; ++i)
		blocks[i] = hide_pointer(malloc(said <= 1 << 20 ? said : SMALL));
	for (size_t i = 0; i < 200; ++i)
		free(blocks[i]);
	tiermalloc_thread_idle();
	malloc_trim(0);
}

/* Somewhat more than twice what the block has: 100 bytes for a block of 48. */
static void sized_small_as_other_small(void)
{
	sized_mismatch(SMALL, 2 * usable(SMALL) + 4);
}
static void sized_small_as_smaller(void)
{
	if (usable(8) == usable(SMALL)) {
		puts("blocks of 8 bytes are of the same class");
		exit(NOT_APPLICABLE);
	}
	sized_mismatch(SMALL, 8);
}
static void sized_small_as_medium(void)
{
	sized_mismatch(SMALL, MEDIUM);
}
static void sized_small_as_large(void)
{
	sized_mismatch(SMALL, LARGE);
}
static void sized_medium_as_small(void)
{
	sized_mismatch(MEDIUM, SMALL);
}
static void sized_large_as_small(void)
{
	sized_mismatch(LARGE, SMALL);
}
static void sized_large_as_larger(void)
{
	sized_mismatch(LARGE, 2 * LARGE);
}

static void sdallocx_mismatch(void)
{
	sdallocx(take(LARGE), SMALL, 0);
	tiermalloc_thread_idle();
	malloc_trim(0);
}

static void aligned_sized_mismatch(void)
{
	free_aligned_sized(tell(aligned_alloc(4096, LARGE)), 4096, SMALL);
	tiermalloc_thread_idle();
	malloc_trim(0);
}

static void realloc_interior_small(void)
{
	printf("%p\n", realloc(take(SMALL) + 16, 1000));
}
static void realloc_interior_large(void)
{
	printf("%p\n", realloc(take(LARGE) + PAGE_SIZE, 1000));
}
static void usable_size_interior_large(void)
{
	printf("%zu\n", malloc_usable_size(take(LARGE) + PAGE_SIZE));
}
static void usable_size_interior_small(void)
{
	printf("%zu\n", malloc_usable_size(take(SMALL) + 16));
}

static void realloc_after_free_large(void)
{
	char *block = take(LARGE);
	free(block);
	printf("%p\n", realloc(hide_pointer(block), 1000));
}

static const struct {
	const char *name;
	void (*run)(void);
} uses[] = {
#define USE(function)                                                                                                            \
	{                                                                                                                        \
#function, function                                                                                              \
	}
	USE(no_misuse),
	USE(interior_of_small),
	USE(interior_of_small_misaligned),
	USE(interior_of_small_end),
	USE(interior_of_medium),
	USE(interior_of_medium_misaligned),
	USE(interior_of_large),
	USE(interior_of_large_next_page),
	USE(interior_of_large_next_mib),
	USE(interior_among_many),
	USE(double_free_last_8),
	USE(double_free_last_48),
	USE(double_free_last_4096),
	USE(double_free_last_65536),
	USE(double_free_last_medium),
	USE(double_free_last_of_many),
	USE(double_free_large),
	USE(double_free_huge),
	USE(double_free_later),
	USE(double_free_much_later),
	USE(double_free_of_medium_later),
	USE(double_free_in_another_thread),
	USE(never_allocated),
	USE(never_allocated_sized),
	USE(never_allocated_realloc),
	USE(never_allocated_usable_size),
	USE(foreign_address),
	USE(sized_small_as_other_small),
	USE(sized_small_as_smaller),
	USE(sized_small_as_medium),
	USE(sized_small_as_large),
	USE(sized_medium_as_small),
	USE(sized_large_as_small),
	USE(sized_large_as_larger),
	USE(sdallocx_mismatch),
	USE(aligned_sized_mismatch),
	USE(realloc_interior_small),
	USE(realloc_interior_large),
	USE(realloc_after_free_large),
	USE(usable_size_interior_small),
	USE(usable_size_interior_large),
#undef USE
};

int main(int argument_count, char **arguments)
{
	for (size_t i = 0; i < sizeof uses / sizeof *uses; ++i)
		if (argument_count == 2 && strcmp(arguments[1], uses[i].name) == 0) {
			uses[i].run();
			return 0;
		}
	for (size_t i = 0; i < sizeof uses / sizeof *uses; ++i)
		puts(uses[i].name);
	return argument_count == 1 ? 0 : 2;
}

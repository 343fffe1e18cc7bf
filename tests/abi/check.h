/* Named checks for the ABI test programs: each prints `ok NAME`, `not ok NAME: what` or `ok NAME # SKIP reason`, which is
   also TAP. Relies on nothing but stdio with a static buffer, so that the checks themselves allocate nothing. */
#ifndef TIERMALLOC_TESTS_ABI_CHECK_H
#define TIERMALLOC_TESTS_ABI_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs one check and prints its line. A check that fails does not stop the program. */
void check_run(const char *name, void (*run)(void));
#define CHECK(function) check_run(#function, function)

/* Notes a failure of the running check when the condition does not hold; only the first one's text is printed.
   Returns the condition. */
bool expect(bool condition, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says that the running check could not be made, and why. */
void check_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reads the common arguments (`--seed N`, `--malloc-from TEXT`: the object that malloc comes from must have TEXT in its
   name), prints seed and origin of malloc as comments. Returns false when an argument is unknown. */
bool check_start(int argument_count, char **arguments);

/* Prints the TAP plan; the program's exit status: 0, or 1 if any check failed. */
int check_finish(void);

/* Random numbers from the printed seed. */
uint64_t random_number(void);
size_t random_below(size_t limit);

/* Writes a pattern that depends on the seed and the position; finds the first byte that differs from it (length if none). */
void fill_pattern(void *block, size_t length, unsigned seed);
size_t first_difference(const void *block, size_t length, unsigned seed);

/* The first byte that is not zero, or length. */
size_t first_nonzero(const void *block, size_t length);

/* What the profile that the library was built with promises: the alignment of requests of 16 bytes and more, and how many
   bytes a block of this size takes. */
extern const size_t request_alignment;
size_t bytes_by_profile(size_t size);

/* Resident memory of this process in bytes. */
size_t resident_bytes(void);

/* Returns its argument; the compiler cannot know that. Keeps it from reasoning about pointers and sizes. */
static inline void *hide_pointer(void *pointer)
{
	__asm__ volatile("" : "+r"(pointer));
	return pointer;
}
static inline size_t hide_size(size_t size)
{
	__asm__ volatile("" : "+r"(size));
	return size;
}
static inline bool is_aligned(const void *pointer, size_t alignment)
{
	return ((uintptr_t)pointer & (alignment - 1)) == 0;
}

/* Sizes around which allocators change their ways: for each power of two up to 2^last_shift its eight subdivisions, each
   with its two neighbours. Ascending; returns how many were written (at most capacity). */
size_t boundary_sizes(size_t *sizes, size_t capacity, unsigned last_shift);

#ifdef __cplusplus
}
#endif
#endif

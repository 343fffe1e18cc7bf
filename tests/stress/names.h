/*
 * The names under which the stress programs call the allocator: the standard ones, or,
 * with TIERMALLOC_PREFIX defined (as tm_, say), those of a prefixed build that is linked
 * in beside the C library's malloc. So the same programs run preloaded, and under the
 * sanitizers, which bring a malloc of their own.
 *
 * Include it after every system header: it turns the names into macros. Relies on the
 * traps' trap.h.
 */
#ifndef STRESS_NAMES_H
#define STRESS_NAMES_H

#include "trap.h"

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

#ifdef TIERMALLOC_PREFIX
#define STRESS_PASTE(prefix, name)  prefix##name
#define STRESS_EXPAND(prefix, name) STRESS_PASTE(prefix, name)
#define STRESS_NAME(name)           STRESS_EXPAND(TIERMALLOC_PREFIX, name)

void *STRESS_NAME(malloc)(size_t);
void *STRESS_NAME(calloc)(size_t, size_t);
void *STRESS_NAME(realloc)(void *, size_t);
void *STRESS_NAME(reallocarray)(void *, size_t, size_t);
void STRESS_NAME(free)(void *);
int STRESS_NAME(posix_memalign)(void **, size_t, size_t);
void *STRESS_NAME(aligned_alloc)(size_t, size_t);
void *STRESS_NAME(memalign)(size_t, size_t);
size_t STRESS_NAME(malloc_usable_size)(void *);
int STRESS_NAME(malloc_trim)(size_t);
int STRESS_NAME(malloc_info)(int, FILE *);
struct mallinfo2 STRESS_NAME(mallinfo2)(void);

#define malloc             STRESS_NAME(malloc)
#define calloc             STRESS_NAME(calloc)
#define realloc            STRESS_NAME(realloc)
#define reallocarray       STRESS_NAME(reallocarray)
#define free               STRESS_NAME(free)
#define posix_memalign     STRESS_NAME(posix_memalign)
#define aligned_alloc      STRESS_NAME(aligned_alloc)
#define memalign           STRESS_NAME(memalign)
#define malloc_usable_size STRESS_NAME(malloc_usable_size)
#define malloc_trim        STRESS_NAME(malloc_trim)
#define malloc_info        STRESS_NAME(malloc_info)
#define mallinfo2()        STRESS_NAME(mallinfo2)()
#define free_sized         STRESS_NAME(free_sized)
#define sdallocx           STRESS_NAME(sdallocx)
#endif

/* Not every C library has these: weak, so that a program preloaded with an allocator
 * without them still starts and uses free instead. */
void free_sized(void *block, size_t size) __attribute__((weak));
void sdallocx(void *block, size_t size, int flags) __attribute__((weak));

/* Preloaded, the standard names must be bound to the library that the test is about. */
static inline void require_names_bound(void)
{
#ifndef TIERMALLOC_PREFIX
	require_allocator();
#endif
}

static inline void free_knowing_size(void *block, size_t size)
{
	if (free_sized)
		free_sized(block, size);
	else
		free(block);
}

static inline void deallocate_knowing_size(void *block, size_t size)
{
	if (sdallocx)
		sdallocx(block, size, 0);
	else
		free(block);
}

#endif

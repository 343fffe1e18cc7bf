/*
 * The one slow door: where the fast paths go when the thread's cache can't serve, and where everything rare is
 * decided. It sees to it that the process is initialised and the thread has a cache, and then calls the tiers.
 * errno is set to ENOMEM on failure and kept otherwise.
 */
#ifndef TIERMALLOC_DOOR_H
#define TIERMALLOC_DOOR_H

#include "base/common.h"
#include "size_classes.h"

/* For callers that have found the class's stack empty: it is refilled as if it were. */
NOINLINE void *door_malloc(size_t size);
NOINLINE void *door_calloc(size_t count, size_t size);
NOINLINE void door_free(void *pointer);

/* What malloc and free do there when nothing is recorded, or when what records has not been able to serve. */
NOINLINE void *door_malloc_uncounted(size_t size);
NOINLINE void door_free_uncounted(void *pointer);

/* door_free for other functions: `function` is named in messages. */
void door_free_as(void *pointer, const char *function);

/* Pages of a large block; 0 for a size that no block can have. */
static inline size_t pages_for(size_t size)
{
	if (size > PTRDIFF_MAX)
		return 0;
	return (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/* Whether realloc may have left, or put, a block of `size` bytes where there are so many. */
static inline bool size_is_plausible(size_t usable, size_t size)
{
	return size <= usable && size >= usable / 2;
}

/* From now on a sized free may say any smaller size: realloc has left a block larger than it should be. */
void door_allow_smaller_sizes(void);

/* `size` is what was asked for when the block was allocated; stops the process if it can't be. */
NOINLINE void door_free_sized(void *pointer, size_t size, const char *function);

/* The same for a block that was allocated with an alignment. */
void door_free_aligned_sized(void *pointer, size_t alignment, size_t size);

/* `alignment` is a power of two, of any size. */
void *door_aligned(size_t alignment, size_t size);

/* As realloc, for pointers that are not NULL and sizes that are not 0. */
void *door_realloc(void *pointer, size_t size);

/* Bytes that the block can hold; 0 for NULL. */
size_t door_usable_size(void *pointer, const char *function);

/* Bytes that a block for `size` bytes at `alignment`, a power of two, would hold. */
size_t door_size_for(size_t alignment, size_t size);

/* Gives back what this thread's cache holds. */
void door_idle(void);

/*
 * Gives everything back that is cached on behalf of nobody in particular, and of this thread. Returns bytes given
 * to the system.
 */
size_t door_trim(size_t keep);

#endif

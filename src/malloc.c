/*
 * malloc, free, calloc and the sized frees: the fast paths and their way to the door. See fast_path.h.
 */
#include <string.h>

#include "abi.h"
#include "door.h"
#include "fast_path.h"
#include "tiermalloc/tiermalloc.h"

size_t sized_free_limit;

EXPORT void *PUBLIC(malloc)(size_t size)
{
	size_t class;
	void *object;

	if (likely(size <= SMALL_SIZE))
		class = small_class_of(size);
	else if (likely(size <= LARGEST_CLASS_SIZE))
		class = medium_class_of(size);
	else
		return door_malloc(size);
	object = pop(class);
	return likely(object != NULL) ? object : door_malloc(size);
}

EXPORT void PUBLIC(free)(void *pointer)
{
	if (unlikely(!free_fast(pointer)))
		door_free(pointer);
}

EXPORT void *PUBLIC(calloc)(size_t count, size_t size)
{
	size_t bytes;
	void *object;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)) || unlikely(bytes > SMALL_SIZE))
		return door_calloc(count, size);
	object = pop(small_class_of(bytes));
	if (unlikely(object == NULL))
		return door_calloc(count, size);
	return memset(object, 0, bytes);
}

EXPORT void PUBLIC(free_sized)(void *pointer, size_t size)
{
	if (unlikely(!free_checked_fast(pointer, size)))
		door_free_sized(pointer, size, "free_sized");
}

EXPORT void PUBLIC(sdallocx)(void *pointer, size_t size, int flags)
{
	/* Flags can ask for an alignment, which decides on the class together with the size. */
	if (unlikely(flags != 0)) {
		door_free(pointer);
		return;
	}
	if (unlikely(!free_checked_fast(pointer, size)))
		door_free_sized(pointer, size, "sdallocx");
}

void *own_malloc(size_t size) OWN(malloc);
void own_free(void *pointer) OWN(free);
void *own_calloc(size_t count, size_t size) OWN(calloc);

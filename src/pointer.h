/*
 * What is wrong with a pointer: the checks of slow paths, and the words for the message that stops the process.
 */
#ifndef TIERMALLOC_POINTER_H
#define TIERMALLOC_POINTER_H

#include "central/central.h"

/* Whether `pointer`, on a page of `class`, is the start of an object; *index is the object's number in its span. */
ALWAYS_INLINE bool pointer_is_start(const void *pointer, unsigned class, const struct span **span, uint64_t *index)
{
	const struct size_class *info = &size_classes[class];
	uint64_t product;

	*span = page_span(page_of((uintptr_t)pointer));
	product = ((uintptr_t)pointer - (*span)->start) * info->reciprocal;
	*index = product >> RECIPROCAL_SHIFT;
	return (product & RECIPROCAL_REST) == 0 && *index < info->objects;
}

/* Racy by nature, and never true for a valid pointer: its bit is clear while it is in use. */
ALWAYS_INLINE bool pointer_is_free(const struct span *span, uint64_t index)
{
	return load_relaxed(&span->free_objects[index / 64]) >> (index % 64) & 1;
}

/* Stops the process unless `pointer`, on a page of `class`, is the start of an object. */
void pointer_check(void *pointer, unsigned class, const char *function);

/* Stops the process: the pointer, inside the window, is neither a small object nor the start of a large block. */
COLD _Noreturn void pointer_wrong(void *pointer, const char *function);

/* Stops the process: a sized free's size is not the block's. */
COLD _Noreturn void pointer_wrong_size(void *pointer, size_t size, const char *function);

#endif

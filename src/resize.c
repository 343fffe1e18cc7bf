/*
 * realloc's slow part: staying in place where the class or the neighbouring pages allow, giving pages back when a
 * large block shrinks, and moving pages instead of bytes when it grows.
 *
 * A block always has the class of its present size, also after it has shrunk: sized frees rely on that.
 */
#include <errno.h>
#include <string.h>

#include "abi.h"
#include "central/central.h"
#include "door.h"
#include "fast_path.h"
#include "foreign.h"
#include "pointer.h"
#include "reentrant.h"

/* A new block with the contents of the old one. */
static void *copy(void *pointer, size_t old_size, size_t size)
{
	void *copied = own_malloc(size);

	if (copied == NULL)
		return NULL;
	memcpy(copied, pointer, minimum(old_size, size));
	own_free(pointer);
	return copied;
}

static void *resize_small(void *pointer, unsigned class, size_t size)
{
	pointer_check(pointer, class, "realloc");
	if (size <= LARGEST_CLASS_SIZE && class_of_size(size) == class)
		return pointer;
	return copy(pointer, size_classes[class].size, size);
}

/* Changes the number of pages, where the block is or elsewhere. NULL: not without copying. */
static struct span *resize_pages(struct span *span, size_t pages)
{
	if (pages < span->pages)
		span_shrink(span, pages);
	if (pages <= span->pages || span_grow(span, pages))
		return span;
	return span_move(span, pages);
}

static void *resize_large(struct span *span, size_t size)
{
	void *pointer = (void *)span->start;
	struct span *resized = NULL;

	if (size > LARGEST_CLASS_SIZE && door_enter()) {
		resized = resize_pages(span, (size + PAGE_SIZE - 1) >> PAGE_SHIFT);
		door_leave();
	}
	return resized != NULL ? (void *)resized->start : copy(pointer, span_bytes(span), size);
}

void *door_realloc(void *pointer, size_t size)
{
	uintptr_t address = (uintptr_t)pointer;
	struct span *span;
	unsigned class;

	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	if (unlikely(door_is_closed()))
		return copy(pointer, door_usable_size(pointer, "realloc"), size);
	if (unlikely(!in_window(address))) {
		size_t reentrant = reentrant_size(pointer);

		return reentrant != 0 ? copy(pointer, reentrant, size) : foreign_realloc(pointer, size);
	}
	class = page_class(page_of(address));
	if (class != 0)
		return resize_small(pointer, class, size);
	span = large_span_of(address);
	if (span == NULL || span->start != address)
		pointer_wrong(pointer, "realloc");
	return resize_large(span, size);
}

/*
 * realloc's slow part: staying in place where the class or the neighbouring pages allow, giving pages back when a
 * large block shrinks, and moving pages instead of bytes when it grows.
 *
 * A block that has grown to some size gets pages of its own, with room to grow: it will grow again. One that shrinks a
 * little stays, and one that grows a little gets a little more than it asks for. So free_sized and sdallocx, which may be used on such a block, look at its class;
 * operator delete, which may not, relies on the size.
 */
#include <errno.h>
#include <string.h>

#include "abi.h"
#include "central/central.h"
#include "door.h"
#include "fast_path.h"
#include "foreign.h"
#include "observe/recording.h"
#include "pointer.h"
#include "recorded.h"
#include "reentrant.h"

/* A block that shrinks by no more than this part of itself stays: the copy would cost more than the rest is worth. */
#define LARGEST_REMAINDER 4

static inline bool leaves_little(size_t old_size, size_t size)
{
	return size >= old_size - old_size / LARGEST_REMAINDER;
}

/* The most frequent case, which needs neither door nor stack: a small object that stays as it is. */
ALWAYS_INLINE bool stays(const void *pointer, size_t size)
{
	uintptr_t address = (uintptr_t)pointer;
	const struct span *span;
	uint64_t index;
	size_t old_size;
	unsigned class;

	if (unlikely(!in_window(address)))
		return false;
	class = page_class(page_of(address));
	old_size = size_classes[class].size;
	return class != 0 && size <= old_size && leaves_little(old_size, size) &&
	       pointer_is_start(pointer, class, &span, &index) && !pointer_is_free(span, index);
}

/* A new block with the contents of the old one. */
static void *copy(void *pointer, size_t old_size, size_t size)
{
	void *copied = unlikely(recording_is_resizing()) ? recorded_malloc_to_resize(size) : own_malloc(size);

	if (copied == NULL)
		return NULL;
	memcpy(copied, pointer, minimum(old_size, size));
	own_free(pointer);
	return copied;
}

/* A smaller block, or the same one where there is no memory for another: realloc to less does not fail. */
static void *shrink(void *pointer, size_t old_size, size_t size)
{
	int saved = errno;
	void *copied = copy(pointer, old_size, size);

	if (copied != NULL)
		return copied;
	errno = saved;
	door_allow_smaller_sizes();
	return pointer;
}

/* Copies to pages of its own, with room to grow. NULL: not to be had, nothing has changed. */
static void *copy_to_pages(void *pointer, size_t old_size, size_t size)
{
	const struct large_request request = {.pages = pages_for(size), .alignment = 1, .growing = true};
	struct span *span;

	if (!door_enter())
		return NULL;
	span = span_create_large(&request);
	door_leave();
	if (span == NULL)
		return NULL;
	memcpy((void *)span->start, pointer, old_size);
	own_free(pointer);
	return (void *)span->start;
}

/*
 * From this size on a block grows by pages instead of by classes: below, rounding up to pages would waste more than a
 * fifth of it.
 */
#define GROWN_SIZE ((size_t)32 << 10)

/* A block grows by this part of itself at least: a vector that grows in small steps is not copied at each of them. */
#define LEAST_GROWTH 4

/* But not into a class that a block of `size` bytes would not be expected in: profiles may have wide steps. */
static size_t grown_size(size_t old_size, size_t size)
{
	size_t more = old_size + old_size / LEAST_GROWTH;

	return more > size && size_is_plausible(door_size_for(1, more), size) ? more : size;
}

static void *grow(void *pointer, size_t old_size, size_t size)
{
	void *grown = size > GROWN_SIZE ? copy_to_pages(pointer, old_size, size) : NULL;

	return grown != NULL ? grown : copy(pointer, old_size, grown_size(old_size, size));
}

static void *resize_small(void *pointer, unsigned class, size_t size)
{
	size_t old_size = size_classes[class].size;

	pointer_check(pointer, class, "realloc");
	if (size <= old_size && (leaves_little(old_size, size) || class_of_size(size) == class))
		return pointer;
	return size > old_size ? grow(pointer, old_size, size) : shrink(pointer, old_size, size);
}

/* Fewer pages are copied: moving costs two calls to the system, leaves no memory behind, and splits mappings. */
#define LEAST_MOVED ((size_t)256 << 10 >> PAGE_SHIFT)

/* Changes the number of pages, where the block is or elsewhere. NULL: not without copying. */
static struct span *resize_pages(struct span *span, size_t pages)
{
	if (pages < span->pages)
		span_shrink(span, pages);
	if (pages <= span->pages || span_grow(span, pages))
		return span;
	return span->pages >= LEAST_MOVED ? span_move(span, pages) : NULL;
}

static void *resize_large(struct span *span, size_t size)
{
	void *pointer = (void *)span->start;
	struct span *resized = NULL;

	if (size > GROWN_SIZE && door_enter()) {
		resized = resize_pages(span, pages_for(size));
		door_leave();
	}
	if (resized != NULL)
		return (void *)resized->start;
	return size > span_bytes(span) ? grow(pointer, span_bytes(span), size)
				       : shrink(pointer, span_bytes(span), size);
}

static void *resize(void *pointer, size_t size)
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

/* A thread that has not come to the door since recording was started has no recorder yet. */
static bool has_recorder(void)
{
	if (thread_state.recorder == NULL && door_enter()) {
		recording_attend_thread();
		door_leave();
	}
	return thread_state.recorder != NULL;
}

/* Blocks of the heap are followed from size to size. */
static void *resize_recorded(void *pointer, size_t size)
{
	struct recorded_block before;
	void *resized;

	if (!in_window((uintptr_t)pointer) || !has_recorder())
		return resize(pointer, size);
	before = recording_begin_resize(pointer);
	resized = stays(pointer, size) ? pointer : resize(pointer, size);
	recording_end_resize(&before, pointer, resized, size);
	/* It was there for all of this call, and nobody would take it away later. */
	if (thread_is_passing() && door_enter()) {
		recording_leave_thread();
		door_leave();
	}
	return resized;
}

void *door_realloc(void *pointer, size_t size)
{
	if (unlikely(recording_concerns_threads()))
		return resize_recorded(pointer, size);
	return stays(pointer, size) ? pointer : resize(pointer, size);
}

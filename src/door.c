/* The slow door: allocation and freeing. Resizing is in resize.c. */
#include "door.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "background.h"
#include "base/os.h"
#include "central/central.h"
#include "fast_path.h"
#include "foreign.h"
#include "frontend/frontend.h"
#include "observe/recording.h"
#include "pageheap/pageheap.h"
#include "pointer.h"
#include "process.h"
#include "recorded.h"
#include "reentrant.h"

/* Allocators that answer a failed allocation try again once after they have given back what they could. */
static void reclaim(void)
{
	frontend_flush();
	transfer_flush();
	central_give_back_empty(true);
	pageheap_release(0);
}

static void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

static inline bool enter_door(void)
{
	if (!door_enter())
		return false;
	if (unlikely(recording_concerns_threads() || thread_state.recorder != NULL))
		recording_attend_thread();
	return true;
}

/* False: there is no heap, or a signal handler has interrupted this thread in here. */
static inline bool enter(void)
{
	if (unlikely(thread_state.phase < THREAD_OPEN) && !process_enter_thread())
		return false;
	return enter_door();
}

static inline bool enter_to_free(void)
{
	if (unlikely(thread_state.phase < THREAD_OPEN) && !process_enter_thread_to_free())
		return false;
	return enter_door();
}

/*
 * Above the soft limit the caches give up what they hold, but not more often than this: a program that stays above it would
 * only refill them. (That takes 0.7 ms where there are 200,000 objects of up to 1000 bytes.)
 */
#define SHRINK_INTERVAL_MS 100

static COLD void shrink_caches(void)
{
	static uint64_t last;
	uint64_t before = load_relaxed(&last);
	uint64_t now = os_milliseconds();

	if (now - before < SHRINK_INTERVAL_MS ||
	    !__atomic_compare_exchange_n(&last, &before, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	__atomic_fetch_and(&pageheap_asks, ~(uint32_t)PAGEHEAP_ASKS_CACHES, __ATOMIC_RELAXED);
	frontend_flush();
	transfer_flush();
	central_give_back_empty(true);
}

static inline void leave(void)
{
	bool watched =
		unlikely(pageheap_waits() || central_waits()) && thread_state.recorder == NULL && frontend_watches();

	if (unlikely(load_relaxed(&pageheap_asks) & PAGEHEAP_ASKS_CACHES))
		shrink_caches();
	/* It has a recorder for one call at a time. */
	if (unlikely(thread_state.recorder != NULL) && thread_is_passing() && !recording_is_resizing())
		recording_leave_thread();
	door_leave();
	if (watched)
		close_fast_paths(&thread_state);
}

/* What the caller of a function here gets after enter() has refused. */
static COLD void *refused(size_t alignment, size_t size)
{
	void *object = door_is_closed() ? reentrant_allocate(alignment, size) : NULL;

	return object != NULL ? object : out_of_memory();
}

/* With an object that was asked for in these words. */
static inline void *leave_with(void *object, size_t alignment, size_t size)
{
	if (unlikely(thread_state.recorder != NULL) && object != NULL)
		recording_allocated(object, alignment, size);
	leave();
	/* Here only: it calls the C library, which may have locks when it frees, but not when it allocates. */
	if (unlikely(load_relaxed(&pageheap_asks) & PAGEHEAP_ASKS_BACKGROUND))
		background_start_wanted();
	return likely(object != NULL) ? object : out_of_memory();
}

static uint64_t released_so_far(void)
{
	struct pageheap_statistics pages;

	pageheap_read_statistics(&pages);
	return pages.released_total;
}

/* What the caches give up may leave the page heap at once, before it is told to release anything: that counts, too. */
size_t door_trim(size_t keep)
{
	uint64_t before;
	uint64_t released;

	if (!enter())
		return 0;
	before = released_so_far();
	frontend_flush();
	transfer_flush();
	central_give_back_empty(true);
	central_purge();
	pageheap_release(keep);
	/* Takes a lock, which a signal handler that finds the door open may need. */
	released = released_so_far() - before;
	leave();
	return released;
}

void door_idle(void)
{
	if (!enter())
		return;
	frontend_flush_thread();
	leave();
}

/* Fills in the pages. False: no block can be so large. */
static bool large_request(size_t size, size_t alignment, struct large_request *request)
{
	*request = (struct large_request){.pages = maximum(pages_for(size), size == 0),
					  .alignment = maximum(alignment >> PAGE_SHIFT, 1)};
	return request->pages != 0;
}

static struct span *create_large(const struct large_request *request)
{
	struct span *span = span_create_large(request);

	if (span == NULL) {
		reclaim();
		span = span_create_large(request);
	}
	return span;
}

static void *allocate_large(size_t size, size_t alignment)
{
	struct large_request request;
	struct span *span = large_request(size, alignment, &request) ? create_large(&request) : NULL;

	return span != NULL ? (void *)span->start : NULL;
}

static void *calloc_large(size_t size)
{
	struct large_request request;
	struct span *span;

	if (!large_request(size, 1, &request))
		return NULL;
	request.zeroed = true;
	span = create_large(&request);
	if (span == NULL)
		return NULL;
	return span->zeroed ? (void *)span->start : memset((void *)span->start, 0, size);
}

static void *allocate_small(unsigned class)
{
	void *object = frontend_allocate(class);

	if (unlikely(object == NULL)) {
		reclaim();
		object = frontend_allocate(class);
	}
	return object;
}

void *door_malloc_uncounted(size_t size)
{
	void *object;

	if (unlikely(!enter()))
		return refused(1, size);
	object = size <= LARGEST_CLASS_SIZE ? allocate_small(class_of_size(size)) : allocate_large(size, 1);
	return leave_with(object, 1, size);
}

void *door_malloc(size_t size)
{
	struct recorder *recorder = thread_state.recorder;
	void *object;

	if (unlikely(recorder != NULL))
		return recorded_malloc(size, recorder);
	object = size <= LARGEST_CLASS_SIZE ? pop_of_other(class_of_size(size)) : NULL;
	return object != NULL ? object : door_malloc_uncounted(size);
}

/* From this size on, an object that has never been used is worth looking for instead of clearing one from the cache. */
#define ZEROED_OBJECT_SIZE ((size_t)32 << 10)

static void *calloc_small(size_t bytes)
{
	unsigned class = class_of_size(bytes);
	void *object = NULL;
	bool zeroed = false;

	if (bytes >= ZEROED_OBJECT_SIZE)
		object = frontend_allocate_zeroed(class, &zeroed);
	if (object == NULL)
		object = allocate_small(class);
	if (object != NULL && !zeroed)
		memset(object, 0, bytes);
	return object;
}

void *door_calloc(size_t count, size_t size)
{
	size_t bytes;
	void *object = NULL;

	if (__builtin_mul_overflow(count, size, &bytes))
		return out_of_memory();
	if (unlikely(thread_state.recorder != NULL))
		object = recorded_pop(bytes, thread_state.recorder);
	else if (bytes <= LARGEST_CLASS_SIZE)
		object = pop(class_of_size(bytes));
	if (object != NULL)
		return memset(object, 0, bytes);
	if (unlikely(!enter()))
		return refused(1, bytes);
	return leave_with(bytes <= LARGEST_CLASS_SIZE ? calloc_small(bytes) : calloc_large(bytes), 1, bytes);
}

void *door_aligned(size_t alignment, size_t size)
{
	unsigned class = class_for(alignment, size);
	void *object;

	if (class != 0 && thread_state.recorder == NULL && (object = pop_of_other(class)) != NULL)
		return object;
	if (unlikely(!enter()))
		return refused(alignment, size);
	return leave_with(class != 0 ? allocate_small(class) : allocate_large(size, alignment), alignment, size);
}

size_t door_size_for(size_t alignment, size_t size)
{
	unsigned class = class_for(alignment, size);

	return class != 0 ? size_classes[class].size : maximum(pages_for(size), size == 0) << PAGE_SHIFT;
}

/* Whether malloc or operator new give a block of the class for `size`. */
static inline bool may_have_class(size_t size, unsigned class)
{
	return size <= LARGEST_CLASS_SIZE && (class_of_size(size) == class || class_for(NEW_ALIGNMENT, size) == class);
}

static bool smaller_sizes_are_allowed;

void door_allow_smaller_sizes(void)
{
	store_relaxed(&smaller_sizes_are_allowed, true);
}

static bool is_left_larger(size_t usable, size_t size)
{
	return load_relaxed(&smaller_sizes_are_allowed) && size <= usable;
}

/* A block of the heap. `size`: of a sized free, or 0. */
static void free_ours(void *pointer, size_t size, const char *function)
{
	uintptr_t address = (uintptr_t)pointer;
	unsigned class = page_class(page_of(address));
	struct span *span;

	if (likely(class != 0)) {
		if (size != 0 && unlikely(!may_have_class(size, class)) &&
		    !size_is_plausible(size_classes[class].size, size) &&
		    !is_left_larger(size_classes[class].size, size))
			pointer_wrong_size(pointer, size, function);
		if (unlikely(thread_state.recorder != NULL))
			recording_freed(pointer);
		frontend_free(class, pointer, function);
		return;
	}
	span = large_span_of(address);
	if (span == NULL || span->start != address)
		pointer_wrong(pointer, function);
	if (size != 0 && pages_for(size) != span->pages && !is_left_larger(span_bytes(span), size))
		pointer_wrong_size(pointer, size, function);
	if (unlikely(thread_state.recorder != NULL))
		recording_freed(pointer);
	span_destroy(span);
}

static void free_any(void *pointer, size_t size, const char *function)
{
	if (pointer == NULL)
		return;
	if (unlikely(!in_window((uintptr_t)pointer))) {
		if (!reentrant_free(pointer))
			foreign_free(pointer, function);
		return;
	}
	/* Refused to a signal handler in here: the block is lost. */
	if (unlikely(!enter_to_free()))
		return;
	free_ours(pointer, size, function);
	leave();
}

void door_free_uncounted(void *pointer)
{
	free_any(pointer, 0, "free");
}

void door_free(void *pointer)
{
	struct recorder *recorder = thread_state.recorder;

	if (unlikely(recorder != NULL))
		recorded_free(pointer, recorder);
	else if (!free_by(push_to_other, pointer))
		free_any(pointer, 0, "free");
}

void door_free_as(void *pointer, const char *function)
{
	free_any(pointer, 0, function);
}

/* Whether the block's class is that of the size: then there is nothing to say about the size. */
static bool is_of_class(void *pointer, size_t size)
{
	return in_window((uintptr_t)pointer) && size - 1 < LARGEST_CLASS_SIZE &&
	       page_class(page_of((uintptr_t)pointer)) == class_of_size(size);
}

void door_free_sized(void *pointer, size_t size, const char *function)
{
	if (unlikely(thread_state.recorder != NULL) && is_of_class(pointer, size))
		recorded_free(pointer, thread_state.recorder);
	else
		free_any(pointer, size, function);
}

void door_free_aligned_sized(void *pointer, size_t alignment, size_t size)
{
	if (pointer != NULL && in_window((uintptr_t)pointer) && is_power_of_two(alignment) &&
	    door_usable_size(pointer, "free_aligned_sized") != door_size_for(alignment, size))
		pointer_wrong_size(pointer, size, "free_aligned_sized");
	free_any(pointer, 0, "free_aligned_sized");
}

size_t door_usable_size(void *pointer, const char *function)
{
	uintptr_t address = (uintptr_t)pointer;
	struct span *span;
	unsigned class;

	if (pointer == NULL)
		return 0;
	if (!in_window(address)) {
		size_t size = reentrant_size(pointer);

		return size != 0 ? size : foreign_usable_size(pointer, function);
	}
	class = page_class(page_of(address));
	if (class != 0) {
		pointer_check(pointer, class, function);
		return size_classes[class].size;
	}
	span = large_span_of(address);
	if (span == NULL || span->start != address)
		pointer_wrong(pointer, function);
	return span_bytes(span);
}

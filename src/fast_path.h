/*
 * The fast paths, as inline pieces: from a size to its class, from an address to its class, pop and push. Whatever they can't do
 * they leave to the door. tests/abi counts their instructions.
 *
 * Nothing here tests whether the library is initialised, the thread known, or anything switched on: in all those cases the thread's
 * cache is the closed one, in which every class is empty for pop and full for push.
 */
#ifndef TIERMALLOC_FAST_PATH_H
#define TIERMALLOC_FAST_PATH_H

#include "base/closed_cache.h"
#include "base/common.h"
#include "base/thread_state.h"
#include "pageheap/page_map.h"
#include "size_classes.h"

/* `size` is at most SMALL_SIZE. */
ALWAYS_INLINE unsigned small_class_of(size_t size)
{
	return small_class[(size + 7) >> 3];
}

/* `size` is at most LARGEST_CLASS_SIZE. */
ALWAYS_INLINE unsigned medium_class_of(size_t size)
{
	return medium_class[(size + ((size_t)1 << MEDIUM_SHIFT) - 1) >> MEDIUM_SHIFT];
}

/* `size` is at most LARGEST_CLASS_SIZE. */
static inline unsigned class_of_size(size_t size)
{
	return size <= SMALL_SIZE ? small_class_of(size) : medium_class_of(size);
}

/*
 * Makes the compiler forget where a value came from. It would otherwise spend an instruction on computing the address of a class's
 * stack once, where the addressing mode with an index is free.
 */
#define FORGET(value) __asm__("" : "+r"(value))

/* The newest object of the class in this thread's cache, or NULL. */
ALWAYS_INLINE void *pop(unsigned class)
{
	struct cache_stacks *stacks = (struct cache_stacks *)((uintptr_t)&closed_cache + thread_state.malloc_offset);
	void **top = stacks->top[class];
	void *object = top[-1];

	if (likely(object != NULL))
		stacks->top[class] = top - 1;
	return object;
}

/* Puts an object of the class on this thread's cache. False: full, or the object is the one that was put there last. */
ALWAYS_INLINE bool push_at(uintptr_t base, size_t class, void *object)
{
	struct cache_stacks *stacks = (struct cache_stacks *)(thread_state.free_offset + base);
	void **top;

	FORGET(stacks);
	top = stacks->top[class];
	FORGET(class);
	if (unlikely(top == stacks->limit[class]) || unlikely(top[-1] == object))
		return false;
	FORGET(class);
	*top = object;
	stacks->top[class] = top + 1;
	return true;
}

/* Frees a small object. False: not one, or push has refused. */
ALWAYS_INLINE bool free_fast(void *pointer)
{
	uintptr_t base = window.base;
	uintptr_t offset = (uintptr_t)pointer - base;

	if (unlikely(offset >= window.extent))
		return false;
	return push_at(base, *((uint8_t *)(base - CLASS_MAP_DISTANCE) + (offset >> PAGE_SHIFT)), pointer);
}

/*
 * Sizes below and at this (less one) may be freed by size alone, without a look at the page map; 0 while something forbids it:
 * before start-up is over, or if the program has replaced operator delete(void *).
 */
extern HIDDEN size_t sized_free_limit;

ALWAYS_INLINE bool free_sized_fast(void *pointer, size_t size)
{
	size_t last = size - 1;

	if (unlikely(last >= sized_free_limit) || unlikely(pointer == NULL))
		return false;
	/* As small_class_of(size), for a size that is not 0. */
	return push_at(window.base, small_class[(last >> 3) + 1], pointer);
}

#endif

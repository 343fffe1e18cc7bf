/*
 * The fast paths, as inline pieces: from a size to its class, from an address to its class, pop and push. Whatever
 * they can't do they leave to the door. tests/abi counts their instructions.
 *
 * Nothing here tests whether the library is initialised, the thread known, or anything switched on: in all those
 * cases the thread's cache is the closed one, in which every class is empty for pop and full for push.
 */
#ifndef TIERMALLOC_FAST_PATH_H
#define TIERMALLOC_FAST_PATH_H

#include "base/closed_cache.h"
#include "base/common.h"
#include "base/thread_state.h"
#include "frontend/frontend.h"
#include "frontend/section.h"
#include "pageheap/page_map.h"
#include "size_classes.h"

/* Keeps the compiler from folding the computation of a value into its uses, or joining it with another. */
#define SETTLE(value) __asm__("" : "+r"(value))

/* `size` is at most SMALL_SIZE. */
ALWAYS_INLINE size_t small_class_of(size_t size)
{
	size_t class = small_class[(size + 7) >> 3];

	/* clang shares the last part of this and of medium_class_of, and jumps there. */
	SETTLE(class);
	return class;
}

/* `size` is at most LARGEST_CLASS_SIZE. */
ALWAYS_INLINE size_t medium_class_of(size_t size)
{
	return medium_class[(size + ((size_t)1 << MEDIUM_SHIFT) - 1) >> MEDIUM_SHIFT];
}

/* `size` is at most LARGEST_CLASS_SIZE. */
static inline unsigned class_of_size(size_t size)
{
	/* Said to the compiler, too: where the small ones are all there is, an index for another is beyond medium_class. */
	bool small = SMALL_SIZE == LARGEST_CLASS_SIZE || size <= SMALL_SIZE;

	return (unsigned)(small ? small_class_of(size) : medium_class_of(size));
}

/*
 * What operator new aligns to above 8 bytes, also in a profile that aligns malloc to 8: compilers count on it, whatever the
 * size (clang 14 stores 16 bytes at once into an object of 136).
 */
#define NEW_ALIGNMENT ((size_t)16)

/* From the class that malloc would take for more than 8 bytes to the one for operator new; 0: it takes pages. */
ALWAYS_INLINE size_t new_class(size_t class)
{
	return REQUEST_ALIGNMENT < NEW_ALIGNMENT ? aligned_class[0][class] : class;
}

/* The class that serves `size` at `alignment`, a power of two; 0: it takes pages. */
static inline unsigned class_for(size_t alignment, size_t size)
{
	unsigned class;

	if (size > LARGEST_CLASS_SIZE)
		return 0;
	class = class_of_size(size);
	if (alignment <= 8)
		return class;
	return alignment <= PAGE_SIZE ? aligned_class[log2_floor(alignment) - 4][class] : 0;
}

/*
 * The word that holds a class's top in a cache; its limit lies LIMIT_DISTANCE further on.
 *
 * Both are reached through a register that holds the address, without an index: current processors forward a store
 * to the next load of the same address in no time then, and a pair of malloc and free is a chain of two such loads
 * (measured on the machine of docs/benchmarks.md: 0.4 ns a chain, with an index 3.7 ns).
 */
typedef void **stack_word;

/* Loads a value into the register that the function returns it in: gcc takes another one, and moves it. */
#ifdef __x86_64__
#define SETTLE_RESULT(value) __asm__("" : "+a"(value))
#else
#define SETTLE_RESULT(value) SETTLE(value)
#endif

/* The area that this thread's sections use on the fast paths. */
ALWAYS_INLINE struct rseq_area *fast_area(void)
{
	return (struct rseq_area *)((uintptr_t)&closed_rseq_area + thread_state.rseq_offset);
}

/* The newest object of the class in this thread's own cache, or NULL. */
ALWAYS_INLINE void *thread_pop(size_t class)
{
	stack_word *word = (stack_word *)((uintptr_t)&closed_cache + thread_state.malloc_offset) + class;
	void **top;
	void *object;

	SETTLE(word);
	top = *word;
	object = top[-1];
	SETTLE_RESULT(object);
	if (likely(object != NULL))
		*word = top - 1;
	return object;
}

/* The same on the slab of this thread's CPU. */
ALWAYS_INLINE void *cpu_pop(size_t class)
{
	return section_pop(fast_area(), &rseq_process.open_numbers, class);
}

/* From the frontend that the fast paths are built for. */
ALWAYS_INLINE void *pop(size_t class)
{
	return FRONTEND_BUILT == FRONTEND_CPU ? cpu_pop(class) : thread_pop(class);
}

/* For the door: from the other one, if it serves this thread. */
ALWAYS_INLINE void *pop_of_other(size_t class)
{
	if (FRONTEND_BUILT == FRONTEND_CPU)
		return thread_state.malloc_offset != 0 ? thread_pop(class) : NULL;
	return PER_CPU_IS_POSSIBLE && thread_state.rseq_offset != 0 ? cpu_pop(class) : NULL;
}

/*
 * An object from this thread's cache for what most programs ask for: small, aligned to 16 bytes or more, up to a page.
 * `alignment` is a power of two. NULL: a matter for the door.
 */
ALWAYS_INLINE void *pop_aligned(size_t alignment, size_t size)
{
	size_t row = (size_t)__builtin_ctzl(alignment) - 4;

	if (unlikely(row >= ALIGNED_CLASS_ROWS) || unlikely(size > SMALL_SIZE))
		return NULL;
	/* Class 0, where there is none, has no stack in any cache. */
	return pop(aligned_class[row][small_class_of(size)]);
}

/*
 * Puts an object on this thread's own cache, on the stack whose words are `offset` bytes into it. False: it is full, or
 * the object is the one that was put there last.
 */
ALWAYS_INLINE bool thread_push(uintptr_t offset, void *object)
{
	uintptr_t address = thread_state.free_cache + offset;
	void **top;

	SETTLE(address);
	top = *(stack_word *)address;
	if (unlikely(top == *(stack_word *)(address + LIMIT_DISTANCE)) || unlikely(top[-1] == object))
		return false;
	*top = object;
	*(stack_word *)address = top + 1;
	return true;
}

/* The same on the slab of this thread's CPU. */
ALWAYS_INLINE bool cpu_push(uintptr_t offset, void *object)
{
	return section_push(fast_area(), &rseq_process.open_numbers, offset, object) == SECTION_DONE;
}

/* To the frontend that the fast paths are built for. */
ALWAYS_INLINE bool push(uintptr_t offset, void *object)
{
	return FRONTEND_BUILT == FRONTEND_CPU ? cpu_push(offset, object) : thread_push(offset, object);
}

/* For the door: to the other one, if it serves this thread. */
ALWAYS_INLINE bool push_to_other(uintptr_t offset, void *object)
{
	if (FRONTEND_BUILT == FRONTEND_CPU)
		return thread_state.malloc_offset != 0 && thread_push(offset, object);
	return PER_CPU_IS_POSSIBLE && thread_state.rseq_offset != 0 && cpu_push(offset, object);
}

/* Frees a small object, by way of one of the above. False: not one, or it has been refused. */
ALWAYS_INLINE bool free_by(bool (*push_object)(uintptr_t offset, void *object), void *pointer)
{
	uintptr_t base = window.base;
	uintptr_t offset = (uintptr_t)pointer - base;

	if (unlikely(offset >= load_folded(&window.extent)))
		return false;
	return push_object(((uint16_t *)(base - CLASS_MAP_DISTANCE))[offset >> PAGE_SHIFT], pointer);
}

ALWAYS_INLINE bool free_fast(void *pointer)
{
	return free_by(push, pointer);
}

/*
 * The same, with the size that the block is said to have. False also if that is not of the block's class: realloc may
 * have left it in a larger one.
 */
ALWAYS_INLINE bool free_checked_fast(void *pointer, size_t size)
{
	uintptr_t base = window.base;
	uintptr_t offset = (uintptr_t)pointer - base;
	size_t last = size - 1;
	uintptr_t class_offset;

	if (unlikely(offset >= load_folded(&window.extent)) || unlikely(last >= SMALL_SIZE))
		return false;
	class_offset = ((uint16_t *)(base - CLASS_MAP_DISTANCE))[offset >> PAGE_SHIFT];
	/* As small_class_of(size), for a size that is not 0. */
	if (unlikely(class_offset != CLASS_OFFSET(small_class[(last >> 3) + 1])))
		return false;
	return push(class_offset, pointer);
}

/*
 * Sizes below and at this (less one) may be freed by size alone, without a look at the page map; 0 while something
 * forbids it: before start-up is over, or if the program has replaced operator delete(void *).
 */
extern HIDDEN size_t sized_free_limit;

ALWAYS_INLINE bool free_sized_fast(void *pointer, size_t size)
{
	size_t last = size - 1;
	size_t class;

	if (unlikely(last >= sized_free_limit) || unlikely(pointer == NULL))
		return false;
	/* As small_class_of(size), for a size that is not 0. */
	class = small_class[(last >> 3) + 1];
	if (last >= 8)
		class = new_class(class);
	return push(CLASS_OFFSET(class), pointer);
}

#endif

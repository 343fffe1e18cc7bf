/*
 * The metadata arena: where span descriptors, caches and their arrays live, far from user data and never inside
 * freed objects. Blocks are multiples of 64 bytes, aligned to 64, and can be given back and reused; address space
 * is mapped upward in steps and is not returned.
 *
 * Relies on base/os. Its own lock guards all of it; callers hold no other lock.
 */
#ifndef TIERMALLOC_BASE_ARENA_H
#define TIERMALLOC_BASE_ARENA_H

#include "base/common.h"

struct lock;

#define ARENA_UNIT ((size_t)64)

/* The address that references count from. Set once, before anything is allocated. */
extern HIDDEN uintptr_t arena_base;

/* Lets the arena grow from `base` upward to `base + bytes`. */
void arena_initialise(uintptr_t base, size_t bytes);

/* Returns zeroed memory, aligned to 64 bytes, or NULL if the system has none. */
void *arena_allocate(size_t bytes);

/* `bytes` as given to arena_allocate. */
void arena_free(void *block, size_t bytes);

/*
 * A block named in 32 bits: its distance from arena_base in units of 64 bytes. The first unit is never handed out:
 * 0 is "none".
 */
static inline uint32_t arena_reference(const void *block)
{
	return (uint32_t)(((uintptr_t)block - arena_base) / ARENA_UNIT);
}

static inline void *arena_block(uint32_t reference)
{
	return (void *)(arena_base + (uintptr_t)reference * ARENA_UNIT);
}

struct arena_statistics {
	size_t mapped; /* bytes of address space */
	size_t used;   /* bytes in blocks handed out */
	size_t free;   /* bytes in blocks given back, waiting for reuse */
};

/* Bytes of all blocks, handed out or given back: what can be resident. Without the lock. */
size_t arena_touched(void);

void arena_read_statistics(struct arena_statistics *statistics);

/* For fork, which takes every lock. */
struct lock *arena_lock(void);

#endif

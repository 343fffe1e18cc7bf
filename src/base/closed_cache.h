/*
 * The part of a cache that the fast paths see, and the one constant closed cache.
 *
 * Of each class the cache holds an array stack of object pointers. `top` points past the last one, and the slot
 * below the bottom holds NULL: malloc loads top[-1] and finds out with that one load whether there is anything.
 * `limit` is where the stack is full. In the closed cache every class is empty for malloc and full for free, so
 * whoever ends up there takes the door. Class 0, "no class", is closed in every cache.
 */
#ifndef TIERMALLOC_BASE_CLOSED_CACHE_H
#define TIERMALLOC_BASE_CLOSED_CACHE_H

#include "base/common.h"
#include "size_classes.h"

struct cache_stacks {
	void **top[CLASS_COUNT];
	void **limit[CLASS_COUNT];
};

/* From the word that holds a class's top to the one that holds its limit, in bytes. */
#define LIMIT_DISTANCE (offsetof(struct cache_stacks, limit) - offsetof(struct cache_stacks, top))

/* The empty and full stack that closed classes share: a NULL, and the top right above it. Never written to. */
extern HIDDEN void *const closed_slots[2];
#define CLOSED_TOP ((void **)&closed_slots[1])

extern HIDDEN const struct cache_stacks closed_cache;

#endif

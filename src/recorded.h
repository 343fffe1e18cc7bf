/*
 * malloc and free while recording is on: the door's first stop for threads that have a recorder. What they can't do is
 * left to the rest of the door, which counts it.
 *
 * A signal handler may interrupt them as it may interrupt the fast paths: if it frees what it allocates, nothing is lost
 * but a count.
 */
#ifndef TIERMALLOC_RECORDED_H
#define TIERMALLOC_RECORDED_H

#include "base/common.h"

struct recorder;

/* As door_malloc and door_free, in a thread that has this recorder. */
void *recorded_malloc(size_t size, struct recorder *recorder);
void recorded_free(void *pointer, struct recorder *recorder);

/* As recorded_malloc, for realloc, which counts the block itself. */
void *recorded_malloc_to_resize(size_t size);

/* An object from the thread's cache, counted; NULL if it has none. */
void *recorded_pop(size_t size, struct recorder *recorder);

#endif

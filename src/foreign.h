/*
 * Pointers that are not the heap's. In the shared object they go to the next allocator in the search order
 * (foreign_next.c): they were allocated before the preload took effect, or by another allocator. In a static build
 * nobody else can have made them (foreign_none.c).
 */
#ifndef TIERMALLOC_FOREIGN_H
#define TIERMALLOC_FOREIGN_H

#include <stddef.h>

/* Finds the next allocator's functions. At start-up: later it would change what dlerror says, or wait for a lock of the linker. */
void foreign_begin(void);

void foreign_free(void *pointer, const char *function);
void *foreign_realloc(void *pointer, size_t size);
size_t foreign_usable_size(void *pointer, const char *function);

#endif

/*
 * How public functions are named and exported: PUBLIC(malloc) is malloc, or tm_malloc in a build with that prefix.
 */
#ifndef TIERMALLOC_ABI_H
#define TIERMALLOC_ABI_H

#include <stddef.h>

#define ABI_JOIN_NOW(prefix, name) prefix##name
#define ABI_JOIN(prefix, name) ABI_JOIN_NOW(prefix, name)
#define PUBLIC(name) ABI_JOIN(TIERMALLOC_PREFIX, name)
#define EXPORT __attribute__((visibility("default")))

EXPORT void *PUBLIC(malloc)(size_t size);
EXPORT void PUBLIC(free)(void *pointer);
EXPORT void *PUBLIC(calloc)(size_t count, size_t size);
EXPORT void *PUBLIC(realloc)(void *pointer, size_t size);

#endif

/*
 * How public functions are named and exported: PUBLIC(malloc) is malloc, or tm_malloc in a build with that prefix.
 */
#ifndef TIERMALLOC_ABI_H
#define TIERMALLOC_ABI_H

#include <stddef.h>

#define ABI_JOIN_NOW(prefix, name) prefix##name
#define ABI_JOIN(prefix, name)     ABI_JOIN_NOW(prefix, name)
#define PUBLIC(name)               ABI_JOIN(TIERMALLOC_PREFIX, name)
#define EXPORT                     __attribute__((visibility("default")))

#define ABI_STRING_NOW(name) #name
#define ABI_STRING(name)     ABI_STRING_NOW(name)

/*
 * The library's own name for one of its public functions. In a process that has loaded the library late, the public
 * names may belong to another allocator.
 */
#define OWN(name) __attribute__((alias(ABI_STRING(PUBLIC(name))), visibility("hidden")))

EXPORT void *PUBLIC(malloc)(size_t size);
EXPORT void PUBLIC(free)(void *pointer);
EXPORT void *PUBLIC(calloc)(size_t count, size_t size);
EXPORT void *PUBLIC(realloc)(void *pointer, size_t size);

void *own_malloc(size_t size);
void own_free(void *pointer);
void *own_calloc(size_t count, size_t size);

#endif

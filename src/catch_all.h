/* A C++ catch (...) for C: what nothrow new needs around a new-handler that throws. */
#ifndef TIERMALLOC_CATCH_ALL_H
#define TIERMALLOC_CATCH_ALL_H

#include <stddef.h>

/* Returns what `function` returns, or NULL if it throws. The exception is gone then. */
void *catch_all(size_t size, size_t alignment, void *(*function)(size_t size, size_t alignment));

#endif

/* The families of the conformance program, one function each; conformance.c calls them in order. */
#ifndef TIERMALLOC_TESTS_ABI_CONFORMANCE_H
#define TIERMALLOC_TESTS_ABI_CONFORMANCE_H

#include <stddef.h>

void conformance_malloc(void);
void conformance_calloc(void);
void conformance_realloc(void);
void conformance_aligned(void);
void conformance_report(void);
void conformance_library(void);

/* Sizes that no allocator can serve: above PTRDIFF_MAX, at it, or more than the address space of a process. */
extern const size_t impossible_sizes[];
extern const size_t impossible_size_count;

/* One size for each way an allocator may serve a request: small, medium, large, mapped on its own. */
extern const size_t typical_sizes[];
extern const size_t typical_size_count;

/* A value of errno that no call sets. */
enum { UNTOUCHED_ERRNO = 4242 };

#endif

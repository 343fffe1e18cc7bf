/*
 * C++'s operators new and delete for a benchmark in C: those of the preloaded allocator or, where it has none, of the
 * C++ library. Relies on dlopen and on the names that the Itanium ABI gives them on 64-bit machines.
 */
#ifndef BENCH_OPERATORS_H
#define BENCH_OPERATORS_H

#include <stddef.h>

extern void *(*operator_new)(size_t size);
extern void (*operator_delete_sized)(void *object, size_t size);

/* To be called before they are. Ends the program with status 77, the one of skipped tests, where there are none. */
void load_operators(void);

#endif

/*
 * What the benchmark programs share: clocks, the process's resident memory, and the proof of which allocator is loaded.
 * Relies on Linux's /proc and on the C library's dladdr; allocates nothing, so that measuring does not disturb the
 * allocator being measured.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

/* Nanoseconds of real time. */
uint64_t wall_clock(void);

/* Nanoseconds of processor time, user and system, of all threads of the process: what other programs do in the meantime
 * is not counted, what an allocator does in a thread of its own is. */
uint64_t processor_clock(void);

/* Resident memory of the process in KiB, counted by the kernel page by page (the counters in statm may lag). */
uint64_t resident_kib(void);

/* Address space of the process in KiB. */
uint64_t address_space_kib(void);

/* Prints `allocator MAPPED LINKED`: the mapped file in which malloc's code lies, by /proc/self/maps, and the file that
 * the dynamic linker names for it. Ends the program with status 4 if malloc, free, calloc and realloc do not all come
 * from one file. */
void print_allocator(void);

/* Ends the program with status 1 and a message; what must not be NULL or zero is passed through it. */
_Noreturn void fail(const char *what);

#endif

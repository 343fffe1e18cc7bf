/*
 * Two threads that hand objects to each other through rings: what one allocates, the other frees. Relies on POSIX
 * threads and on two processors; the rings are static and take no part in the allocator's work.
 */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

enum exchange_mode {
    EXCHANGE_ONE_WAY,   /* this thread allocates, the other frees */
    EXCHANGE_BOTH_WAYS, /* both allocate, and free what the other sent */
};

/* Starts the second thread; each thread gets a processor of its own. Ends the program with status 77 if there is only
 * one processor. */
void exchange_start(size_t size, enum exchange_mode mode);

/* Exchanges some thousand objects; returns how many. An object counts once: a malloc here and a free there. */
uint64_t exchange_cycle(void);

#endif

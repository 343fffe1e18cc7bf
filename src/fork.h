/* fork: every lock of the library is taken before and given back after, in both processes. */
#ifndef TIERMALLOC_FORK_H
#define TIERMALLOC_FORK_H

/* From now on, fork leaves the heap in order. */
void fork_watch(void);

#endif

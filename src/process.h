/*
 * What happens once per process and once per thread: start-up, thread exit, fork, exit.
 */
#ifndef TIERMALLOC_PROCESS_H
#define TIERMALLOC_PROCESS_H

#include "base/common.h"

/*
 * Makes the heap if there is none yet. Can be called at any time, also before the library's constructors. False: no
 * memory.
 */
bool process_ready(void);

/* The same, and gives the thread its cache unless it is exiting. */
bool process_enter_thread(void);

/* For a thread that frees: it has a cache only after some frees, and central serves it until then. */
bool process_enter_thread_to_free(void);

#endif

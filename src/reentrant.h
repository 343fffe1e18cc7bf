/*
 * Allocation in a signal handler that interrupted the allocator's slow part.
 *
 * While a thread is behind the door its fast paths are closed, and calls that come in are served from here: each
 * block is a mapping of its own, remembered in a table without locks. POSIX promises nothing for such handlers;
 * what they get here is neither a deadlock nor a corrupted heap. (A handler that interrupts a fast path of the threads'
 * caches is another matter: nothing there can protect the few instructions.)
 *
 * Memory of the heap that is freed there can't be taken back, and is lost.
 *
 * The same serves a forked child whose heap is not in order, see fork.c.
 */
#ifndef TIERMALLOC_REENTRANT_H
#define TIERMALLOC_REENTRANT_H

#include "base/common.h"

/* Zeroed memory, or NULL (there can be 1024 blocks at a time). `alignment` is a power of two. */
void *reentrant_allocate(size_t alignment, size_t size);

/* Bytes of a block that was allocated here; 0 for any other pointer. */
size_t reentrant_size(const void *pointer);

/* Frees it. False: not one of these blocks. */
bool reentrant_free(void *pointer);

/*
 * Enters the allocator's slow part: closes the fast paths of this thread. False: it is in there already, and the
 * caller is a signal handler. door_leave opens them again.
 */
bool door_enter(void);
void door_leave(void);

/* From now on door_enter refuses everybody in this process. */
void door_close_for_good(void);

/* Whether it refuses this thread now. */
bool door_is_closed(void);

#endif

/* What the central tier's files know of the transfer caches. Internal to the tier. */
#ifndef TIERMALLOC_CENTRAL_TRANSFER_CACHE_H
#define TIERMALLOC_CENTRAL_TRANSFER_CACHE_H

#include "base/lock.h"

struct lock *transfer_lock(unsigned class);
size_t transfer_count(unsigned class);

#endif

/* The closed cache. */
#include "base/closed_cache.h"

void *const closed_slots[2] = {NULL, NULL};

const struct cache_stacks closed_cache = {
	.top = {[0 ... CLASS_COUNT - 1] = CLOSED_TOP},
	.limit = {[0 ... CLASS_COUNT - 1] = CLOSED_TOP},
};

/*
 * A limit on address space, far above what any build needs, at the sight of which the library unmaps whole hugepages instead of
 * releasing their memory.
 *
 * qemu's user mode lets a program set this limit, and forgets it. So it is remembered here as well: the library's getrlimit is
 * this file's. Include it in one file of a program.
 */
#ifndef TIERMALLOC_TESTS_UNIT_ADDRESS_LIMIT_H
#define TIERMALLOC_TESTS_UNIT_ADDRESS_LIMIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <sys/resource.h>

#include "base/os.h"

static rlim_t address_limit = RLIM_INFINITY;

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	int result = prlimit(0, resource, NULL, limit);

	if (result == 0 && resource == RLIMIT_AS && limit->rlim_cur > address_limit)
		limit->rlim_cur = address_limit;
	return result;
}

/* False if there is no setting the limit, or the library does not notice. */
static inline bool make_addresses_scarce(bool scarce)
{
	struct rlimit limit;

	address_limit = scarce ? (rlim_t)1 << 50 : RLIM_INFINITY;
	if (prlimit(0, RLIMIT_AS, NULL, &limit) != 0)
		return false;
	limit.rlim_cur = scarce ? address_limit : limit.rlim_max;
	return setrlimit(RLIMIT_AS, &limit) == 0 && os_addresses_are_scarce() == scarce;
}

#endif

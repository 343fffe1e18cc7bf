/*
 * A library to preload before the one under test: a kernel that has restartable sequences, but no concurrency ids in them (before
 * Linux 6.3). The slabs are then those of the CPUs' own numbers. Relies on the allocator asking getauxval.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/auxv.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

unsigned long getauxval(unsigned long type)
{
	unsigned long (*next)(unsigned long);

	if (type == AT_RSEQ_FEATURE_SIZE)
		return 0;
	*(void **)&next = dlsym(RTLD_NEXT, "getauxval");
	return next(type);
}

/*
 * The restartable sequences on slabs, written once per architecture.
 *
 * Each goes by these steps, whose names the model in tests/model has, too:
 *
 *     arm           the address of the section's descriptor into the area's rseq_cs
 *     load_number   the CPU's number from the area; from here on the kernel starts the section again at `arm` if the
 *                   thread is preempted, migrated or gets a signal; compared with how many there are
 *     load_slab     the table's entry
 *     load_top      and so on: reading, and writing only where nobody else looks
 *     commit        one store; with it everything is done
 *
 * `numbers` points to how many there are: rseq_process has two such words, one of which is 0 while the fast paths are closed.
 *
 * Nothing is kept from one section to the next but what the caller has been told, and rseq_cs is not cleared: the kernel
 * does that when it next looks. The library is never unmapped, so the descriptors are not either.
 */
#ifndef TIERMALLOC_FRONTEND_SECTION_H
#define TIERMALLOC_FRONTEND_SECTION_H

#include "base/closed_cache.h"
#include "base/common.h"
#include "base/rseq.h"

/* An entry is its CPU's slab, or the closed cache as dummy: empty for pop, full for push, never written. */
extern HIDDEN struct cache_stacks *slab_table[RSEQ_NUMBERS];

enum section_result {
	SECTION_DONE,
	SECTION_FULL,  /* no room, or no slab: the thread has no area, or its CPU's slab is not there now */
	SECTION_TWICE, /* the object is the one on top already */
};

/*
 * Both ways out of a section, the one through and those by a label, go on in code of their own, and the value that a label
 * stands for is made there: else gcc (12.2, and its bug 113921) joins them, and takes an output that has not been set for
 * that value.
 */
#define SECTION_LEFT __asm__ volatile("")
#define SECTION_VALUE(constant)                                                                                        \
	({                                                                                                             \
		__typeof__(constant) value = (constant);                                                               \
		__asm__ volatile("" : "+r"(value));                                                                    \
		if (value != (constant))                                                                               \
			__builtin_unreachable();                                                                       \
		value;                                                                                                 \
	})

#if defined(__x86_64__)
#include "frontend/section_x86_64.h"
#elif defined(__aarch64__)
#include "frontend/section_aarch64.h"
#else
#error "no restartable sequences for this architecture: build with -Dfrontend=thread"
#endif

#endif

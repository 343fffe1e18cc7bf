/*
 * The operating system as an account: what base/os.h promises, without memory behind it.
 *
 * Of the heap's part of the window nothing is mapped; the account knows of each page of the kernel (4 KiB) whether it
 * would be resident, counts calls, and adds up what they would cost. Metadata, which lie below the heap, are mapped for
 * real, because the page heap reads and writes them. The clock is set by the trace.
 */
#ifndef BENCH_SIMULATOR_ACCOUNT_H
#define BENCH_SIMULATOR_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/os.h"

/* Totals since the beginning. Bytes, unless the name says something else. */
struct account {
	uint64_t calls[OS_CALLS]; /* for the heap; OS_MAP includes mapping anew */
	uint64_t metadata_calls;
	uint64_t faults; /* one for each page of the kernel, or for each huge page */
	uint64_t faulted;
	uint64_t populated;
	uint64_t faulted_again; /* faulted or populated, after having been given back */
	uint64_t given_back;    /* resident, and then released, unmapped or mapped anew */
	uint64_t system_ns;     /* what all of it would cost */
	uint64_t own_ticks;     /* spent in the account itself (drivers/ticks.h) */

	/* At present. */
	size_t mapped;
	size_t resident;
	size_t used;
	size_t intact;         /* used bytes in hugepages of which nothing has been given back */
	size_t occupied;       /* hugepages in which something is used, as bytes */
	size_t huge;           /* bytes in huge pages */
	uint64_t milliseconds; /* the clock */
};

extern struct account account;

/* Whether the kernel gives huge pages at the first fault in an empty hugepage (transparent_hugepage/enabled: always). */
void account_set_huge(bool always);

/* The program has got (is about to give back) these bytes of the heap. */
void account_use(uintptr_t address, size_t bytes);
void account_unuse(uintptr_t address, size_t bytes);

/* The program writes to all of these bytes. */
void account_touch(uintptr_t address, size_t bytes);

/* Mappings that the kernel would list for the heap; looks at all of it. */
size_t account_mappings(void);

#endif

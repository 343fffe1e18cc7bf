/*
 * Every call to the operating system that concerns memory, time or randomness: the one place to look at for another
 * kernel, and the one place where tests make calls fail. All keep errno, all take and return bytes.
 */
#ifndef TIERMALLOC_BASE_OS_H
#define TIERMALLOC_BASE_OS_H

#include "base/common.h"

enum os_call {
	OS_MAP,
	OS_UNMAP,
	OS_RELEASE,
	OS_MOVE,
	OS_POPULATE,
	OS_ADVISE,
	OS_CALLS,
};

enum os_result {
	OS_DONE,
	OS_TAKEN,  /* the addresses are in use by somebody else */
	OS_FAILED, /* no memory, or not possible here */
};

/* Set by tests only: a call for which it returns true fails as if out of memory. NULL: never. */
extern HIDDEN bool (*os_fault)(enum os_call call);

/* Set by tests only: takes the place of the clock. NULL: the kernel's. */
extern HIDDEN uint64_t (*os_clock)(void);

/* Maps zeroed, writable private memory at exactly this address, without replacing anything. */
enum os_result os_map(uintptr_t address, size_t bytes);

/* Maps zeroed, writable private memory wherever the kernel likes. 0: no memory. */
uintptr_t os_map_anywhere(size_t bytes);

/* Maps anew over memory that is ours: it reads zero, is not backed, and joins its neighbours in the kernel's list. */
enum os_result os_map_over(uintptr_t address, size_t bytes);

/* Gives the addresses back. */
enum os_result os_unmap(uintptr_t address, size_t bytes);

/* Gives the memory back and keeps the addresses, which then read zero. */
enum os_result os_release(uintptr_t address, size_t bytes);

/*
 * Makes memory resident that is about to be written: cheaper than a fault for each page of the kernel. What cannot be
 * had (before Linux 5.14, say) comes with the faults.
 */
void os_populate(uintptr_t address, size_t bytes);

/* Sleeps for so long, or until a signal comes; at most a second. No cancellation point. errno is kept. */
void os_sleep(uint32_t nanoseconds);

/* What the kernel does about transparent huge pages (/sys/kernel/mm/transparent_hugepage/enabled). */
enum os_huge_pages {
	OS_HUGE_NEVER, /* also where its huge pages do not have 2 MiB, and where it can't be asked */
	OS_HUGE_ADVISED,
	OS_HUGE_ALWAYS,
};

/* Reads two files: to be asked once. */
enum os_huge_pages os_huge_pages(void);

/*
 * From the next touch on, and when the kernel joins pages by itself: huge pages here if it can, or none. What is
 * resident stays as it is. Neighbours that are advised differently are different mappings.
 */
enum os_result os_advise_huge(uintptr_t address, size_t bytes, bool huge);

/* How much of at most 2 MiB is resident. 0 where that can't be asked. */
size_t os_resident(uintptr_t address, size_t bytes);

/*
 * Moves the pages at `from` to `to`, replacing what is mapped there. Afterwards `from` is mapped and reads zero
 * (OS_DONE), or has been lost to another mapping of the process (OS_TAKEN: moved all the same). OS_FAILED: nothing
 * moved.
 */
enum os_result os_move(uintptr_t from, uintptr_t to, size_t bytes);

/*
 * Whether it is done as Linux does it. qemu's user mode (7.2) takes the old addresses for unmapped though they are left:
 * memory there would not be given back any more, and not read zero. Tried until it is known; os_move does nothing where it
 * is not, or not so.
 */
bool os_can_move(void);

/* Bytes per page of the kernel. */
size_t os_page_size(void);

/* Whether address space that is mapped but not used counts: RLIMIT_AS, RLIMIT_DATA, or overcommit forbidden. */
bool os_addresses_are_scarce(void);

/* 64 random bits: unpredictable where the kernel has getrandom or AT_RANDOM. */
uint64_t os_random(void);

/* Milliseconds of a clock that only goes forward; coarse (some 4 ms), a few ns to ask. */
uint64_t os_milliseconds(void);

/* Nanoseconds of processor time that this thread has had; a call to the system. 0: not known. */
uint64_t os_thread_nanoseconds(void);

#endif

/*
 * The one kind of lock: a futex word that holds its owner's thread id.
 *
 * The owner's name is what makes fork safe: a thread that forks takes every lock of the process (see process.c),
 * may find one of them its own (fork called in a signal handler that interrupted the allocator), and may allocate
 * while it holds them all (other libraries' fork handlers).
 *
 * Rule: no path holds two locks at a time, except fork, and the page heap while it maps hugepages (mapping.c).
 */
#ifndef TIERMALLOC_BASE_LOCK_H
#define TIERMALLOC_BASE_LOCK_H

#include "base/common.h"
#include "base/thread_state.h"

#define LOCK_WAITERS UINT32_C(0x80000000)

/* The owner forks in a signal handler that interrupted it while it had this lock, and can't give it back. */
#define LOCK_FROZEN UINT32_C(0x40000000)

#define LOCK_OWNER (~(LOCK_WAITERS | LOCK_FROZEN))

struct lock {
	uint32_t word;   /* owner's thread id, with LOCK_WAITERS if somebody sleeps on it; 0 when free */
	uint32_t nested; /* further acquisitions by the owner, possible during fork only (thread_state.forking) */
};

void lock_acquire_slow(struct lock *lock);
void lock_wake(struct lock *lock);

/* Takes the lock; sleeps while another thread has it. errno is kept. */
static inline void lock_acquire(struct lock *lock)
{
	uint32_t expected = 0;
	uint32_t self = thread_state.id;

	if (unlikely(self == 0) || unlikely(!__atomic_compare_exchange_n(&lock->word, &expected, self, false,
									 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
		lock_acquire_slow(lock);
}

static inline void lock_release(struct lock *lock)
{
	if (unlikely(lock->nested != 0)) {
		lock->nested--;
		return;
	}
	if (unlikely(__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) & LOCK_WAITERS))
		lock_wake(lock);
}

enum lock_for_fork {
	LOCK_TAKEN,     /* now ours */
	LOCK_OURS,      /* has been ours before */
	LOCK_OF_FORKER, /* of another thread that forks and can't give it back */
	LOCK_NOT_TAKEN, /* not within about a millisecond */
};

/* Takes the lock for fork, if that is possible soon. */
enum lock_for_fork lock_try_for_fork(struct lock *lock);

/* Marks a lock that has been ours before as frozen; ends that. */
void lock_freeze(struct lock *lock);
void lock_thaw(struct lock *lock);

/*
 * From fork's beginning to its end this thread may take locks that it already has: its handlers may allocate. Calls
 * may nest.
 */
static inline void lock_allow_nesting(bool allowed)
{
	thread_state.forking = (uint8_t)(thread_state.forking + (allowed ? 1 : -1));
}

/* In a forked child: a lock that this thread had before the fork goes on under its new id. */
void lock_adopt_in_child(struct lock *lock);

#endif

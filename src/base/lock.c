/* The futex side of the lock: spinning, sleeping, waking, and what fork needs. */
#define _GNU_SOURCE
#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/closed_cache.h"
#include "base/message.h"

/* Critical sections are short (a batch of objects); spinning about one of them long saves most sleeps on two cores. */
#define SPIN_ROUNDS  100
#define FORK_WAIT_NS 1000000

__thread struct thread_state thread_state
	__attribute__((tls_model("initial-exec"))) = {.free_cache = (uintptr_t)&closed_cache};

void close_fast_paths(struct thread_state *state)
{
	store_relaxed(&state->malloc_offset, 0);
	store_relaxed(&state->free_cache, (uintptr_t)&closed_cache);
	store_relaxed(&state->rseq_offset, 0);
}

uint32_t thread_id(void)
{
	if (thread_state.id == 0)
		thread_state.id = (uint32_t)syscall(SYS_gettid);
	return thread_state.id;
}

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static void futex_wait(struct lock *lock, uint32_t seen, const struct timespec *limit)
{
	int saved = errno;

	syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, seen, limit, NULL, 0);
	errno = saved;
}

void lock_wake(struct lock *lock)
{
	int saved = errno;

	syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}

static bool take_if_free(struct lock *lock, uint32_t as)
{
	uint32_t expected = 0;

	return __atomic_compare_exchange_n(&lock->word, &expected, as, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool spin_for(struct lock *lock, uint32_t self)
{
	for (int round = 0; round < SPIN_ROUNDS; round++) {
		if (load_relaxed(&lock->word) == 0 && take_if_free(lock, self))
			return true;
		spin_pause();
	}
	return false;
}

/* Sleeps once on a lock that another thread has, after marking it as waited for. */
static void sleep_once(struct lock *lock, const struct timespec *limit)
{
	uint32_t seen = load_relaxed(&lock->word);

	if (seen == 0)
		return;
	if (!(seen & LOCK_WAITERS) && !__atomic_compare_exchange_n(&lock->word, &seen, seen | LOCK_WAITERS, false,
								   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	futex_wait(lock, seen | LOCK_WAITERS, limit);
}

static bool owned_by(const struct lock *lock, uint32_t self)
{
	return (load_relaxed(&lock->word) & LOCK_OWNER) == self;
}

COLD void lock_acquire_slow(struct lock *lock)
{
	uint32_t self = thread_id();

	if (take_if_free(lock, self))
		return;
	if (owned_by(lock, self)) {
		if (!thread_state.forking)
			message_abort("allocation in a signal handler that interrupted the allocator");
		lock->nested++;
		return;
	}
	if (spin_for(lock, self))
		return;
	do {
		sleep_once(lock, NULL);
		/* Others may still sleep: whoever has slept keeps the mark, at the price of one needless wake. */
	} while (!take_if_free(lock, self | LOCK_WAITERS));
}

/*
 * For one that has slept and gives up: the wake that ended its sleep was perhaps the only one, and others still sleep.
 * Whoever has the lock is to wake one of them, or it is done here.
 */
static void pass_wake_on(struct lock *lock)
{
	uint32_t seen = load_relaxed(&lock->word);

	while (seen != 0) {
		if ((seen & LOCK_WAITERS) || __atomic_compare_exchange_n(&lock->word, &seen, seen | LOCK_WAITERS, false,
									 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return;
	}
	lock_wake(lock);
}

enum lock_for_fork lock_try_for_fork(struct lock *lock)
{
	const struct timespec limit = {.tv_nsec = FORK_WAIT_NS};
	uint32_t self = thread_id();

	if (owned_by(lock, self))
		return LOCK_OURS;
	if (take_if_free(lock, self) || spin_for(lock, self))
		return LOCK_TAKEN;
	sleep_once(lock, &limit);
	if (take_if_free(lock, self | LOCK_WAITERS))
		return LOCK_TAKEN;
	pass_wake_on(lock);
	return load_relaxed(&lock->word) & LOCK_FROZEN ? LOCK_OF_FORKER : LOCK_NOT_TAKEN;
}

void lock_freeze(struct lock *lock)
{
	__atomic_fetch_or(&lock->word, LOCK_FROZEN, __ATOMIC_RELAXED);
}

void lock_thaw(struct lock *lock)
{
	__atomic_fetch_and(&lock->word, ~LOCK_FROZEN, __ATOMIC_RELAXED);
}

void lock_adopt_in_child(struct lock *lock)
{
	/* What was frozen stays so until the fork is over. */
	store_relaxed(&lock->word, thread_id() | (load_relaxed(&lock->word) & LOCK_FROZEN));
}

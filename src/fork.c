/*
 * fork in a threaded process: the child has one thread, and no lock may stay behind in the hands of one that is gone.
 *
 * - libc's stdio list lock is taken first, because libc's fork takes it after these handlers: a thread that holds it may be waiting
 *   for memory.
 * - All locks are taken, without waiting for any of them while holding others: whoever does not get one soon gives all back and starts
 *   again. So two threads that fork at once, or one whose signal handler forks while it has a lock, do not block each other.
 * - A lock that this thread has already (its signal handler interrupted the allocator) stays taken, for both processes.
 * - Until fork is over, this thread may allocate: other libraries' handlers do.
 */
#include "fork.h"

#include <pthread.h>
#include <sched.h>

#include "base/arena.h"
#include "base/lock.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "pageheap/pageheap.h"

/* libc's; missing in others. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

#define FRONTEND_LOCK 0
#define LOCKS (2 * CLASS_COUNT + 3)

/* Written by the thread that holds all locks. */
static struct {
	unsigned depth; /* forks of this thread that are under way: a signal handler may fork during fork */
	bool was_ours[LOCKS];
} forking;

/* All locks of the library in order of the tiers. NULL after the last. */
static struct lock *lock_number(size_t number)
{
	switch (number) {
	case FRONTEND_LOCK:
		return frontend_lock();
	case 1:
		return pageheap_lock();
	case 2:
		return arena_lock();
	default:
		return central_lock(number - 3);
	}
}

static void release_below(size_t end, const bool *was_ours)
{
	while (end-- > 0) {
		if (!was_ours[end])
			lock_release(lock_number(end));
	}
}

static bool try_all(bool *was_ours)
{
	struct lock *lock;

	for (size_t number = 0; (lock = lock_number(number)) != NULL; number++) {
		if (!lock_try_for_fork(lock, &was_ours[number])) {
			release_below(number, was_ours);
			return false;
		}
	}
	return true;
}

static size_t lock_count(void)
{
	size_t count = 0;

	while (lock_number(count) != NULL)
		count++;
	return count;
}

static void stdio(void (*call)(void))
{
	if (call != NULL)
		call();
}

static void prepare(void)
{
	bool was_ours[LOCKS];

	stdio(_IO_list_lock);
	while (!try_all(was_ours)) {
		stdio(_IO_list_unlock);
		sched_yield();
		stdio(_IO_list_lock);
	}
	if (forking.depth++ == 0)
		__builtin_memcpy(forking.was_ours, was_ours, sizeof(was_ours));
	lock_allow_nesting(true);
}

/* The innermost fork of this thread is over; the outermost one gives the locks back. */
static void finish(void)
{
	bool was_ours[LOCKS];

	if (--forking.depth != 0)
		return;
	lock_allow_nesting(false);
	__builtin_memcpy(was_ours, forking.was_ours, sizeof(was_ours));
	release_below(lock_count(), was_ours);
}

static void after_in_parent(void)
{
	finish();
	stdio(_IO_list_unlock);
}

static void after_in_child(void)
{
	struct lock *lock;

	thread_state.id = 0;
	for (size_t number = 0; (lock = lock_number(number)) != NULL; number++)
		lock_adopt_in_child(lock);
	lock_allow_nesting(true);
	/* Not if a signal handler has forked in the middle of a change of the registry. */
	if (!forking.was_ours[FRONTEND_LOCK])
		frontend_forget_other_threads();
	stdio(_IO_list_resetlock);
	finish();
}

void fork_watch(void)
{
	pthread_atfork(prepare, after_in_parent, after_in_child);
}

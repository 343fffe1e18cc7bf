/*
 * fork in a threaded process: the child has one thread, and no lock may stay behind in the hands of one that is
 * gone.
 *
 * - libc's stdio list lock is taken first, because libc's fork takes it after these handlers: a thread that holds
 *   it may be waiting for memory.
 * - All locks are taken, in the same order by everybody, and without waiting long for any of them while holding
 *   others: whoever does not get one soon gives all back and starts again.
 * - A lock that this thread has already (its signal handler interrupted the allocator) stays taken, for both
 *   processes. Such a lock can't be given back to another thread that forks as well: that one goes on without it.
 *   Its child then never touches what the lock guards, nor anything else of the heap (door_close_for_good): what is
 *   allocated there is mapped. That takes two threads at a time whose handlers fork in the middle of the allocator.
 * - Until fork is over, this thread may allocate: other libraries' handlers do.
 */
#include "fork.h"

#include <pthread.h>
#include <sched.h>

#include "background.h"
#include "base/arena.h"
#include "base/lock.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "observe/page_trace.h"
#include "observe/recording.h"
#include "pageheap/pageheap.h"
#include "reentrant.h"

/* libc's; missing in others. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

#define FRONTEND_LOCK 0
#define PAGEHEAP_LOCK 2
#define LOCKS         (2 * CLASS_COUNT + 5)

/* How each lock was had, by number. */
struct holdings {
	enum lock_for_fork lock[LOCKS];
};

/* Written by the thread that holds all locks. */
static struct {
	unsigned depth; /* forks of this thread that are under way: a signal handler may fork during fork */
	struct holdings holdings;
} forking;

/* All locks of the library in order of the tiers. NULL after the last. */
static struct lock *lock_number(size_t number)
{
	switch (number) {
	case FRONTEND_LOCK:
		return frontend_lock();
	case 1:
		return pageheap_mapping_lock();
	case PAGEHEAP_LOCK:
		return pageheap_lock();
	case 3:
		return arena_lock();
	case 4:
		return recording_lock();
	default:
		return central_lock(number - 5);
	}
}

static void release_below(size_t end, const struct holdings *holdings)
{
	while (end-- > 0) {
		if (holdings->lock[end] == LOCK_TAKEN)
			lock_release(lock_number(end));
	}
}

static bool try_all(struct holdings *holdings)
{
	struct lock *lock;

	for (size_t number = 0; (lock = lock_number(number)) != NULL; number++) {
		holdings->lock[number] = lock_try_for_fork(lock);
		if (holdings->lock[number] == LOCK_OURS)
			lock_freeze(lock);
		if (holdings->lock[number] == LOCK_NOT_TAKEN) {
			release_below(number, holdings);
			return false;
		}
	}
	return true;
}

static void stdio(void (*call)(void))
{
	if (call != NULL)
		call();
}

static void prepare(void)
{
	struct holdings holdings;

	background_before_fork();
	/* So that the child knows whether its parent is a thread that has called vfork, or a child of it. */
	if (thread_state.phase == THREAD_VFORKED)
		frontend_open_thread();
	lock_allow_nesting(true);
	stdio(_IO_list_lock);
	while (!try_all(&holdings)) {
		stdio(_IO_list_unlock);
		sched_yield();
		stdio(_IO_list_lock);
	}
	if (forking.depth++ == 0)
		forking.holdings = holdings;
}

/* The innermost fork of this thread is over; the outermost one gives the locks back. */
static void finish(void)
{
	struct holdings holdings = forking.holdings;
	size_t count = 0;

	lock_allow_nesting(false);
	if (--forking.depth != 0)
		return;
	for (struct lock *lock; (lock = lock_number(count)) != NULL; count++) {
		if (holdings.lock[count] == LOCK_OURS)
			lock_thaw(lock);
	}
	release_below(count, &holdings);
}

static void after_in_parent(void)
{
	finish();
	stdio(_IO_list_unlock);
	background_after_fork();
}

static void after_in_child(void)
{
	struct lock *lock;

	thread_state.id = 0;
	frontend_adopt_slabs();
	for (size_t number = 0; (lock = lock_number(number)) != NULL; number++) {
		if (forking.holdings.lock[number] == LOCK_OF_FORKER)
			door_close_for_good();
		else
			lock_adopt_in_child(lock);
	}
	/* Not in the middle of a change of the registry, nor of one of the page heap, which that may give spans back to. */
	if (forking.holdings.lock[PAGEHEAP_LOCK] == LOCK_TAKEN)
		central_adopt_in_child();
	if (forking.holdings.lock[FRONTEND_LOCK] == LOCK_TAKEN)
		frontend_forget_other_threads();
	if (forking.holdings.lock[PAGEHEAP_LOCK] == LOCK_TAKEN)
		pageheap_adopt_in_child();
	background_forget_in_child();
	recording_begin_anew_in_child();
	page_trace_begin_anew_in_child(forking.holdings.lock[PAGEHEAP_LOCK] == LOCK_TAKEN);
	stdio(_IO_list_resetlock);
	finish();
}

void fork_watch(void)
{
	pthread_atfork(prepare, after_in_parent, after_in_child);
}

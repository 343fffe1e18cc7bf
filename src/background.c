/*
 * Starting, stopping and running the background thread.
 *
 * Made by pthread_create, so that the C library knows it: setuid and its like have to reach every thread. That function
 * allocates, so it is only called where this thread is not behind the door. It is referred to weakly: the library must not
 * bring threads into static programs that have none.
 *
 * `state` says who may start or stop it; changed by compare-and-swap, no lock is held while the C library is called.
 */
#define _GNU_SOURCE
#include "background.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/file.h"
#include "base/message.h"
#include "base/os.h"
#include "base/thread_state.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "pageheap/pageheap.h"
#include "reentrant.h"

extern __typeof__(pthread_create) pthread_create __attribute__((weak));

/* While there is something to do it wakes this often, which costs an idle program some 0.01 % of a processor. */
#define PERIOD_MS 250

/* After so many periods in which no thread has come by, the caches that belong to nobody are emptied. */
#define QUIET_PERIODS 4

/* The C library puts the thread's block in there, too; with a large one it takes the default. */
#define STACK_BYTES ((size_t)128 << 10)

#define RETRY_MS 1000

/* How often the kernel is asked whether the thread, which has said that it ends, is off its list. */
#define GONE_TRIES 100000

enum {
	STOPPED,
	STARTING,
	RUNNING,
	STOPPING,
};

static struct {
	uint32_t state;
	bool wanted;     /* atomic, as all of these */
	bool for_good;   /* ended, never to start again */
	bool resume;     /* stopped for a fork */
	pid_t process;   /* whose thread it is: not that of a child that shares this memory (vfork) */
	uint32_t thread; /* its id, once it runs */
	uint64_t retry_at;
	struct bell stop; /* rung: it is to end */
	struct bell done; /* rung: it has come to its end */
} background;

/* Behind the door: a signal handler that interrupts this may allocate. */
static void tell_page_heap(bool wanted, bool runs)
{
	bool entered = door_enter();

	pageheap_set_background(wanted, runs);
	if (entered)
		door_leave();
}

static bool change_state(uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&background.state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void set_state(uint32_t state)
{
	__atomic_store_n(&background.state, state, __ATOMIC_RELEASE);
}

static void look_after_heap(bool idle)
{
	if (!door_enter())
		return;
	frontend_tick_idle();
	if (idle) {
		frontend_flush();
		transfer_flush();
		central_give_back_empty(true);
	}
	door_leave();
}

static void *work(void *unused)
{
	unsigned quiet = 0;

	prctl(PR_SET_NAME, "tiermalloc");
	store_relaxed(&background.thread, thread_id());
	while (!bell_was_rung(&background.stop)) {
		/* From here on rings are heard; what this thread does itself, has rung before. */
		bell_listen(&background_bell);
		if (quiet <= QUIET_PERIODS || pageheap_waits() || central_waits())
			bell_sleep(&background.stop, PERIOD_MS);
		else if (!bell_was_rung(&background.stop))
			bell_sleep(&background_bell, 0);
		quiet = bell_was_rung(&background_bell) ? 0 : quiet + 1;
		look_after_heap(quiet == QUIET_PERIODS);
	}
	bell_ring(&background.done);
	return unused;
}

/* With all signals blocked: the program's handlers are for its own threads. */
static int create(const pthread_attr_t *attributes)
{
	sigset_t all;
	sigset_t before;
	pthread_t thread;
	int error;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, attributes, work, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return error;
}

static int create_with_small_stack(void)
{
	pthread_attr_t attributes;
	int error;

	if (pthread_create == NULL)
		return ENOSYS;
	if (pthread_attr_init(&attributes) != 0)
		return EAGAIN;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	error = create(&attributes);
	if (error == EINVAL) {
		pthread_attr_init(&attributes);
		pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		error = create(&attributes);
	}
	pthread_attr_destroy(&attributes);
	return error == 0 ? 0 : EAGAIN;
}

static bool may_run(void)
{
	return load_relaxed(&background.wanted) && !load_relaxed(&background.for_good) &&
	       load_relaxed(&background.process) == (pid_t)syscall(SYS_getpid);
}

/* Until the kernel does not know it any more, or the program could not unshare its namespaces. */
static void wait_until_gone(void)
{
	uint32_t thread;

	while (!bell_was_rung(&background.done))
		bell_sleep(&background.done, 0);
	thread = load_relaxed(&background.thread);
	for (int tries = 0; tries < GONE_TRIES; tries++) {
		if (syscall(SYS_tgkill, background.process, thread, 0) != 0)
			return;
		sched_yield();
	}
}

static void tell_to_end(void)
{
	bell_ring(&background.stop);
	bell_ring(&background_bell);
}

/* False: it does not run, or somebody else is about it. */
static bool stop(void)
{
	if (!change_state(RUNNING, STOPPING))
		return false;
	tell_to_end();
	wait_until_gone();
	tell_page_heap(load_relaxed(&background.wanted), false);
	set_state(STOPPED);
	return true;
}

static int start(void)
{
	int error;

	if (!may_run() || !change_state(STOPPED, STARTING))
		return 0;
	bell_listen(&background.stop);
	bell_listen(&background.done);
	error = create_with_small_stack();
	store_relaxed(&background.retry_at, os_milliseconds() + RETRY_MS);
	tell_page_heap(true, error == 0);
	set_state(error == 0 ? RUNNING : STOPPED);
	/* Whoever has switched it off meanwhile, or ended it, has found it starting. */
	if (!may_run())
		stop();
	return error;
}

void background_begin(bool wanted)
{
	store_relaxed(&background.process, getpid());
	if (!wanted)
		return;
	if (pthread_create == NULL) {
		static const char text[] =
			"tiermalloc: TIERMALLOC_CONF: \"background\" needs a program that has pthread_create\n";

		file_write(STDERR_FILENO, text, sizeof(text) - 1);
		return;
	}
	store_relaxed(&background.wanted, true);
	tell_page_heap(true, false);
}

int background_set(bool wanted)
{
	int saved = errno;
	int error = 0;

	store_relaxed(&background.wanted, wanted);
	if (wanted) {
		error = start();
		if (error == ENOSYS)
			store_relaxed(&background.wanted, false);
	} else if (!stop()) {
		tell_page_heap(false, false);
	}
	errno = saved;
	return error;
}

COLD void background_start_wanted(void)
{
	int saved = errno;

	__atomic_fetch_and(&pageheap_asks, ~(uint32_t)PAGEHEAP_ASKS_BACKGROUND, __ATOMIC_RELAXED);
	if (os_milliseconds() >= load_relaxed(&background.retry_at))
		start();
	errno = saved;
}

void background_thread_ends(void)
{
	if (thread_id() != (uint32_t)load_relaxed(&background.process))
		return;
	store_relaxed(&background.for_good, true);
	tell_to_end();
}

void background_end(void)
{
	store_relaxed(&background.for_good, true);
	tell_to_end();
}

void background_before_fork(void)
{
	int saved = errno;

	/* In a signal handler that has interrupted the allocator this thread may hold what ours waits for: it stays. */
	if (!door_is_closed() && stop())
		store_relaxed(&background.resume, true);
	errno = saved;
}

void background_after_fork(void)
{
	int saved = errno;

	/* As above: whoever has stopped it comes here, too. */
	if (!door_is_closed() && __atomic_exchange_n(&background.resume, false, __ATOMIC_RELAXED))
		start();
	errno = saved;
}

void background_forget_in_child(void)
{
	store_relaxed(&background.process, getpid());
	store_relaxed(&background.for_good, false);
	store_relaxed(&background.resume, false);
	store_relaxed(&background.retry_at, 0);
	background_bell.state = BELL_QUIET;
	set_state(STOPPED);
	pageheap_forget_background();
}

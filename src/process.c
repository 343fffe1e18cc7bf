/*
 * Start-up, thread exit and exit. Fork is in fork.c.
 *
 * The heap is made by the first allocation, which may come before any constructor has run; options are read by
 * ours, when the environment is there.
 */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "background.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/os.h"
#include "fast_path.h"
#include "foreign.h"
#include "fork.h"
#include "frontend/frontend.h"
#include "observe/output_path.h"
#include "observe/page_trace.h"
#include "observe/recording.h"
#include "observe/statistics.h"
#include "operators.h"
#include "pageheap/page_map.h"
#include "pageheap/pageheap.h"
#include "reentrant.h"

static struct {
	struct lock lock;
	bool ready;
	pthread_key_t exit_key;
	bool exit_key_made;
} process;

/* Of a thread: its other destructors may run later, and allocate; central serves them. */
static void on_thread_exit(void *unused)
{
	(void)unused;
	background_thread_ends();
	if (!door_enter())
		return;
	frontend_close_thread();
	recording_leave_thread();
	door_leave();
}

static bool make_ready(void)
{
	bool ready;

	lock_acquire(&process.lock);
	if (!process.ready && page_map_initialise())
		__atomic_store_n(&process.ready, true, __ATOMIC_RELEASE);
	ready = process.ready;
	lock_release(&process.lock);
	return ready;
}

bool process_ready(void)
{
	return likely(__atomic_load_n(&process.ready, __ATOMIC_ACQUIRE)) || make_ready();
}

/*
 * The value is set after the thread has its cache, as setting it may allocate. Not before start-up, when the C
 * library may not be ready for it.
 */
static void watch_thread_exit(void)
{
	if (process.exit_key_made)
		pthread_setspecific(process.exit_key, &process);
}

bool process_enter_thread(void)
{
	bool ready;

	if (!door_enter())
		return false;
	ready = process_ready();
	if (ready)
		frontend_open_thread();
	door_leave();
	if (thread_state.phase == THREAD_OPEN)
		watch_thread_exit();
	return ready;
}

/*
 * A thread that only frees gets a cache with its EARLY_FREES-th. The C library frees the last of a detached thread's memory
 * after the thread's destructors have run, and nobody would take a cache away that was opened for that. Who frees before its
 * end is watched from the first free on, and closed then.
 */
#define EARLY_FREES 16

bool process_enter_thread_to_free(void)
{
	if (thread_state.phase != THREAD_NEW || thread_state.early_frees == EARLY_FREES)
		return process_enter_thread();
	if (thread_state.early_frees++ == 0)
		watch_thread_exit();
	return process_ready();
}

static void apply_options(void)
{
	const struct frontend_limits limits = {options.thread_cache_size, options.min_per_thread_cache};

	pageheap_set_retain(options.retain);
	pageheap_set_decay((uint32_t)options.decay_ms);
	pageheap_set_peak((uint32_t)options.peak_ms);
	pageheap_set_trend((uint32_t)options.trend_ms);
	pageheap_set_release_rate(options.release_rate);
	pageheap_set_soft_limit(options.soft_limit);
	pageheap_set_hard_limit(options.hard_limit);
	pageheap_set_huge_pages((enum huge_page_policy)options.thp, os_huge_pages());
	frontend_set_limits(&limits);
	if (door_enter()) {
		frontend_begin((enum frontend_kind)options.frontend, options.cpu_cache_size);
		door_leave();
	}
}

/* What options have switched on is written when the process ends; what the program has, it writes itself. */
static void write_recording(void)
{
	if (options.record[0] != '\0' && recording_is_on())
		recording_write_at_end();
}

static void start_recording(void)
{
	int error;

	if (options.record[0] == '\0')
		return;
	recording_set_period(options.record_period * 1000);
	if (options.record_signal != 0)
		error = recording_set_signal((int)options.record_signal, options.record);
	else
		error = recording_start(options.record);
	if (error == EBUSY)
		recording_complain("is not started: the program handles the signal itself", 0);
	else if (error != 0)
		recording_complain("cannot be started", error);
	/* For programs that end without running destructors. */
	at_quick_exit(write_recording);
}

static void start_tracing(void)
{
	int error;

	if (options.trace_pages[0] == '\0')
		return;
	error = page_trace_start(options.trace_pages);
	if (error != 0)
		path_complain("tracing into ", options.trace_pages, "cannot be started", error);
	at_quick_exit(page_trace_flush);
}

__attribute__((constructor(101))) static void start_up(void)
{
	options_read();
	if (!process_ready())
		return;
	apply_options();
	process.exit_key_made = pthread_key_create(&process.exit_key, on_thread_exit) == 0;
	if (thread_state.phase == THREAD_OPEN)
		watch_thread_exit();
	fork_watch();
	foreign_begin();
	/* Asked for once, and now: later the program may have given up its right to open files. */
	os_addresses_are_scarce();
	if (operators_are_ours())
		sized_free_limit = SMALL_SIZE;
	start_recording();
	start_tracing();
	background_begin(options.background);
}

/* Behind the door: a signal handler that interrupts this may allocate. */
static void print_statistics(void)
{
	bool entered = door_enter();

	statistics_print_to_stderr();
	if (entered)
		door_leave();
}

__attribute__((destructor)) static void at_exit(void)
{
	background_end();
	if (options.stats_print)
		print_statistics();
	write_recording();
	page_trace_flush();
}

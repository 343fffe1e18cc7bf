/*
 * A timer that sends a signal to the thread that made it. Shots are single, and the
 * handler asks for the next one, so that a slow handler does not starve the thread.
 *
 * Relies on Linux's SIGEV_THREAD_ID.
 */
#ifndef TRAPS_TIMERS_H
#define TRAPS_TIMERS_H

#include "trap.h"

#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* timer_settime is async-signal-safe: handlers call this. */
static inline void timer_shoot(timer_t timer, long nanoseconds)
{
	struct itimerspec when = {.it_value = {.tv_nsec = nanoseconds}};
	REQUIRE(timer_settime(timer, 0, &when, NULL) == 0, "timer_settime: %s", strerror(errno));
}

static inline timer_t timer_for_this_thread(int signal_number, void *value)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal_number};
	event.sigev_value.sival_ptr = value;
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	timer_t timer;
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create: %s", strerror(errno));
	return timer;
}

static inline void handle_signal(int signal_number, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigfillset(&action.sa_mask);
	REQUIRE(sigaction(signal_number, &action, NULL) == 0, "sigaction: %s", strerror(errno));
}

static inline void block_signal(int how, int signal_number)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	pthread_sigmask(how, &set, NULL);
}

#endif

/*
 * The background thread, for programs that fall idle: it calls what the slow paths of a busy program call, so that memory goes
 * back. Off unless the option `background` or tiermalloc_background switches it on: a thread that the program does not know of
 * breaks unshare(CLONE_NEWUSER), and more.
 *
 * It is started when the heap has grown beyond what may be kept, wakes four times a second while there is something to do, and
 * sleeps otherwise without waking at all.
 */
#ifndef TIERMALLOC_BACKGROUND_H
#define TIERMALLOC_BACKGROUND_H

#include "base/common.h"

/* At start-up; says so on stderr if it is wanted and the program has no threads. */
void background_begin(bool wanted);

/*
 * Switches it on, and starts it, or off: it has ended then. Not behind the door. 0, or ENOSYS: a static program without
 * pthread_create; EAGAIN: no thread to be had now, it will be tried again.
 */
int background_set(bool wanted);

/* For a thread that leaves the door after an allocation, when the page heap asks for it. errno is kept. */
void background_start_wanted(void);

/* The calling thread ends: with the main thread, ours ends for good, or the process would never end. */
void background_thread_ends(void);

/* At exit: it ends, and is not waited for. */
void background_end(void);

/* Around fork: it has ended before, and is back after it in the parent. A child starts its own when there is need. */
void background_before_fork(void);
void background_after_fork(void);
void background_forget_in_child(void);

#endif

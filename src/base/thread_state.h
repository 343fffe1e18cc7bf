/*
 * The TLS block of a thread: all that the library keeps in thread-local storage.
 *
 * It starts out with the closed cache, and with the closed area for restartable sequences. For malloc that has to hold even before the TLS image has been copied, when
 * all of it is zero: IRELATIVE resolvers may allocate. So malloc's word is an offset from the constant closed cache
 * (an address that needs no load), and zero means that one. free, which nobody can need before malloc, has a
 * pointer.
 *
 * Initial-exec, so that the access is one load and one addition also in the shared object; the block is small
 * enough for the static TLS surplus of a process that loads the library with dlopen.
 */
#ifndef TIERMALLOC_BASE_THREAD_STATE_H
#define TIERMALLOC_BASE_THREAD_STATE_H

#include "base/common.h"

struct thread_cache;
struct recorder;
struct rseq_area;

enum __attribute__((packed)) thread_phase {
	THREAD_NEW,     /* has not allocated yet */
	THREAD_VFORKED, /* has called vfork: is the child now, whose number of a CPU is wrong, or the parent again */
	THREAD_OPEN,    /* has a cache, or uses the CPUs' slabs */
	THREAD_CLOSED,  /* exiting, or no cache could be had: central serves it directly */
};

struct thread_state {
	uintptr_t malloc_offset; /* of the cache that malloc pops from, counted from closed_cache */
	uintptr_t free_cache;    /* address of the cache that free pushes on */
	uintptr_t rseq_offset;   /* of the area that the fast paths use sections with, counted from closed_rseq_area */
	struct thread_cache *cache;
	struct rseq_area *area;    /* of a thread that uses the CPUs' slabs; it has no cache then */
	struct recorder *recorder; /* counts what this thread does, see observe/recording.h; NULL: nobody does */
	uint32_t id;               /* the kernel's thread id, 0 until asked for */
	enum thread_phase phase;
	uint8_t early_frees; /* of a thread that is new, see process_enter_thread_to_free */
	uint8_t forking;     /* forks under way: it holds locks for them, and may take them again */
	bool in_door; /* a tier is at work for this thread: whoever calls now is a signal handler, see reentrant.h */
	uint16_t
		watched_calls; /* that have come to the door, of those of frontend_watches, in this step of the clock: */
	uint32_t watched_at;   /* milliseconds */
};

_Static_assert(sizeof(struct thread_state) <= 64, "the TLS block has to fit into the static TLS surplus");

extern HIDDEN __thread struct thread_state thread_state __attribute__((tls_model("initial-exec")));

/*
 * One that is about to end, or that has not allocated yet, and is perhaps ending: nobody would take away later what it is
 * given for its calls.
 */
static inline bool thread_is_passing(void)
{
	return thread_state.phase == THREAD_CLOSED || thread_state.phase == THREAD_NEW;
}

/* Sends the thread's next call to the door. Another thread's: it may be in the middle of one that still goes past it. */
void close_fast_paths(struct thread_state *state);

/* The kernel's id of this thread; asked for once per thread (and again in a forked child). */
uint32_t thread_id(void);

#endif

/*
 * Which frontend serves: a choice for the whole process at start-up, and for each thread what it has come to by it: the
 * area of a thread that uses the CPUs' slabs, or a cache of its own, or neither.
 */
#define _GNU_SOURCE
#include "frontend/frontend.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/message.h"
#include "base/options.h"
#include "base/os.h"
#include "base/rseq.h"
#include "central/central.h"
#include "frontend/cpu_cache.h"
#include "frontend/slab.h"
#include "frontend/thread_cache.h"
#include "pageheap/pageheap.h"

/* What follows from the time is not more exact than this; and the page heap's lock is not taken more often for it. */
#define MILLISECONDS_PER_TICK 25

static bool per_cpu;

static bool per_cpu_is_wanted(enum frontend_kind wanted)
{
	return PER_CPU_IS_POSSIBLE &&
	       (wanted == FRONTEND_AUTO ? FRONTEND_BUILT == FRONTEND_CPU : wanted == FRONTEND_CPU);
}

/* This thread's area, if it is to use the CPUs' slabs. */
static inline struct rseq_area *area_in_use(void)
{
	return likely(thread_state.phase != THREAD_VFORKED) ? thread_state.area : NULL;
}

void frontend_begin(enum frontend_kind wanted, size_t bytes_per_cpu)
{
	struct rseq_area *area;

	/* What this thread is refused, all others would be. */
	if (!per_cpu_is_wanted(wanted) || !rseq_begin() || (area = rseq_enter_thread()) == NULL)
		return;
	slabs_begin(bytes_per_cpu);
	per_cpu = true;
	rseq_process.open_numbers = rseq_process.numbers;
	if (thread_state.phase == THREAD_CLOSED) {
		rseq_leave_thread(area);
		return;
	}
	/* This thread may have allocated before. Others that have, keep their caches. */
	if (thread_state.cache != NULL)
		thread_cache_close();
	thread_state.area = area;
	thread_state.phase = THREAD_OPEN;
}

void frontend_open_thread(void)
{
	if (thread_state.phase == THREAD_VFORKED) {
		/* The child has the parent's memory and another id. */
		if ((uint32_t)syscall(SYS_gettid) == thread_state.id)
			thread_state.phase = THREAD_OPEN;
		return;
	}
	if (thread_state.phase != THREAD_NEW)
		return;
	if (per_cpu)
		thread_state.area = rseq_enter_thread();
	if (thread_state.area == NULL)
		thread_cache_open();
	if (thread_state.area != NULL || thread_state.cache != NULL)
		thread_state.phase = THREAD_OPEN;
}

void frontend_close_thread(void)
{
	struct rseq_area *area = thread_state.area;

	thread_state.phase = THREAD_CLOSED;
	if (thread_state.cache != NULL)
		thread_cache_close();
	if (area == NULL)
		return;
	/* First: a signal handler is not to go by an area that the kernel has left with number 0. */
	thread_state.area = NULL;
	thread_state.rseq_offset = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!rseq_leave_thread(area))
		thread_state.area = area;
}

void frontend_before_vfork(void)
{
	/* Now: asked for by the child, in the same memory, it would be the child's. */
	thread_id();
	/* Also of a thread that ends: it goes on using the slabs where its area is the C library's. */
	if (thread_state.area == NULL)
		return;
	thread_state.phase = THREAD_VFORKED;
	thread_state.rseq_offset = 0;
}

void frontend_open_fast_paths(void)
{
	if (thread_state.cache != NULL) {
		thread_state.malloc_offset = (uintptr_t)thread_state.cache - (uintptr_t)&closed_cache;
		thread_state.free_cache = (uintptr_t)thread_state.cache;
	}
	if (area_in_use() != NULL) {
		thread_state.rseq_offset = (uintptr_t)thread_state.area - (uintptr_t)&closed_rseq_area;
		if (unlikely(load_relaxed(&rseq_process.open_numbers) == 0))
			__atomic_exchange_n(&rseq_process.open_numbers, rseq_process.numbers, __ATOMIC_ACQ_REL);
	}
}

void frontend_keep_fast_paths_closed(void)
{
	if (load_relaxed(&rseq_process.open_numbers) != 0)
		store_relaxed(&rseq_process.open_numbers, 0);
}

void frontend_close_fast_paths(void)
{
	/* Exchanged here and where they are opened: whoever opens them after this sees why they are closed, and closes them again. */
	__atomic_exchange_n(&rseq_process.open_numbers, 0, __ATOMIC_ACQ_REL);
	registry_close_fast_paths();
}

void *frontend_allocate_directly(unsigned class)
{
	bool zeroed;

	return central_take_one(class, &zeroed);
}

void *frontend_allocate(unsigned class)
{
	struct rseq_area *area = area_in_use();

	if (area != NULL)
		return cpu_cache_allocate(area, class);
	if (likely(thread_state.cache != NULL))
		return thread_cache_allocate(thread_state.cache, class);
	return frontend_allocate_directly(class);
}

void *frontend_allocate_zeroed(unsigned class, bool *zeroed)
{
	return central_take_one(class, zeroed);
}

void frontend_free(unsigned class, void *object, const char *function)
{
	struct rseq_area *area = area_in_use();

	if (area != NULL)
		cpu_cache_free(area, class, object, function);
	else if (likely(thread_state.cache != NULL))
		thread_cache_free(thread_state.cache, class, object, function);
	else
		central_return(class, &object, 1, function);
}

COLD _Noreturn void frontend_freed_twice(unsigned class, void *object, const char *function)
{
	const struct wrong_use use = {.function = function,
				      .pointer = object,
				      .what = "object is already free (double free)",
				      .class_size = size_classes[class].size};

	message_wrong_use(&use);
}

static void tick_below(void)
{
	static uint64_t last_tick;
	uint64_t last = load_relaxed(&last_tick);
	uint64_t now = os_milliseconds();

	if (now - last < MILLISECONDS_PER_TICK ||
	    !__atomic_compare_exchange_n(&last_tick, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	pageheap_tick();
	if (!pageheap_spare_fits())
		central_give_back_empty(false);
	central_tick(now);
}

/* From one step of the clock to the next. A call by way of the door takes some 15 ns more, so these take 0.1 % of the time. */
#define WATCHED_CALLS 256

bool frontend_watches(void)
{
	uint32_t now = (uint32_t)os_milliseconds();

	if (now != thread_state.watched_at) {
		thread_state.watched_at = now;
		thread_state.watched_calls = 0;
		frontend_tick();
	}
	if (thread_state.watched_calls == WATCHED_CALLS)
		return false;
	thread_state.watched_calls++;
	return true;
}

void frontend_tick(void)
{
	bell_ring(&background_bell);
	tick_below();
}

void frontend_tick_idle(void)
{
	if (per_cpu)
		cpu_cache_drain_idle();
	tick_below();
}

size_t frontend_flush_thread(void)
{
	return thread_state.cache != NULL ? thread_cache_flush(thread_state.cache) : 0;
}

size_t frontend_flush(void)
{
	return frontend_flush_thread() + (per_cpu ? cpu_cache_flush_all() : 0);
}

void frontend_adopt_slabs(void)
{
	if (per_cpu)
		cpu_cache_adopt_in_child();
	if (thread_state.phase == THREAD_VFORKED) {
		/* Forked by a vfork's child, which has no area that a child of it could inherit. */
		thread_state.area = NULL;
		thread_state.phase = THREAD_CLOSED;
	}
}

void frontend_read_statistics(struct frontend_statistics *statistics)
{
	struct cpu_cache_statistics slabs;

	registry_read_statistics(statistics);
	cpu_cache_read_statistics(&slabs);
	statistics->caches += slabs.slabs;
	statistics->capacity += slabs.capacity;
	statistics->kind = !per_cpu ? "threads" : rseq_number_is_concurrency_id() ? "CPUs (mm_cid)" : "CPUs";
}

size_t frontend_cached(unsigned class)
{
	return registry_cached(class) + cpu_cache_held(class);
}

const char *frontend_validate(void)
{
	const char *wrong = registry_validate();

	return wrong != NULL ? wrong : cpu_cache_validate();
}

/*
 * Restartable sequences: the kernel's per-thread area, and the barrier for work on other CPUs' data.
 *
 * The ABI is kept to the letter: one area per thread, the C library's where it has registered one; of it nothing is ever
 * written but rseq_cs; the number is read inside a section, by which the kernel sees to it that it is true. The number is
 * the concurrency id (mm_cid) where the kernel has it, which is below the number of CPUs that the process may run on at
 * a time, and the CPU's otherwise.
 *
 * Nothing here holds a lock. All calls keep errno.
 */
#ifndef TIERMALLOC_BASE_RSEQ_H
#define TIERMALLOC_BASE_RSEQ_H

#include "base/common.h"

/* As linux/rseq.h has it since 6.3; before, the last field was padding. What a thread has may end later. */
struct rseq_area {
	uint32_t cpu_id_start;
	uint32_t cpu_id;
	uint64_t rseq_cs; /* address of the descriptor of the section that the thread is in, or was in */
	uint32_t flags;
	uint32_t node_id;
	uint32_t mm_cid;
	uint32_t padding;
} __attribute__((aligned(32)));

/* No number of a CPU is this large: Linux can be built for so many at most. */
#define RSEQ_NUMBERS 8192

/*
 * The area of threads that have none: its number is beyond all CPUs, so sections leave without effect. They write its
 * rseq_cs, which nobody reads.
 */
extern HIDDEN struct rseq_area closed_rseq_area;

/* What is the same in all threads, set once. In one cache line: every section reads it. */
struct rseq_process {
	size_t number_field;   /* offset of the number in the area: of cpu_id or mm_cid */
	uint32_t numbers;      /* all are below; 0 before rseq_begin */
	uint32_t open_numbers; /* the same for the fast paths; 0 while they are closed in all threads */
};
extern HIDDEN struct rseq_process rseq_process;

/*
 * Finds out whether this process can have restartable sequences and the barrier, and prepares them. Once, at start-up.
 * False: they are not to be had, and nothing else here may be called.
 */
bool rseq_begin(void);

/*
 * This thread's area: the C library's, or one of ours that is registered now. NULL: the kernel has refused. Ours must be
 * given back before the thread ends.
 */
struct rseq_area *rseq_enter_thread(void);
/* Whether the area was ours: then it is given back, and may not be used any more. */
bool rseq_leave_thread(struct rseq_area *area);

/*
 * After it, no thread is in a section that it entered before: it has committed, and that can be seen, or starts again.
 * False: the kernel has refused, and nothing is known.
 */
bool rseq_fence(void);

/* The largest number in the kernel's list of CPUs, like 0-3,8-11, plus one. 0: not a list. For tests too. */
uint32_t rseq_numbers_in_list(const char *text, size_t length);

static inline bool rseq_number_is_concurrency_id(void)
{
	return rseq_process.number_field == offsetof(struct rseq_area, mm_cid);
}

/* The number that this thread has at this moment. Outside a section that is no more than a hint. */
static inline uint32_t rseq_number(const struct rseq_area *area)
{
	return __atomic_load_n((const uint32_t *)((uintptr_t)area + rseq_process.number_field), __ATOMIC_RELAXED);
}

#endif

/*
 * Workers: the threads of a benchmark row, which repeat a bit of work and count operations, and the stretch of time in
 * which all of them are counted. Relies on POSIX threads and Linux's processor affinity; all its memory is static.
 *
 * Each worker warms up, then waits until all have. From then on, for as long as the row's time lasts, every worker's
 * operations are counted; a bit of work that reaches over the end counts with the part before it. Nobody stops before
 * all have reached the end, so that the load stays the same to the last moment.
 */
#ifndef BENCH_WORKERS_H
#define BENCH_WORKERS_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many threads as a row may have. */
#define WORKERS_MAXIMUM 64

enum worker_phase { WORKER_WARMING, WORKER_TIMED, WORKER_PAST };

/* Each has cache lines of its own. `index` and `phase` may be read, `position` is the workload's; the rest belongs to
 * workers.c. */
struct worker {
	alignas(128) size_t index;
	size_t position;
	enum worker_phase phase;
	uint64_t operations; /* up to `last`, when the clock was read last */
	uint64_t unread;     /* since then */
	uint64_t cycles;     /* since then, with operations */
	uint64_t until_read;
	uint64_t interval;
	uint64_t rounds;
	uint64_t started;
	uint64_t last;
	double counted;
};

/* Runs `work` in `threads` threads, which end when worker_goes_on says so; for one thread, in this one. Returns the
 * nanoseconds per operation: the time, times the number of processors that the threads can use, divided by the
 * operations of all. The time is at least `duration` nanoseconds: processor time of the process for one thread, real
 * time for several. */
double run_workers(size_t threads, uint64_t duration, void (*work)(struct worker *worker));

/* To be called after each bit of work with the operations it had (0: it had to wait for another worker). Returns
 * whether to go on. May be called by another thread than before, if the worker's work moved there. */
bool worker_goes_on(struct worker *worker, uint64_t operations);

/* For a worker that waits for another one. */
void wait_a_little(unsigned *spins);

#endif

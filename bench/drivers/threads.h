/*
 * The workloads of the group `threads`. Each has a function that prepares it and one that is a worker's whole work, or
 * a round of it; see workers.h. All their tables are static, and are made before the clock starts.
 */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include "row.h"
#include "workers.h"

/* Work without end, in rounds: `round` does a bit and returns its operations. */
void repeat_rounds(struct worker *worker, uint64_t (*round)(struct worker *worker));

/* threads_handover.c: objects go from those who allocate them to others who free them. */
void prepare_exchange(const struct row *row);           /* ARGUMENT: size; the first thread to the second */
void prepare_exchange_both_ways(const struct row *row); /* ARGUMENT: size */
void prepare_producer_consumer(const struct row *row);  /* ARGUMENT: producers:consumers */
void work_handover(struct worker *worker);

/* threads_succession.c: threads that end while what they allocated lives on. */
void prepare_larson(const struct row *row);
void work_larson(struct worker *worker);
void prepare_come_and_go(const struct row *row);
void work_come_and_go(struct worker *worker);

/* threads_sharing.c: cache lines and a table that threads share. */
void prepare_false_sharing_active(const struct row *row);
void prepare_false_sharing_passive(const struct row *row);
void work_false_sharing(struct worker *worker);
void prepare_shared_array(const struct row *row);
void work_shared_array(struct worker *worker);

/* threads_lifetimes.c: each thread's heap is its own; how long objects live differs. */
void prepare_pareto(const struct row *row);
void work_pareto(struct worker *worker);
void prepare_phases(const struct row *row);
void work_phases(struct worker *worker);

#endif

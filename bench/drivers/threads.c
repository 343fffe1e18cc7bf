/*
 * The benchmarks of several threads: nanoseconds per operation of one row, on the standard interface alone. One process
 * measures one row. The workloads are in threads_*.c, each written after the published description of it.
 */
#include "measure.h"
#include "threads.h"

#include <stdio.h>

struct family {
	const char *name;
	void (*prepare)(const struct row *row);
	void (*work)(struct worker *worker);
	bool argument; /* the row's name has one */
};

static const struct family families[] = {
	{"larson", .prepare = prepare_larson, .work = work_larson},
	{"producer-consumer", .prepare = prepare_producer_consumer, .work = work_handover, .argument = true},
	{"exchange", .prepare = prepare_exchange, .work = work_handover, .argument = true},
	{"exchange-both-ways", .prepare = prepare_exchange_both_ways, .work = work_handover, .argument = true},
	{"false-sharing-active", .prepare = prepare_false_sharing_active, .work = work_false_sharing},
	{"false-sharing-passive", .prepare = prepare_false_sharing_passive, .work = work_false_sharing},
	{"come-and-go", .prepare = prepare_come_and_go, .work = work_come_and_go},
	{"shared-array", .prepare = prepare_shared_array, .work = work_shared_array},
	{"pareto", .prepare = prepare_pareto, .work = work_pareto},
	{"phases", .prepare = prepare_phases, .work = work_phases},
};

void repeat_rounds(struct worker *worker, uint64_t (*round)(struct worker *worker))
{
	while (worker_goes_on(worker, round(worker)))
		continue;
}

int main(int argc, char **argv)
{
	struct row row;
	size_t index = read_row(argc, argv, families, sizeof families[0], sizeof families / sizeof families[0], &row);
	if ((row.argument[0] != '\0') != families[index].argument)
		refuse_row();
	families[index].prepare(&row);
	printf("ns %.4f\n", run_workers(row.threads, row.duration, families[index].work));
	print_allocator();
	return 0;
}

/* The threads of a benchmark row, and the stretch of time in which they are counted. See workers.h. */
#define _GNU_SOURCE
#include "workers.h"
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MILLISECOND UINT64_C(1000000)

/* Work with few long rounds is measured over this many, after these warm-up rounds: the first one pays for memory that
 * is new, the second one for what the allocator learns from that. */
#define WARM_UP_ROUNDS 2
#define TIMED_ROUNDS   3

/* But neither takes longer than this: a few rows take an allocator seconds. */
#define LONGEST (300 * MILLISECOND)

/* Several threads depend on the scheduler: each has to have its turn while the time runs, also where other programs
 * want the processors. */
#define TURN (10 * MILLISECOND)

/* The clock is read about this often: reading the processor clock costs as much as a hundred pairs. */
#define READING_INTERVAL MILLISECOND

/* A waiting worker that has a processor of its own gives it away now and then, for other programs' sake. */
#define SPINS_BEFORE_YIELD 1000

static struct worker workers[WORKERS_MAXIMUM];
static pthread_t thread_ids[WORKERS_MAXIMUM];
static cpu_set_t allowed;
static size_t worker_count, processor_count;
static uint64_t shortest_time;
static void (*work_function)(struct worker *worker);
static uint64_t (*read_clock)(void);

/* What the workers meet at: guarded by the mutex until all have arrived, constant afterwards. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_arrived = PTHREAD_COND_INITIALIZER;
static size_t arrived;
static uint64_t longest_round, window_start, window_length;

static atomic_size_t past;

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Waits for the other workers' warm-up; the last one to arrive starts the time. */
static void start_timed_phase(struct worker *worker, uint64_t round)
{
	pthread_mutex_lock(&mutex);
	longest_round = larger(longest_round, round);
	if (++arrived == worker_count) {
		window_length = larger(shortest_time, smaller(TIMED_ROUNDS * longest_round, LONGEST));
		window_start = read_clock();
		pthread_cond_broadcast(&all_arrived);
	} else {
		while (arrived < worker_count)
			pthread_cond_wait(&all_arrived, &mutex);
	}
	pthread_mutex_unlock(&mutex);
	worker->phase = WORKER_TIMED;
	worker->operations = 0;
	worker->last = window_start;
}

static void warm_up(struct worker *worker, uint64_t now)
{
	uint64_t taken = now - worker->started;
	uint64_t round = worker->cycles ? (now - worker->last) / worker->cycles : 0;
	worker->rounds += larger(worker->cycles, 1);
	worker->last = now;
	if (taken >= LONGEST || (taken >= shortest_time / 4 && worker->rounds >= WARM_UP_ROUNDS))
		start_timed_phase(worker, round);
}

static void count(struct worker *worker, uint64_t now)
{
	uint64_t end = window_start + window_length;
	if (now < end) {
		worker->operations += worker->unread;
		worker->last = now;
		return;
	}
	double part = (double)(end - worker->last) / (double)(now - worker->last);
	worker->counted = (double)worker->operations + (double)worker->unread * part;
	worker->phase = WORKER_PAST;
	atomic_fetch_add(&past, 1);
}

bool worker_goes_on(struct worker *worker, uint64_t operations)
{
	worker->unread += operations;
	if (operations > 0) {
		worker->cycles++;
		if (--worker->until_read > 0)
			return true;
	}
	if (worker->phase != WORKER_PAST) {
		uint64_t now = read_clock(), last = worker->last;
		if (operations > 0 && now - last < READING_INTERVAL / 2)
			worker->interval *= 2;
		if (worker->phase == WORKER_WARMING)
			warm_up(worker, now);
		else
			count(worker, now);
	}
	worker->until_read = worker->interval;
	worker->unread = worker->cycles = 0;
	return worker->phase != WORKER_PAST || atomic_load(&past) < worker_count;
}

void wait_a_little(unsigned *spins)
{
	if (worker_count > processor_count || ++*spins % SPINS_BEFORE_YIELD == 0)
		sched_yield();
#if defined(__x86_64__) || defined(__i386__)
	else
		__builtin_ia32_pause();
#endif
}

/* A thread that moves between processors meets cold caches. */
static void pin_to_processor(int processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static int allowed_processor(size_t index)
{
	int processor = 0;
	while (!CPU_ISSET(processor, &allowed) || index-- > 0)
		processor++;
	return processor;
}

static void run_worker(struct worker *worker)
{
	worker->interval = worker->until_read = 1;
	worker->started = worker->last = read_clock();
	work_function(worker);
}

/* Each worker has a processor of its own if there are enough; else the scheduler deals them out. */
static void *worker_thread(void *argument)
{
	struct worker *worker = argument;
	if (worker_count <= processor_count)
		pin_to_processor(allowed_processor(worker->index));
	run_worker(worker);
	return NULL;
}

double run_workers(size_t threads, uint64_t duration, void (*work)(struct worker *worker))
{
	double operations = 0;
	sched_getaffinity(0, sizeof allowed, &allowed);
	processor_count = (size_t)CPU_COUNT(&allowed);
	worker_count = threads;
	shortest_time = threads == 1 ? duration : larger(duration, TURN * (1 + threads / processor_count));
	work_function = work;
	read_clock = threads == 1 ? processor_clock : wall_clock;
	for (size_t i = 0; i < threads; i++)
		workers[i].index = i;
	if (threads == 1) {
		pin_to_processor(sched_getcpu());
		run_worker(&workers[0]);
	}
	for (size_t i = 0; threads > 1 && i < threads; i++) {
		if (pthread_create(&thread_ids[i], NULL, worker_thread, &workers[i]) != 0)
			fail("cannot create a thread");
	}
	for (size_t i = 0; threads > 1 && i < threads; i++)
		pthread_join(thread_ids[i], NULL);
	for (size_t i = 0; i < threads; i++)
		operations += workers[i].counted;
	if (operations <= 0)
		fail("no operation was completed");
	return (double)window_length * (double)smaller(threads, processor_count) / operations;
}

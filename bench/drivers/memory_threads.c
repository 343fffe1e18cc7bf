/* Memory that threads leave behind, or keep while they wait. See memory.h. */
#define _GNU_SOURCE
#include "memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAXIMUM 1000

/* Threads that have come and gone between two samples. */
#define THREADS_PER_SAMPLE 20

static pthread_t threads[THREADS_MAXIMUM];
static atomic_uint_fast64_t nanoseconds; /* processor time that all threads have spent on their objects */

static uint64_t thread_clock(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Takes and writes one object of each of eight sizes up to 4 KiB, then frees them. */
static void use_eight_sizes(void)
{
	static const size_t sizes[] = {16, 64, 128, 256, 512, 1024, 2048, 4096};
	enum { SIZES = sizeof sizes / sizeof sizes[0] };
	void *objects[SIZES];
	uint64_t start = thread_clock();
	for (int i = 0; i < SIZES; i++)
		objects[i] = take(sizes[i]);
	for (int i = 0; i < SIZES; i++)
		free(objects[i]);
	atomic_fetch_add(&nanoseconds, thread_clock() - start);
}

static void *short_thread(void *argument)
{
	use_eight_sizes();
	return argument;
}

static void create_threads(size_t count, void *(*body)(void *))
{
	for (size_t i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, body, NULL) != 0)
			fail("cannot create a thread");
}

static void join_threads(size_t count)
{
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* Resident memory after `count` short threads, of which `group` at a time were alive. */
void measure_short_threads(size_t count, size_t group)
{
	if (group < 1 || group > THREADS_MAXIMUM)
		fail("short-threads: no such number of threads at a time");
	start_stopwatch();
	for (size_t done = 0; done < count; done += group) {
		create_threads(group, short_thread);
		join_threads(group);
		if (done % THREADS_PER_SAMPLE == 0)
			take_sample();
	}
	printf("rss_end %.3f\nns %.3f\n", take_sample(), (double)nanoseconds / (double)count);
	print_series();
}

static pthread_barrier_t all_have_worked, all_may_end;

static void *idle_thread(void *argument)
{
	use_eight_sizes();
	pthread_barrier_wait(&all_have_worked);
	pthread_barrier_wait(&all_may_end);
	return argument;
}

/* What a thread costs that has taken and freed eight sizes and now waits, with its stack. */
void measure_idle_threads(size_t count)
{
	if (count < 1 || count > THREADS_MAXIMUM)
		fail("idle-threads: no such number of threads");
	use_eight_sizes();
	create_threads(1, short_thread); /* what the first thread of all sets up is not a thread's cost */
	join_threads(1);
	pthread_barrier_init(&all_have_worked, NULL, (unsigned)count + 1);
	pthread_barrier_init(&all_may_end, NULL, (unsigned)count + 1);
	uint64_t before = resident_kib();
	nanoseconds = 0;
	create_threads(count, idle_thread);
	pthread_barrier_wait(&all_have_worked);
	uint64_t after = resident_kib();
	pthread_barrier_wait(&all_may_end);
	join_threads(count);
	printf("rss_thread %.3f\n", ((double)after - (double)before) / (double)count);
	printf("ns %.3f\n", (double)nanoseconds / (double)count);
}

/*
 * Trap: caches per CPU where they cannot be had, or not any more. The program uses the heap in all ways, with threads, forks
 * and trims, and prints whose caches have served.
 *
 *     frontends plain [rounds]
 *     frontends membarrier      the kernel refuses membarrier from the middle on
 *     frontends rseq            the same for registrations of restartable sequences: new threads have none
 *     frontends affinity        the CPUs that it may run on change all the time
 *     frontends batches         one thread, many objects of each size at once
 *     frontends alone           one thread, and always the same
 */
#include "churn.h"
#include "refuse.h"
#include "report.h"

#include <sched.h>

static struct report report;

static void *use_in_thread(void *unused)
{
	use_heap_briefly(3);
	return unused;
}

static void run_thread(void)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, use_in_thread, NULL);

	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	pthread_join(thread, NULL);
}

static void run_child(void)
{
	pid_t child = fork();

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		use_heap_briefly(4);
		malloc_trim(0);
		use_heap_briefly(5);
		run_thread();
		report_read(&report);
		_exit(0);
	}
	reap(child);
}

/* Returns what is in use when everything has been freed. */
static size_t use(uint64_t seed)
{
	static struct churners churners;
	struct churn churn = {.random = seed};

	atomic_store(&churners.next, 0);
	atomic_store(&churners.stop, false);
	churners_start(&churners, 3, seed);
	for (int i = 0; i < 20000; i++) {
		churn_step(&churn);
		if (i % 2000 == 0)
			malloc_trim(0);
		if (i % 4000 == 0)
			run_child();
		if (i % 1000 == 0)
			run_thread();
	}
	churn_end(&churn);
	churners_stop(&churners);
	return bytes_in_use();
}

static atomic_bool stop;

/* Every thread of the process is sent from CPU to CPU. */
static void *move_all(void *unused)
{
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof all, &all);
	for (int cpu = 0; !atomic_load(&stop); cpu = (cpu + 1) % CPU_SETSIZE) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(getpid(), sizeof one, &one);
		sched_setaffinity(0, sizeof one, &one);
		sched_yield();
	}
	return unused;
}

static size_t use_while_moving(void)
{
	pthread_t thread;
	size_t in_use;

	REQUIRE(pthread_create(&thread, NULL, move_all, NULL) == 0, "pthread_create");
	in_use = use(2);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	return in_use;
}

/* All of a size are allocated, and then freed, several times: stacks grow, shrink and are taken down again. */
static void use_in_batches(void)
{
	enum { MOST = 1000 };
	static void *blocks[MOST];

	for (size_t size = 8; size <= 512 * KIB; size *= 2) {
		size_t count = size <= 64 * KIB ? MOST : MOST / 10;

		for (int round = 0; round < 40; round++) {
			for (size_t i = 0; i < count; i++) {
				blocks[i] = malloc(size);
				REQUIRE(blocks[i], "malloc(%zu): %s", size, strerror(errno));
				*(unsigned char **)blocks[i] = blocks[i];
			}
			for (size_t i = 0; i < count; i++) {
				REQUIRE(*(void **)blocks[i] == blocks[i], "block %zu of %zu bytes has changed", i,
					size);
				free(blocks[i]);
			}
		}
	}
}

static void use_alone(void)
{
	struct churn churn = {.random = 1};

	for (int i = 0; i < 200000; i++)
		churn_step(&churn);
	churn_end(&churn);
}

static void print_frontend(void)
{
	const char *kind;

	report_read(&report);
	report_check(&report);
	kind = report_after(&report, "\" of=\"");
	printf("%.*s\n", (int)strcspn(kind, "\""), kind);
}

int main(int count, char **values)
{
	const char *part = count > 1 ? values[1] : "plain";
	unsigned long rounds = argument(count, values, 2, 1);
	size_t before, after = 0;

	require_allocator();
	if (strcmp(part, "alone") == 0 || strcmp(part, "batches") == 0) {
		if (strcmp(part, "alone") == 0)
			use_alone();
		else
			use_in_batches();
		print_frontend();
		return 0;
	}
	before = use(1);
	if (strcmp(part, "membarrier") == 0)
		refuse_call(SYS_membarrier, EPERM);
	else if (strcmp(part, "rseq") == 0)
		refuse_call(SYS_rseq, ENOSYS);
	if (strcmp(part, "affinity") == 0)
		use_while_moving();
	for (unsigned long round = 0; round < rounds; round++) {
		after = use(2 + round);
		if (strcmp(part, "affinity") != 0)
			REQUIRE(after == before, "%zu bytes in use, and then %zu", before, after);
	}
	if (strcmp(part, "membarrier") == 0) {
		malloc_trim(0);
		report_read(&report);
		REQUIRE(report_bytes(&report, "cached") != 0, "caches could be taken away");
	}
	print_frontend();
	return 0;
}

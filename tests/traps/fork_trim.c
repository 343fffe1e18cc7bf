/*
 * Trap: fork in the middle of work on all CPUs' caches. A thread gives back what they hold, all the time, and so takes them
 * away from their CPUs; the child's are there again.
 *
 *     fork_trim loop [forks] [seed]       while threads allocate and one trims
 *     fork_trim raw                       by the system call alone, which runs no handlers
 *     fork_trim handler [forks] [seed]    in a signal handler that interrupts the trim, which the child then ends
 */
#include "churn.h"
#include "report.h"
#include "timers.h"

static struct report report;

static size_t cached(void)
{
	report_read(&report);
	return report_bytes(&report, "cached");
}

/* What a child does. */
static void use_and_look(uint64_t seed)
{
	struct churn churn = {.random = seed};

	for (int i = 0; i < 5; i++)
		use_heap_briefly(seed + (uint64_t)i);
	report_read(&report);
	REQUIRE(report_bytes(&report, "in_use") <= report_bytes(&report, "pages_used"), "%zu bytes in use",
		report_bytes(&report, "in_use"));
	for (int i = 0; i < 1000; i++)
		churn_step(&churn);
	malloc_trim(0);
	REQUIRE(!report_of_cpus(&report) || cached() == 0, "%zu bytes in caches after malloc_trim", cached());
	for (int i = 0; i < 1000; i++)
		churn_step(&churn);
	churn_end(&churn);
	REQUIRE(cached() != 0, "the child has no caches");
}

static atomic_bool stop;

static void *trim(void *unused)
{
	while (!atomic_load(&stop))
		malloc_trim(0);
	return unused;
}

static void run_loop(unsigned long forks, uint64_t seed)
{
	static struct churners churners;
	pthread_t trimmer;

	churners_start(&churners, 2, seed);
	REQUIRE(pthread_create(&trimmer, NULL, trim, NULL) == 0, "pthread_create");
	for (unsigned long i = 0; i < forks; i++) {
		pid_t child = fork();

		REQUIRE(child >= 0, "fork: %s", strerror(errno));
		if (child == 0) {
			use_and_look(seed + i);
			if (i % 8 == 0)
				exit(0);
			_exit(0);
		}
		use_heap_briefly(seed + i);
		reap(child);
	}
	atomic_store(&stop, true);
	pthread_join(trimmer, NULL);
	churners_stop(&churners);
	bytes_in_use();
}

/* Nothing else runs: no lock is taken, and the C library knows nothing of the child. */
static void run_raw(void)
{
	struct churn churn = {.random = 1};

	for (int i = 0; i < 1000; i++)
		churn_step(&churn);
	for (int i = 0; i < 20; i++) {
		pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

		REQUIRE(child >= 0, "clone: %s", strerror(errno));
		if (child == 0) {
			churn_end(&churn);
			use_and_look(2);
			REQUIRE(bytes_in_use() != 0, "nothing is in use");
			_exit(0);
		}
		reap(child);
		churn_step(&churn);
	}
	churn_end(&churn);
}

static timer_t timer;
static uint64_t timer_random;
static unsigned long forks_left;
static volatile bool in_child;

/* What the child keeps from the handler on, in which it comes by the caches as they stand at that moment. */
static struct block kept[100];

static void keep_some(void)
{
	for (int i = 0; i < 100; i++)
		kept[i] = block_new(&timer_random);
}

/* The child goes on where its parent was interrupted. */
static void fork_on_timer(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	pid_t child;

	(void)number, (void)info, (void)context;
	if (in_child || forks_left == 0)
		return;
	child = fork();
	REQUIRE(child >= 0, "fork in handler: %s", strerror(errno));
	if (child == 0) {
		in_child = true;
		keep_some();
	} else {
		reap(child);
		if (--forks_left != 0)
			timer_shoot(timer, 1000 + (long)(random_next(&timer_random) % 100000));
	}
	errno = saved;
}

static void run_handler(unsigned long forks, uint64_t seed)
{
	static struct churners churners;
	struct churn churn = {.random = seed};

	churners_start(&churners, 1, seed);
	forks_left = forks;
	timer_random = seed;
	handle_signal(SIGUSR1, fork_on_timer);
	timer = timer_for_this_thread(SIGUSR1, NULL);
	timer_shoot(timer, 100000);
	while (__atomic_load_n(&forks_left, __ATOMIC_RELAXED) != 0) {
		/* Held by the CPU's cache when it is taken away. */
		for (int i = 0; i < 200; i++)
			churn_step(&churn);
		malloc_trim(0);
		if (!in_child)
			continue;
		use_and_look(seed);
		churn_end(&churn);
		for (int i = 0; i < 100; i++)
			block_end(&kept[i]);
		_exit(0);
	}
	timer_delete(timer);
	churn_end(&churn);
	churners_stop(&churners);
	bytes_in_use();
}

int main(int count, char **values)
{
	const char *part = count > 1 ? values[1] : "";
	unsigned long forks = argument(count, values, 2, 300);
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());

	require_allocator();
	printf("seed %lu\n", (unsigned long)seed);
	fflush(stdout);
	if (strcmp(part, "loop") == 0)
		run_loop(forks, seed);
	else if (strcmp(part, "raw") == 0)
		run_raw();
	else if (strcmp(part, "handler") == 0)
		run_handler(forks, seed);
	else
		FAIL("no part \"%s\"", part);
	return 0;
}

/*
 * Trap: fork in a signal handler that interrupted malloc. The handler's own thread may
 * be inside the allocator, holding one of its locks; fork's handlers must not wait for
 * it, and the child must be able to allocate all the same.
 *
 *     fork_signal [forks] [seed]
 */
#include "churn.h"
#include "timers.h"

enum { WORKERS = 3 };

struct worker {
	pthread_t thread;
	timer_t timer;
	uint64_t random; /* of the handler; the churn has its own */
	struct churn churn;
};

static atomic_ulong forks_left;

/* Counts down to zero and stays there. */
static bool take_fork(void)
{
	unsigned long left = atomic_load(&forks_left);
	while (left > 0)
		if (atomic_compare_exchange_weak(&forks_left, &left, left - 1))
			return true;
	return false;
}

static void on_timer(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number, (void)context;
	int error = errno;
	struct worker *worker = info->si_value.sival_ptr;
	if (!take_fork())
		return;
	pid_t pid = fork();
	REQUIRE(pid >= 0, "fork in handler: %s", strerror(errno));
	if (pid == 0) {
		use_heap_briefly(worker->random);
		_exit(0);
	}
	reap(pid);
	timer_shoot(worker->timer, 20000 + (long)(random_next(&worker->random) % 400000));
	errno = error;
}

static void *work(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	worker->timer = timer_for_this_thread(SIGUSR1, worker);
	timer_shoot(worker->timer, 100000);
	block_signal(SIG_UNBLOCK, SIGUSR1);
	while (atomic_load_explicit(&forks_left, memory_order_relaxed) > 0)
		churn_step(&worker->churn);
	block_signal(SIG_BLOCK, SIGUSR1);
	timer_delete(worker->timer);
	churn_end(&worker->churn);
	return NULL;
}

int main(int count, char **values)
{
	require_allocator();
	atomic_store(&forks_left, argument(count, values, 1, 500));
	uint64_t seed = argument(count, values, 2, (unsigned long)getpid());
	printf("%lu forks in handlers, seed %lu\n", atomic_load(&forks_left), (unsigned long)seed);
	fflush(stdout);

	handle_signal(SIGUSR1, on_timer);
	block_signal(SIG_BLOCK, SIGUSR1); /* inherited: handlers run only where asked for */
	static struct worker workers[WORKERS];
	for (int i = 0; i < WORKERS; i++) {
		workers[i].random = seed + (uint64_t)i;
		workers[i].churn.random = seed * 1000 + (uint64_t)i;
		int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

/*
 * Trap: fork in a signal handler that interrupted malloc. The handler's own thread may
 * be inside the allocator, holding one of its locks; fork's handlers must not wait for
 * it, and the interrupted call must end well in the parent.
 *
 *     fork_signal leave [forks] [seed]       the child ends, or becomes another program
 *     fork_signal allocate [forks] [seed]    the child uses the heap, still in the handler
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
static bool children_allocate;

/* Counts down to zero and stays there. */
static bool take_fork(void)
{
	unsigned long left = atomic_load(&forks_left);
	while (left > 0)
		if (atomic_compare_exchange_weak(&forks_left, &left, left - 1))
			return true;
	return false;
}

__attribute__((noreturn)) static void child(uint64_t random)
{
	char name[] = "/bin/true";
	char *arguments[] = {name, NULL};
	if (children_allocate)
		use_heap_briefly(random);
	else if (random % 8 == 0)
		execv(name, arguments);
	_exit(0);
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
	if (pid == 0)
		child(worker->random);
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
	REQUIRE(count > 1, "what does the child do? leave or allocate");
	children_allocate = strcmp(values[1], "allocate") == 0;
	REQUIRE(children_allocate || strcmp(values[1], "leave") == 0, "unknown doing %s", values[1]);
	atomic_store(&forks_left, argument(count, values, 2, 500));
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());
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

/*
 * Trap: many signals without SA_RESTART while threads allocate. System calls inside the
 * allocator are interrupted; no block may get lost or change, and no call may fail.
 *
 *     signals [signals per thread] [seed]
 */
#include "churn.h"
#include "timers.h"

enum { WORKERS = 3 };

struct worker {
	pthread_t thread;
	timer_t timer;
	atomic_ulong signals_left;
	struct churn churn;
};

static void on_timer(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number, (void)context;
	int error = errno;
	struct worker *worker = info->si_value.sival_ptr;
	if (atomic_load(&worker->signals_left) > 0) {
		atomic_fetch_sub(&worker->signals_left, 1);
		timer_shoot(worker->timer, 50000);
	}
	errno = error;
}

static void *work(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	worker->timer = timer_for_this_thread(SIGUSR1, worker);
	timer_shoot(worker->timer, 50000);
	block_signal(SIG_UNBLOCK, SIGUSR1);
	while (atomic_load_explicit(&worker->signals_left, memory_order_relaxed) > 0)
		churn_step(&worker->churn);
	block_signal(SIG_BLOCK, SIGUSR1);
	timer_delete(worker->timer);
	churn_end(&worker->churn);
	return NULL;
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long signals = argument(count, values, 1, 5000);
	uint64_t seed = argument(count, values, 2, (unsigned long)getpid());
	printf("%lu signals to each thread, seed %lu\n", signals, (unsigned long)seed);
	fflush(stdout);

	handle_signal(SIGUSR1, on_timer);
	block_signal(SIG_BLOCK, SIGUSR1);
	static struct worker workers[WORKERS];
	for (int i = 0; i < WORKERS; i++) {
		atomic_store(&workers[i].signals_left, signals);
		workers[i].churn.random = seed * 1000 + (uint64_t)i;
		int error = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

/*
 * Trap: fork while other threads allocate small and large. A child inherits whatever
 * locks and half-done work the other threads had at that moment; it must be able to
 * use the heap at once, also when two threads fork at the same time.
 *
 *     fork_threads [forks per forking thread] [forking threads] [seed]
 */
#include "churn.h"

enum { MAX_FORKERS = 4, INHERITED = 64 };

struct forker {
	pthread_t thread;
	unsigned long forks;
	uint64_t random;
};

static void *allocate_and_free(void *seed)
{
	use_heap_briefly((uint64_t)(uintptr_t)seed);
	return NULL;
}

/* Starting a thread takes memory from the C library as well as from the heap. */
static void use_heap_in_new_thread(uint64_t seed)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, allocate_and_free, (void *)(uintptr_t)seed);
	REQUIRE(error == 0, "pthread_create in child: %s", strerror(error));
	pthread_join(thread, NULL);
}

static void child(unsigned long number, struct block *inherited, uint64_t seed)
{
	for (int i = 0; i < INHERITED; i += 2)
		block_end(&inherited[i]);
	use_heap_briefly(seed);
	if (number % 16 == 1)
		use_heap_in_new_thread(seed + 1);
	if (number % 32 == 2) {
		pid_t grandchild = fork();
		REQUIRE(grandchild >= 0, "fork in child: %s", strerror(errno));
		if (grandchild == 0) {
			use_heap_briefly(seed + 2);
			_exit(0);
		}
		reap(grandchild);
	}
	for (int i = 1; i < INHERITED; i += 2)
		block_end(&inherited[i]);
	if (number % 8 == 3)
		exit(0); /* with everything that runs at a normal exit */
	_exit(0);
}

static void *fork_often(void *argument_of_thread)
{
	struct forker *forker = argument_of_thread;
	struct block inherited[INHERITED];
	for (int i = 0; i < INHERITED; i++)
		inherited[i] = block_new(&forker->random);
	for (unsigned long number = 0; number < forker->forks; number++) {
		uint64_t seed = random_next(&forker->random);
		pid_t pid = fork();
		REQUIRE(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0)
			child(number, inherited, seed);
		use_heap_briefly(seed); /* the parent's heap works on as well */
		reap(pid);
	}
	for (int i = 0; i < INHERITED; i++)
		block_end(&inherited[i]);
	return NULL;
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long forks = argument(count, values, 1, 500);
	unsigned long forkers = argument(count, values, 2, 1);
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());
	REQUIRE(forkers >= 1 && forkers <= MAX_FORKERS, "1 to %d forking threads", MAX_FORKERS);
	printf("%lu forks by each of %lu threads, seed %lu\n", forks, forkers, (unsigned long)seed);
	fflush(stdout);

	static struct churners churners;
	churners_start(&churners, 4, seed);
	struct forker states[MAX_FORKERS];
	for (unsigned long i = 0; i < forkers; i++) {
		states[i].forks = forks;
		states[i].random = seed + i;
		int error = pthread_create(&states[i].thread, NULL, fork_often, &states[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (unsigned long i = 0; i < forkers; i++)
		pthread_join(states[i].thread, NULL);
	churners_stop(&churners);
	return 0;
}

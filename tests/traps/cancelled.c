/*
 * Trap: a thread that is cancelled while the allocator writes a file for it. malloc and free are no
 * cancellation points, whatever is switched on: the thread goes on to where there is one.
 */
#include "trap.h"

#include <pthread.h>
#include <stdatomic.h>

static atomic_bool cancelled;
static atomic_long rounds;

static void *allocate(void *unused)
{
	(void)unused;
	for (long left = 200000; left > 0; left -= cancelled) {
		free(malloc(3 * MIB));
		rounds++;
	}
	return &rounds;
}

int main(void)
{
	pthread_t thread;
	void *result;
	require_allocator();
	int error = pthread_create(&thread, NULL, allocate, NULL);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	while (rounds == 0)
		sched_yield();
	pthread_cancel(thread);
	cancelled = 1;
	pthread_join(thread, &result);
	REQUIRE(result == &rounds, "the thread has ended inside of malloc or free");
	free(malloc(3 * MIB));
	return 0;
}

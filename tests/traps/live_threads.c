/*
 * Trap: 200 threads alive at the same time, on usual and on the smallest stacks. They
 * exchange blocks with their neighbours; then they idle, and an idle thread that took
 * and freed eight sizes up to 4 KB may keep at most 20 KiB, its stack included.
 */
#include "churn.h"

enum { THREADS = 200, ROUNDS = 20, SIZES = 8, IDLE_LIMIT = 20 * 1024 };

static const size_t sizes[SIZES] = {16, 64, 128, 256, 512, 1024, 2048, 4096};
static pthread_barrier_t barrier;

struct member {
	pthread_t thread;
	unsigned number;
	unsigned char *blocks[SIZES];
};

static struct member members[THREADS];

static void take_blocks(struct member *member)
{
	for (int i = 0; i < SIZES; i++) {
		member->blocks[i] = malloc(sizes[i]);
		REQUIRE(member->blocks[i], "malloc(%zu): %s", sizes[i], strerror(errno));
		memset(member->blocks[i], (int)member->number, sizes[i]);
	}
}

static void free_blocks(struct member *member)
{
	for (int i = 0; i < SIZES; i++) {
		bytes_check(member->blocks[i], sizes[i], (unsigned char)member->number);
		free(member->blocks[i]);
	}
}

static void *exchange(void *argument_of_thread)
{
	struct member *member = argument_of_thread;
	for (unsigned round = 0; round < ROUNDS; round++) {
		take_blocks(member);
		pthread_barrier_wait(&barrier);
		free_blocks(&members[(member->number + round) % THREADS]);
		pthread_barrier_wait(&barrier);
	}
	unsigned char *large = malloc(200 * KIB);
	REQUIRE(large, "malloc: %s", strerror(errno));
	memset(large, 1, 200 * KIB);
	free(large);
	return NULL;
}

/* The main thread measures between the two barriers. */
static void *take_free_idle(void *argument_of_thread)
{
	struct member *member = argument_of_thread;
	take_blocks(member);
	free_blocks(member);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void start_all(void *(*function)(void *), size_t stack)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	if (stack)
		pthread_attr_setstacksize(&attributes, stack);
	for (unsigned i = 0; i < THREADS; i++) {
		members[i].number = i;
		int error = pthread_create(&members[i].thread, &attributes, function, &members[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	pthread_attr_destroy(&attributes);
}

static void join_all(void)
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(members[i].thread, NULL);
}

static void measure_idle(void)
{
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	size_t before = resident_bytes();
	start_all(take_free_idle, 0);
	pthread_barrier_wait(&barrier);
	size_t each = (resident_bytes() - before) / THREADS;
	pthread_barrier_wait(&barrier);
	join_all();
	pthread_barrier_destroy(&barrier);
	REQUIRE(each <= IDLE_LIMIT, "an idle thread keeps %zu bytes, more than %d", each, IDLE_LIMIT);
}

int main(void)
{
	require_allocator();
	measure_idle(); /* first: later threads would run on stacks that are resident already */
	pthread_barrier_init(&barrier, NULL, THREADS);
	start_all(exchange, 0);
	join_all();
	start_all(exchange, (size_t)sysconf(_SC_THREAD_STACK_MIN));
	join_all();
	return 0;
}

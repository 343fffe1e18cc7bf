/*
 * Trap: 200 threads alive at the same time, on usual and on the smallest stacks. They
 * exchange blocks with their neighbours; then they idle, and an idle thread that took
 * and freed eight sizes up to 4 KB may keep at most 20 KiB, its stack included.
 */
#include "churn.h"

#include <malloc.h>

#include "size_classes.h"

enum { THREADS = 200, ROUNDS = 20, SIZES = 8, IDLE_LIMIT = 20 * 1024 };

/* The limit has room for a cache of so many classes; each further one takes 24 bytes, rounded up with the others to at
 * most twice as much, in the cache and in what else it has per class. */
enum { CLASSES_WITHIN_LIMIT = 80, BYTES_PER_CLASS = 48 };

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

/* About what the C library allocates for a thread, and clears. */
enum { KERNEL_PAGE = 4096, OF_LIBRARY = 256 };

/* What the profile adds to a block of this size, as far as it becomes resident: what it rounds it up by, and the page that a
 * large object touches in part. */
static size_t added_by_profile(size_t size)
{
	void *block = malloc(size);
	size_t usable = malloc_usable_size(block);
	free(block);
	return usable - size + (usable > KERNEL_PAGE && usable % KERNEL_PAGE != 0 ? KERNEL_PAGE : 0);
}

static size_t idle_limit(void)
{
	size_t limit = IDLE_LIMIT + added_by_profile(OF_LIBRARY);
	for (int i = 0; i < SIZES; i++)
		limit += added_by_profile(sizes[i]);
	return limit +
	       (CLASS_COUNT > CLASSES_WITHIN_LIMIT ? (CLASS_COUNT - CLASSES_WITHIN_LIMIT) * BYTES_PER_CLASS : 0);
}

static void measure_idle(void)
{
	size_t limit = idle_limit();
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	size_t before = resident_bytes();
	start_all(take_free_idle, 0);
	pthread_barrier_wait(&barrier);
	size_t each = (resident_bytes() - before) / THREADS;
	pthread_barrier_wait(&barrier);
	join_all();
	pthread_barrier_destroy(&barrier);
	REQUIRE(each <= limit, "an idle thread keeps %zu bytes, more than %zu", each, limit);
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

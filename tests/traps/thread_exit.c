/*
 * Trap: destructors of thread-specific data that malloc and free, round after round.
 * They run while the thread ends, before and after the allocator has given its cache
 * back, and the keys were made both before and after the allocator made its own.
 *
 *     thread_exit [threads]
 */
#include "churn.h"

#include <limits.h>
#include <malloc.h>

enum { KEYS = 6, GROUP = 8 };

static pthread_key_t keys[KEYS];
static atomic_ulong destructor_calls;

struct value {
	int key;
	int round;
	unsigned char *small, *medium, *large;
};

static unsigned char *filled(size_t size, int key)
{
	unsigned char *bytes = malloc(size);
	REQUIRE(bytes, "malloc(%zu): %s", size, strerror(errno));
	memset(bytes, key, size);
	return bytes;
}

static struct value *new_value(int key, int round)
{
	struct value *value = calloc(1, sizeof *value);
	REQUIRE(value, "calloc: %s", strerror(errno));
	value->key = key;
	value->round = round;
	value->small = filled(40, key);
	value->medium = filled(3000, key);
	value->large = filled(300 * KIB, key);
	return value;
}

static void free_value(struct value *value)
{
	bytes_check(value->small, 40, (unsigned char)value->key);
	bytes_check(value->medium, 3000, (unsigned char)value->key);
	bytes_check(value->large, 300 * KIB, (unsigned char)value->key);
	free(value->small);
	free(value->medium);
	free(value->large);
	free(value);
}

/* Every round but the last sets the key again, so that the C library calls again. */
static void destroy(void *data)
{
	struct value *value = data;
	int key = value->key, round = value->round;
	free_value(value);
	atomic_fetch_add(&destructor_calls, 1);
	if (round + 1 < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(keys[key], new_value(key, round + 1));
}

static void make_key(int key)
{
	int error = pthread_key_create(&keys[key], destroy);
	REQUIRE(error == 0, "pthread_key_create: %s", strerror(error));
}

/* As early as a program can: most likely before the allocator has a key. */
__attribute__((constructor(101))) static void make_early_keys(void)
{
	for (int key = 0; key < KEYS / 2; key++)
		make_key(key);
}

static void *set_values_and_end(void *how)
{
	for (int key = 0; key < KEYS; key++)
		pthread_setspecific(keys[key], new_value(key, 0));
	if (how)
		pthread_exit(NULL);
	return NULL;
}

/* A thread whose first use of the heap is in its destructors. */
static void *only_destructors(void *value)
{
	pthread_setspecific(keys[KEYS - 1], value);
	return NULL;
}

static void run_group(void)
{
	pthread_t threads[GROUP];
	for (int i = 0; i < GROUP; i++) {
		bool late = i == GROUP - 1;
		void *value = late ? (void *)new_value(KEYS - 1, 0) : (void *)(uintptr_t)(i % 2);
		int error = pthread_create(&threads[i], NULL, late ? only_destructors : set_values_and_end, value);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < GROUP; i++)
		pthread_join(threads[i], NULL);
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long threads = argument(count, values, 1, 2000);
	free(malloc(100)); /* the allocator is at work before the late keys are made */
	for (int key = KEYS / 2; key < KEYS; key++)
		make_key(key);
	unsigned long groups = threads / GROUP, early_groups = groups / 5;
	for (unsigned long i = 0; i < early_groups; i++)
		run_group();
	malloc_trim(0); /* what stays is kept by threads that are no more */
	size_t before = resident_bytes();
	for (unsigned long i = early_groups; i < groups; i++)
		run_group();
	malloc_trim(0);
	size_t after = resident_bytes();

	unsigned long wanted = groups * PTHREAD_DESTRUCTOR_ITERATIONS * ((GROUP - 1) * KEYS + 1);
	REQUIRE(atomic_load(&destructor_calls) == wanted, "%lu calls of destructors, not %lu",
		atomic_load(&destructor_calls), wanted);
	REQUIRE(after < before + 1 * MIB, "%lu ended threads made %zu KiB of %zu KiB resident", threads, after / KIB,
		before / KIB);
	return 0;
}

/*
 * Threads that have used the allocator and then wait: what its caches go on holding for them. Usage: idle THREADS
 *
 * Each thread takes 2000 objects of 16 bytes to 8 KiB, as many of each doubling, writes to them, frees them, and waits. When
 * all wait, prints how many bytes are in the allocator's caches, by its own malloc_info, and how many KiB are resident.
 */
#include "measure.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS         2000
#define DOUBLINGS       9
#define SMALLEST        16
#define STACK_BYTES     (64 << 10)
#define MAXIMUM_THREADS 10000

static pthread_barrier_t have_used;
static pthread_barrier_t may_end;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void use(uint64_t seed)
{
	static __thread char *objects[OBJECTS];
	for (int i = 0; i < OBJECTS; i++) {
		size_t smallest = (size_t)SMALLEST << next_random(&seed) % DOUBLINGS;
		size_t size = smallest + next_random(&seed) % smallest;
		if ((objects[i] = malloc(size)) == NULL)
			fail("out of memory");
		memset(objects[i], 1, size);
	}
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
}

static void *body(void *argument)
{
	use((uintptr_t)argument * 0x9e3779b97f4a7c15u);
	pthread_barrier_wait(&have_used);
	pthread_barrier_wait(&may_end);
	return NULL;
}

/* Of tiermalloc; another allocator has no such line, and the answer is 0. */
static size_t cached_bytes(void)
{
	static char text[65536];
	FILE *stream = fmemopen(text, sizeof text, "w");
	const char *line;
	if (stream == NULL)
		fail("fmemopen");
	malloc_info(0, stream);
	fclose(stream);
	line = strstr(text, "type=\"cached\" size=\"");
	return line == NULL ? 0 : strtoull(strchr(line + 7, '"') + 8, NULL, 10);
}

int main(int count, char **arguments)
{
	long threads = count == 2 ? atol(arguments[1]) : 0;
	pthread_attr_t attributes;
	pthread_t thread;
	if (threads < 1 || threads > MAXIMUM_THREADS) {
		fprintf(stderr, "usage: idle THREADS\n");
		return 2;
	}
	print_allocator();
	pthread_barrier_init(&have_used, NULL, (unsigned)threads + 1);
	pthread_barrier_init(&may_end, NULL, (unsigned)threads + 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	for (long i = 1; i <= threads; i++)
		if (pthread_create(&thread, &attributes, body, (void *)i) != 0)
			fail("cannot create a thread");
	pthread_barrier_wait(&have_used);
	printf("cached_bytes %zu\nresident_kib %lu\n", cached_bytes(), (unsigned long)resident_kib());
	pthread_barrier_wait(&may_end);
	return 0;
}

/*
 * Trap: ten thousand threads come and go. What a thread leaves behind must come back
 * into use: neither resident memory nor address space nor mappings may grow with the
 * number of threads that have been.
 *
 *     short_threads [threads] [seed]
 */
#include "churn.h"

#include <malloc.h>

enum { GROUP = 16, LEFT = 4 };

static const size_t sizes[] = {16, 48, 100, 256, 700, 1024, 2500, 4096, 40000, 300000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

struct life {
	pthread_t thread;
	void *left[LEFT]; /* blocks that outlive the thread */
};

static void *live_and_die(void *argument_of_thread)
{
	struct life *life = argument_of_thread;
	void *blocks[SIZES];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SIZES; i++) {
			blocks[i] = malloc(sizes[i]);
			REQUIRE(blocks[i], "malloc(%zu): %s", sizes[i], strerror(errno));
			memset(blocks[i], round, sizes[i] < 4096 ? sizes[i] : 4096);
		}
		for (int i = 0; i < SIZES; i++)
			free(blocks[i]);
	}
	for (int i = 0; i < LEFT; i++)
		life->left[i] = malloc(sizes[i * 2]);
	return NULL;
}

static void run_group(struct life *lives)
{
	for (int i = 0; i < GROUP; i++) {
		int error = pthread_create(&lives[i].thread, NULL, live_and_die, &lives[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < GROUP; i++) {
		pthread_join(lives[i].thread, NULL);
		for (int j = 0; j < LEFT; j++)
			free(lives[i].left[j]);
	}
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long threads = argument(count, values, 1, 10000);
	static struct life lives[GROUP];
	unsigned long done = 0;
	for (; done < threads / 5; done += GROUP)
		run_group(lives);
	malloc_trim(0); /* free pages may be kept; what threads left behind may not */
	size_t resident = resident_bytes(), space = address_space_bytes(), mappings = mapping_count();
	for (; done < threads; done += GROUP)
		run_group(lives);
	malloc_trim(0);
	size_t resident_now = resident_bytes();
	/* 512 KiB over 8000 threads: a leak of one 64-byte object per thread shows. */
	REQUIRE(resident_now < resident + 512 * KIB, "resident: %zu KiB after a fifth, %zu at the end", resident / KIB,
		resident_now / KIB);
	REQUIRE(address_space_bytes() < space + 64 * MIB, "address space: %zu KiB, then %zu", space / KIB,
		address_space_bytes() / KIB);
	REQUIRE(mapping_count() < mappings + 100, "mappings: %zu, then %zu", mappings, mapping_count());
	return 0;
}

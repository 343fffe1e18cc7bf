/*
 * Trap: what fits under the hard limit is had, whatever another thread is doing: giving memory back, which
 * takes the kernel a while, or letting realloc move a large block. Runs under a hard limit of 200 MiB, or 150 for the latter.
 *
 *     limits_beside release|move [rounds]
 */
#include "trap.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

enum { LIVE = 100, FREED = 60, WANTED = 80, MOVED = 70, SMALL = 3 };

static atomic_bool may_take;
static atomic_bool ended;

/* 100 MiB are live, 60 are being given back: 80 fit. */
static void *take_after_free(void *unused)
{
	while (!ended) {
		if (!may_take)
			continue;
		void *volatile block = malloc(WANTED * MIB);
		REQUIRE(block, "malloc of %d MiB under a limit of 200, with %d in use", WANTED, LIVE);
		free(block);
		may_take = 0;
	}
	return unused;
}

static void *take_small(void *unused)
{
	while (!ended) {
		void *volatile block = malloc(SMALL * MIB);
		REQUIRE(block, "malloc of %d MiB under a limit of 150, with %d in use", SMALL, MOVED + 2 * SMALL);
		free(block);
	}
	return unused;
}

static void give_back_beside(long rounds)
{
	char *live = malloc(LIVE * MIB);
	REQUIRE(live, "malloc: %s", strerror(errno));
	memset(live, 1, LIVE * MIB);
	for (long i = 0; i < rounds; i++) {
		char *volatile block = malloc(FREED * MIB);
		REQUIRE(block, "malloc: %s", strerror(errno));
		memset(block, 1, FREED * MIB);
		free(block);
		may_take = 1;
		malloc_trim(0);
		while (may_take)
			;
	}
	free(live);
}

/* The block behind it keeps the first one from growing where it is. */
static void move_beside(long rounds)
{
	for (long i = 0; i < rounds; i++) {
		char *volatile first = malloc(MOVED * MIB);
		REQUIRE(first, "malloc: %s", strerror(errno));
		memset(first, 1, MOVED * MIB);
		char *volatile behind = malloc(SMALL * MIB);
		char *volatile moved = realloc(first, (MOVED + SMALL) * MIB);
		REQUIRE(behind && moved, "%s", strerror(errno));
		free(moved);
		free(behind);
	}
}

int main(int argc, char **argv)
{
	require_allocator();
	int moving = argc > 1 && strcmp(argv[1], "move") == 0;
	long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 20;
	pthread_t thread;
	int error = pthread_create(&thread, NULL, moving ? take_small : take_after_free, NULL);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	(moving ? move_beside : give_back_beside)(rounds);
	ended = 1;
	pthread_join(thread, NULL);
	return 0;
}

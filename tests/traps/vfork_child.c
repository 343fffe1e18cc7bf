/*
 * Trap: vfork. The child runs in the parent's memory and with its thread-local storage, but to the kernel it is another
 * thread, whose CPU nobody writes where the parent's stands. It may allocate, free, and vfork or fork itself; programs do.
 *
 *     vfork_child loop [children] [seed]    while other threads allocate as fast as they can
 *     vfork_child alone                     the child does not touch the CPUs' caches, the parent does so again afterwards
 *     vfork_child destructor                the first of it in a destructor that runs after the allocator's own
 *     vfork_child fork                      the child forks; the grandchild has threads
 */
#include "churn.h"
#include "report.h"

enum { THREADS = 4 };

static struct report report;

static void use_much(uint64_t seed)
{
	void *blocks[64];

	use_heap_briefly(seed);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 64; i++) {
			blocks[i] = malloc(16 + (size_t)i % 4 * 16);
			REQUIRE(blocks[i], "malloc: %s", strerror(errno));
			memset(blocks[i], round, 16);
		}
		for (int i = 0; i < 64; i++) {
			bytes_check(blocks[i], 16, (unsigned char)round);
			free(blocks[i]);
		}
	}
}

/* In a function of its own each, which the child does not leave. */
__attribute__((noinline)) static pid_t child_that(void (*act)(uint64_t), uint64_t value)
{
	pid_t child = vfork();

	REQUIRE(child >= 0, "vfork: %s", strerror(errno));
	if (child == 0) {
		act(value);
		_exit(0);
	}
	return child;
}

static void execute_true(uint64_t seed)
{
	use_much(seed);
	execl("/bin/true", "true", (char *)NULL);
	FAIL("/bin/true: %s", strerror(errno));
}

static void execute_nothing(uint64_t seed)
{
	void *block = malloc(200);

	REQUIRE(block, "malloc: %s", strerror(errno));
	execl("/nonexistent/program", "program", (char *)NULL);
	free(block);
	use_much(seed);
}

static void nest(uint64_t seed)
{
	use_much(seed);
	reap(child_that(use_much, seed + 1));
	use_much(seed + 2);
}

static void run_loop(unsigned long children, uint64_t seed)
{
	static void (*const acts[])(uint64_t) = {use_much, execute_true, execute_nothing, nest};
	static struct churners churners;
	size_t before;

	churners_start(&churners, THREADS, seed);
	for (unsigned long i = 0; i < children; i++) {
		reap(child_that(acts[i % 4], seed + i));
		/* On the parent's fast paths again. */
		use_much(seed + i);
	}
	churners_stop(&churners);
	before = bytes_in_use();
	use_much(seed);
	REQUIRE(bytes_in_use() == before, "%zu bytes in use, and then %zu", before, bytes_in_use());
}

static size_t cached(void)
{
	report_read(&report);
	return report_bytes(&report, "cached");
}

static void use_and_look(uint64_t unused)
{
	(void)unused;
	use_much(7);
	REQUIRE(cached() == 0, "the child has put %zu bytes into caches", cached());
}

static void leave_caches_alone(void)
{
	use_much(5);
	malloc_trim(0);
	REQUIRE(cached() == 0, "%zu bytes in caches after malloc_trim", cached());
	for (int i = 0; i < 10; i++) {
		reap(child_that(use_and_look, 0));
		REQUIRE(cached() == 0, "%zu bytes in caches after the child", cached());
	}
}

static void go_on_with_caches(void)
{
	for (int i = 0; i < 10; i++) {
		use_much(6);
		REQUIRE(cached() != 0, "the parent does not use the caches any more");
		reap(child_that(use_much, 0));
		malloc_trim(0);
	}
}

static pthread_key_t key;

static void on_exit_of_thread(void *unused)
{
	(void)unused;
	leave_caches_alone();
}

static void *end_with_destructor(void *unused)
{
	free(malloc(100));
	pthread_setspecific(key, &key);
	return unused;
}

/* The allocator's key is older: destructors are called in the order of the keys. */
static void run_destructor(void)
{
	pthread_t thread;

	REQUIRE(pthread_key_create(&key, on_exit_of_thread) == 0, "pthread_key_create");
	REQUIRE(pthread_create(&thread, NULL, end_with_destructor, NULL) == 0, "pthread_create");
	pthread_join(thread, NULL);
}

static void fork_with_threads(uint64_t seed)
{
	static struct churners churners;
	pid_t child = fork();

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child != 0) {
		reap(child);
		return;
	}
	churners_start(&churners, THREADS, seed);
	for (uint64_t i = 0; i < 200; i++)
		use_much(seed + i);
	churners_stop(&churners);
	_exit(0);
}

int main(int count, char **values)
{
	const char *part = count > 1 ? values[1] : "";
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());

	require_allocator();
	if (strcmp(part, "loop") == 0) {
		printf("seed %lu\n", (unsigned long)seed);
		fflush(stdout);
		run_loop(argument(count, values, 2, 200), seed);
		return 0;
	}
	require_cpus_or_skip();
	if (strcmp(part, "alone") == 0) {
		leave_caches_alone();
		go_on_with_caches();
	} else if (strcmp(part, "destructor") == 0)
		run_destructor();
	else if (strcmp(part, "fork") == 0)
		reap(child_that(fork_with_threads, seed));
	else
		FAIL("no part \"%s\"", part);
	return 0;
}

/*
 * Trap: fork against stdio. libc's fork takes stdio's list lock after the prepare
 * handlers have run. A thread inside fflush(NULL) holds that lock and waits for a
 * FILE; the FILE is held by a thread that waits for malloc; and malloc's locks are
 * held by the prepare handler. An allocator that does not take the list lock first
 * closes this circle, and the process stands still.
 *
 *     fork_stdio KIND [forks] [seed]      KIND: files, lines, streams, pipes
 */
#include "churn.h"

#include <sched.h>

enum { WORKERS = 3, LINES = 40 };

typedef void work(uint64_t *random);

static atomic_bool stop;
static FILE *shared_lines;

/* fopen and fclose link and unlink under the list lock; the first output makes the
 * buffer under the FILE's lock. */
static void work_files(uint64_t *random)
{
	FILE *file = fopen("/dev/null", "w");
	REQUIRE(file, "fopen: %s", strerror(errno));
	static char buffer[64 * KIB];
	if (random_next(random) % 2)
		setvbuf(file, NULL, _IOFBF, sizeof buffer);
	fprintf(file, "%*d\n", (int)(random_next(random) % 5000), 1);
	fclose(file);
}

/* getline mallocs and reallocs under the FILE's lock, and the FILE is shared. */
static void work_lines(uint64_t *random)
{
	char *line = NULL;
	size_t room = 0;
	for (uint64_t i = random_next(random) % LINES; i > 0; i--)
		if (getline(&line, &room, shared_lines) < 0)
			rewind(shared_lines);
	free(line);
}

/* A memory stream grows by malloc under its FILE's lock. */
static void work_streams(uint64_t *random)
{
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	REQUIRE(stream, "open_memstream: %s", strerror(errno));
	size_t wanted = 0;
	for (int i = 0; i < 8; i++) {
		int width = 1 + (int)(random_next(random) % 20000);
		fprintf(stream, "%*d", width, 1);
		wanted += (size_t)width;
	}
	fclose(stream);
	REQUIRE(length == wanted, "the stream holds %zu bytes, not %zu", length, wanted);
	free(text);
}

static void work_pipes(uint64_t *random)
{
	FILE *pipe = popen("echo a line from a child", "r");
	REQUIRE(pipe, "popen: %s", strerror(errno));
	char *line = NULL;
	size_t room = 0;
	REQUIRE(getline(&line, &room, pipe) == 20, "the child's line is not whole");
	free(line);
	REQUIRE(pclose(pipe) == 0, "pclose: %s", strerror(errno));
	work_files(random);
}

struct worker {
	pthread_t thread;
	work *work;
	uint64_t random;
};

static void *worker_thread(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		worker->work(&worker->random);
	return NULL;
}

static void *flush_thread(void *unused)
{
	(void)unused;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		fflush(NULL);
		sched_yield();
	}
	return NULL;
}

static void child(uint64_t seed)
{
	use_heap_briefly(seed);
	work_streams(&seed);
	work_files(&seed);
	_exit(0);
}

static FILE *make_lines(void)
{
	FILE *file = tmpfile();
	REQUIRE(file, "tmpfile: %s", strerror(errno));
	for (int i = 0; i < LINES; i++)
		fprintf(file, "%*d\n", i * 500 + 1, i);
	rewind(file);
	return file;
}

static work *work_named(const char *name)
{
	if (strcmp(name, "files") == 0)
		return work_files;
	if (strcmp(name, "lines") == 0)
		return work_lines;
	if (strcmp(name, "streams") == 0)
		return work_streams;
	REQUIRE(strcmp(name, "pipes") == 0, "unknown kind %s", name);
	return work_pipes;
}

static void start(pthread_t *thread, void *(*function)(void *), void *value)
{
	int error = pthread_create(thread, NULL, function, value);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(count > 1, "which kind? files, lines, streams or pipes");
	unsigned long forks = argument(count, values, 2, 300);
	uint64_t seed = argument(count, values, 3, (unsigned long)getpid());
	printf("%lu forks against %s, seed %lu\n", forks, values[1], (unsigned long)seed);
	fflush(stdout);

	shared_lines = make_lines();
	struct worker workers[WORKERS];
	for (int i = 0; i < WORKERS; i++) {
		workers[i].work = work_named(values[1]);
		workers[i].random = seed + (uint64_t)i;
		start(&workers[i].thread, worker_thread, &workers[i]);
	}
	pthread_t flusher;
	start(&flusher, flush_thread, NULL);
	for (unsigned long i = 0; i < forks; i++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0)
			child(seed + i);
		reap(pid);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_join(flusher, NULL);
	fclose(shared_lines);
	return 0;
}

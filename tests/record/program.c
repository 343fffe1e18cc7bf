/*
 * A program that is recorded: does what its first argument says. What it allocates for the test is 1234 bytes large (or as
 * named below), which nothing else in the process is, or hardly anything; the driver looks at these rows of the file.
 *
 *     program ACTION [number]
 */
#include "../traps/churn.h"
#include "../traps/timers.h"

#include <sched.h>
#include <sys/resource.h>

enum { SIZE = 1234, SIZE_OF_CHILD = 4321, SIZE_IN_HANDLER = 2345, SIZE_IN_DESTRUCTOR = 3456 };
enum { LARGE = 5000000, LARGEST = 400000000 };

static void use(unsigned long times, size_t size)
{
	for (unsigned long i = 0; i < times; i++) {
		unsigned char *block = malloc(size);

		REQUIRE(block, "malloc(%zu): %s", size, strerror(errno));
		block[0] = block[size - 1] = 1;
		free(block);
	}
}

/* Ends of the process. All leave one block live. */
static void *kept;

static void end_by(const char *how)
{
	use(10, SIZE);
	kept = malloc(SIZE);
	if (strcmp(how, "exit") == 0)
		exit(3);
	if (strcmp(how, "quick_exit") == 0)
		quick_exit(3);
	if (strcmp(how, "_exit") == 0)
		_exit(3);
	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "twice") == 0) {
		free(kept);
		free(kept);
	}
}

/* Allocates until a file of the period should be there. */
static void run_for_period(unsigned long milliseconds)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		kept = realloc(kept, SIZE);
		use(1000, SIZE);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((unsigned long)(now.tv_sec - start.tv_sec) * 1000 + (unsigned long)(now.tv_nsec / 1000000) -
			 (unsigned long)(start.tv_nsec / 1000000) <
		 milliseconds);
	_exit(0);
}

static void fork_child(void)
{
	pid_t child;

	kept = malloc(SIZE);
	use(7, SIZE);
	child = fork();
	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		use(5, SIZE_OF_CHILD);
		/* Not counted in the child: it was allocated before. */
		free(kept);
		exit(0);
	}
	reap(child);
	printf("%d\n", (int)child);
}

/* By the kernel's call alone. */
static void clone_child(void)
{
	pid_t child;

	use(8, SIZE);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	REQUIRE(child >= 0, "clone: %s", strerror(errno));
	if (child == 0) {
		use(5, SIZE_OF_CHILD);
		exit(0);
	}
	reap(child);
	printf("%d\n", (int)child);
}

/* Children are forked while other threads allocate; each writes its file. */
static void fork_many(unsigned long forks)
{
	static struct churners churners;

	churners_start(&churners, 3, 1);
	for (unsigned long i = 0; i < forks; i++) {
		pid_t child = fork();

		REQUIRE(child >= 0, "fork: %s", strerror(errno));
		if (child == 0) {
			use_heap_briefly(i);
			use(5, LARGE);
			/* More than all else: the peak. */
			kept = malloc(LARGEST);
			exit(0);
		}
		reap(child);
	}
	churners_stop(&churners);
}

static void execute(char *program)
{
	use(3, SIZE);
	execl(program, "another-name", "end", "exit", (char *)NULL);
	FAIL("execl: %s", strerror(errno));
}

static void *use_in_thread(void *number)
{
	use(*(unsigned long *)number, SIZE);
	return NULL;
}

/* Threads that come and go, two at a time. Prints by how many bytes the address space has grown since the first ten. */
static void run_threads(unsigned long count)
{
	unsigned long number = 10;
	size_t before = 0;

	for (unsigned long i = 0; i < count; i += 2) {
		pthread_t threads[2];

		for (int j = 0; j < 2; j++)
			REQUIRE(pthread_create(&threads[j], NULL, use_in_thread, &number) == 0, "pthread_create");
		for (int j = 0; j < 2; j++)
			pthread_join(threads[j], NULL);
		if (i == 10)
			before = address_space_bytes();
	}
	printf("%zu\n", address_space_bytes() - before);
}

/*
 * Destructors of threads run after the library's own, which is the first, and again and again for values that they set: glibc
 * gives up after the fourth time, and the last block is lost.
 */
static pthread_key_t keys[3];

static void destroy(void *block)
{
	free(block);
	use(2, SIZE_IN_DESTRUCTOR);
}

static void destroy_again(void *block)
{
	destroy(block);
	pthread_setspecific(keys[0], malloc(SIZE_IN_DESTRUCTOR));
}

static void *thread_with_destructors(void *unused)
{
	for (int i = 0; i < 3; i++)
		pthread_setspecific(keys[i], malloc(SIZE_IN_DESTRUCTOR));
	return unused;
}

static void run_destructors(unsigned long threads)
{
	for (int i = 0; i < 3; i++)
		REQUIRE(pthread_key_create(&keys[i], i == 0 ? destroy_again : destroy) == 0, "pthread_key_create");
	for (unsigned long i = 0; i < threads; i++) {
		pthread_t thread;

		REQUIRE(pthread_create(&thread, NULL, thread_with_destructors, NULL) == 0, "pthread_create");
		pthread_join(thread, NULL);
	}
}

/* One that keeps its block, in another size. */
static void *resized[1000];
static size_t resized_count;

static void resize_and_keep(void *block)
{
	resized[resized_count++] = realloc(block, 2 * SIZE_IN_DESTRUCTOR);
}

static void *thread_that_keeps(void *unused)
{
	pthread_setspecific(keys[0], malloc(SIZE_IN_DESTRUCTOR));
	return unused;
}

static void resize_in_destructors(unsigned long threads)
{
	size_t before = 0;

	REQUIRE(pthread_key_create(&keys[0], resize_and_keep) == 0, "pthread_key_create");
	for (unsigned long i = 0; i < threads; i++) {
		pthread_t thread;

		REQUIRE(pthread_create(&thread, NULL, thread_that_keeps, NULL) == 0, "pthread_create");
		pthread_join(thread, NULL);
		if (i == 10)
			before = address_space_bytes();
	}
	printf("%zu\n", address_space_bytes() - before);
}

/* Starts with one signal, writes with the next. What is used before, between and after differs in number. */
static void toggle(unsigned long rounds)
{
	use(100, SIZE);
	for (unsigned long i = 0; i < rounds; i++) {
		raise(SIGUSR1);
		use(10 + i, SIZE);
		raise(SIGUSR1);
		use(1000, SIZE);
	}
}

struct target {
	struct churn churn;
	timer_t timer;
	unsigned long handled;
};
static struct target target;

static void on_timer(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)number, (void)info, (void)context;
	raise(SIGUSR1);
	target.handled++;
	timer_shoot(target.timer, 30000);
	errno = saved;
}

/* Allocates until so many signals have been handled. */
static void churn_under_signals(void (*handler)(int, siginfo_t *, void *), unsigned long signals)
{
	handle_signal(SIGUSR2, handler);
	target.timer = timer_for_this_thread(SIGUSR2, NULL);
	timer_shoot(target.timer, 30000);
	while (__atomic_load_n(&target.handled, __ATOMIC_RELAXED) < signals)
		churn_step(&target.churn);
	timer_delete(target.timer);
	block_signal(SIG_BLOCK, SIGUSR2);
	churn_end(&target.churn);
}

/* The signal hits a thread that does nothing but allocate, wherever it is. */
static void toggle_fast(unsigned long signals)
{
	static struct churners churners;

	churners_start(&churners, 1, 1);
	churn_under_signals(on_timer, signals);
	churners_stop(&churners);
	/* Whatever it is that they have left: off, and then once more in peace. */
	use(1, SIZE);
	int (*stop)(void);
	*(void **)&stop = dlsym(RTLD_DEFAULT, "tiermalloc_record_stop");
	REQUIRE(stop, "there is no tiermalloc_record_stop");
	stop();
	toggle(1);
}

static void allocate_on_timer(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)number, (void)info, (void)context;
	use(1, SIZE_IN_HANDLER);
	target.handled++;
	timer_shoot(target.timer, 30000);
	errno = saved;
}

/* A handler that allocates and frees, in a thread that is recorded. */
static void allocate_in_handler(unsigned long signals)
{
	churn_under_signals(allocate_on_timer, signals);
}

/* Writing more than a few KiB fails from now on, with an error instead of a signal. */
static void limit_files(void)
{
	static const struct rlimit limit = {4096, 4096};

	for (size_t size = 8; size < 8000; size += 8)
		free(malloc(size));
	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit: %s", strerror(errno));
	exit(3);
}

/* Own handlers are not replaced: installed before the library starts. */
static volatile sig_atomic_t own_signals;

static void on_own_signal(int number)
{
	own_signals += number == SIGUSR1;
}

static void install_early(int count, char **values, char **environment)
{
	(void)environment;
	if (count > 1 && strcmp(values[1], "own-handler") == 0)
		signal(SIGUSR1, on_own_signal);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit_install)(int, char **, char **) = install_early;

static void raise_own(void)
{
	raise(SIGUSR1);
	use(10, SIZE);
	raise(SIGUSR1);
	REQUIRE(own_signals == 2, "%d signals came to the program's own handler", (int)own_signals);
}

int main(int count, char **values)
{
	const char *action = count > 1 ? values[1] : "";
	unsigned long number = argument(count, values, 2, 0);

	require_allocator();
	if (strcmp(action, "end") == 0)
		end_by(values[2]);
	else if (strcmp(action, "period") == 0)
		run_for_period(number);
	else if (strcmp(action, "fork") == 0)
		fork_child();
	else if (strcmp(action, "fork-many") == 0)
		fork_many(number);
	else if (strcmp(action, "exec") == 0)
		execute(values[0]);
	else if (strcmp(action, "threads") == 0)
		run_threads(number);
	else if (strcmp(action, "destructors") == 0)
		run_destructors(number);
	else if (strcmp(action, "resize-in-destructors") == 0)
		resize_in_destructors(number);
	else if (strcmp(action, "clone") == 0)
		clone_child();
	else if (strcmp(action, "toggle") == 0)
		toggle(number);
	else if (strcmp(action, "toggle-fast") == 0)
		toggle_fast(number);
	else if (strcmp(action, "handler") == 0)
		allocate_in_handler(number);
	else if (strcmp(action, "limit-files") == 0)
		limit_files();
	else if (strcmp(action, "own-handler") == 0)
		raise_own();
	else
		FAIL("unknown action \"%s\"", action);
	return 0;
}

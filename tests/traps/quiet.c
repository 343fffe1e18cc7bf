/*
 * Trap: a library that is only there. It starts no thread, leaves no descriptor open,
 * changes no signal's handling, prints nothing. (That nothing is printed is for the
 * driver to see; this program prints nothing either, unless something is wrong.)
 *
 *     quiet [closed]    closed: descriptors 0, 1 and 2 were closed at the start
 */
#include "churn.h"

#include <sched.h>
#include <time.h>

/* Entries of a directory of /proc, without opendir: that would allocate. */
static int entry_count(const char *path)
{
	struct entry {
		uint64_t inode;
		int64_t offset;
		unsigned short length;
		unsigned char type;
		char name[];
	};
	int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	REQUIRE(descriptor >= 0, "cannot open %s: %s", path, strerror(errno));
	_Alignas(struct entry) char buffer[4096];
	int entries = 0;
	long got;
	while ((got = syscall(SYS_getdents64, descriptor, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->length)
			entries += ((struct entry *)(buffer + at))->name[0] != '.';
	close(descriptor);
	return entries;
}

static void check_descriptors(int wanted)
{
	int open_ones = entry_count("/proc/self/fd") - 1; /* but for the directory's own */
	REQUIRE(open_ones == wanted, "%d descriptors are open, not %d", open_ones, wanted);
}

/* The kernel may list a joined thread for a moment: wait until it is off the list. */
static void check_tasks(void)
{
	time_t end = time(NULL) + HANG_LIMIT_SECONDS;
	int tasks;
	while ((tasks = entry_count("/proc/self/task")) > 1 && time(NULL) < end)
		sched_yield();
	REQUIRE(tasks == 1, "%d threads run, not 1", tasks);
}

static void check_signals(void)
{
	sigset_t blocked;
	REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0, "pthread_sigmask failed");
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		REQUIRE(sigismember(&blocked, number) != 1, "signal %d is blocked", number);
		if (sigaction(number, NULL, &action) == 0)
			REQUIRE(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN, "signal %d has a handler",
				number);
	}
}

static void check(int descriptors)
{
	check_descriptors(descriptors);
	check_tasks();
	check_signals();
}

int main(int count, char **values)
{
	int descriptors = count > 1 && strcmp(values[1], "closed") == 0 ? 0 : 3;
	require_allocator();
	check(descriptors);
	use_heap_briefly(1);
	check(descriptors);
	static struct churners churners;
	churners_start(&churners, 4, 2);
	use_heap_briefly(2);
	churners_stop(&churners);
	check(descriptors);
	pid_t pid = fork();
	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		use_heap_briefly(3);
		check(descriptors);
		_exit(0);
	}
	reap(pid);
	check(descriptors);
	return 0;
}

/*
 * Trap: vfork, posix_spawn and system while other threads allocate. The child of vfork
 * runs in the parent's memory, so the heap must be untouched by it.
 *
 *     spawn [rounds] [seed]
 */
#include "churn.h"

#include <spawn.h>

extern char **environ;

static char program[] = "/bin/sh", option[] = "-c", script[] = "exit 0";

static void by_vfork(void)
{
	char **arguments = malloc(4 * sizeof *arguments);
	REQUIRE(arguments, "malloc: %s", strerror(errno));
	arguments[0] = program, arguments[1] = option, arguments[2] = script, arguments[3] = NULL;
	pid_t pid = vfork();
	REQUIRE(pid >= 0, "vfork: %s", strerror(errno));
	if (pid == 0) {
		execve(program, arguments, environ);
		_exit(127);
	}
	free(arguments);
	reap(pid);
}

static void by_vfork_without_exec(void)
{
	pid_t pid = vfork();
	REQUIRE(pid >= 0, "vfork: %s", strerror(errno));
	if (pid == 0)
		_exit(0);
	reap(pid);
}

static void by_spawn(void)
{
	char *arguments[] = {program, option, script, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	pid_t pid;
	int error = posix_spawn(&pid, program, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	REQUIRE(error == 0, "posix_spawn: %s", strerror(error));
	reap(pid);
}

int main(int count, char **values)
{
	require_allocator();
	unsigned long rounds = argument(count, values, 1, 100);
	uint64_t seed = argument(count, values, 2, (unsigned long)getpid());
	printf("%lu rounds, seed %lu\n", rounds, (unsigned long)seed);
	fflush(stdout);
	static struct churners churners;
	churners_start(&churners, 3, seed);
	for (unsigned long i = 0; i < rounds; i++) {
		by_vfork();
		by_vfork_without_exec();
		by_spawn();
		int status = system("exit 3");
		REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 3, "system gave status %d", status);
		use_heap_briefly(seed + i);
	}
	churners_stop(&churners);
	return 0;
}

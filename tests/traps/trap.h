/*
 * What the trap programs share: failing with a message, looking at the own
 * process through /proc, waiting for children with a hang limit, random numbers.
 *
 * Nothing here allocates, so that a measurement does not change what it measures
 * and a child of fork can report even when its heap is locked for good.
 * Usable from C11 and C++17.
 */
#ifndef TRAPS_TRAP_H
#define TRAPS_TRAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* A child that has not ended after this long is taken for hung. Generous: the
 * machine may be busy, and a child needs a few milliseconds. */
#define HANG_LIMIT_SECONDS 60

__attribute__((noreturn, format(printf, 3, 4))) static inline void trap_fail(const char *file, int line,
									     const char *format, ...)
{
	char text[512];
	const char *slash = strrchr(file, '/');
	int length = snprintf(text, sizeof text, "%s:%d: ", slash ? slash + 1 : file, line);
	va_list arguments;
	va_start(arguments, format);
	length += vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof text - 1)
		length = (int)sizeof text - 1;
	text[length] = '\n';
	/* Not dprintf, which allocates a buffer. */
	if (write(STDERR_FILENO, text, (size_t)length + 1) < 0)
		_exit(2);
	_exit(1);
}

#define FAIL(...) trap_fail(__FILE__, __LINE__, __VA_ARGS__)
#define REQUIRE(condition, ...)                                                                                        \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			FAIL(__VA_ARGS__);                                                                             \
	} while (0)

static inline const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The file that an address comes from, "?" if unknown. */
static inline const char *file_of(const void *address)
{
	Dl_info info;
	if (!address || !dladdr(address, &info) || !info.dli_fname)
		return "?";
	return base_name(info.dli_fname);
}

/* A trap that runs on the wrong malloc proves nothing. Versions after ".so" differ
 * between a soname and a file, hence the comparison up to there. */
static inline void require_allocator(void)
{
	const char *wanted = getenv("TIERMALLOC_SHARED");
	if (!wanted)
		return;
	wanted = base_name(wanted);
	const char *end = strstr(wanted, ".so");
	REQUIRE(end, "TIERMALLOC_SHARED names no shared object: %s", wanted);
	const char *found = file_of(dlsym(RTLD_DEFAULT, "malloc"));
	REQUIRE(strncmp(found, wanted, (size_t)(end - wanted) + 3) == 0, "malloc comes from %s, not from %s", found,
		wanted);
}

/* A number from the command line. */
static inline unsigned long argument(int count, char **values, int index, unsigned long otherwise)
{
	return index < count ? strtoul(values[index], NULL, 10) : otherwise;
}

/* splitmix64: small, good enough, and seeded per thread. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t value = (*state += 0x9e3779b97f4a7c15u);
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

/* The number after "key:" in a file of /proc, in that file's unit. */
static inline size_t proc_number(const char *file, const char *key)
{
	char text[4096];
	int descriptor = open(file, O_RDONLY | O_CLOEXEC);
	REQUIRE(descriptor >= 0, "cannot open %s: %s", file, strerror(errno));
	size_t length = 0;
	ssize_t got;
	while ((got = read(descriptor, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	close(descriptor);
	text[length] = 0;
	const char *line = strstr(text, key);
	REQUIRE(line, "no %s in %s", key, file);
	return strtoul(line + strlen(key), NULL, 10);
}

/* Resident bytes. smaps_rollup counts page by page; the counters behind status may
 * lag by hundreds of KiB, and serve only where the kernel has no smaps_rollup. */
static inline size_t resident_bytes(void)
{
	if (access("/proc/self/smaps_rollup", R_OK) == 0)
		return proc_number("/proc/self/smaps_rollup", "\nRss:") * KIB;
	return proc_number("/proc/self/status", "\nVmRSS:") * KIB;
}

static inline size_t address_space_bytes(void)
{
	return proc_number("/proc/self/status", "\nVmSize:") * KIB;
}

static inline size_t mapping_count(void)
{
	static char text[65536];
	int descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	REQUIRE(descriptor >= 0, "cannot open /proc/self/maps: %s", strerror(errno));
	size_t lines = 0;
	ssize_t got;
	while ((got = read(descriptor, text, sizeof text)) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += text[i] == '\n';
	close(descriptor);
	return lines;
}

/* Room for the test's own tables, apart from the heap under test. */
static inline void *map_room(size_t bytes)
{
	void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(room != MAP_FAILED, "mmap of %zu bytes: %s", bytes, strerror(errno));
	return room;
}

static inline void wait_or_kill(pid_t child)
{
#ifdef SYS_pidfd_open
	int descriptor = (int)syscall(SYS_pidfd_open, child, 0);
	if (descriptor < 0)
		return; /* an old kernel: the driver's own limit finds the hang */
	struct pollfd end = {descriptor, POLLIN, 0};
	int ready;
	do
		ready = poll(&end, 1, HANG_LIMIT_SECONDS * 1000);
	while (ready < 0 && errno == EINTR);
	close(descriptor);
	if (ready == 0) {
		kill(child, SIGKILL);
		FAIL("child %d hung: not ended after %d seconds", (int)child, HANG_LIMIT_SECONDS);
	}
#else
	(void)child;
#endif
}

/* Waits for a child's end; fails when it hangs or ends badly. */
static inline void reap(pid_t child)
{
	int status = 0;
	pid_t got;
	wait_or_kill(child);
	do
		got = waitpid(child, &status, 0);
	while (got < 0 && errno == EINTR);
	REQUIRE(got == child, "waitpid: %s", strerror(errno));
	REQUIRE(!WIFSIGNALED(status), "child %d died of signal %d", (int)child, WTERMSIG(status));
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d ended with status %d", (int)child,
		WEXITSTATUS(status));
}

#endif

/*
 * What the unit tests share: cmocka, random numbers with a printed seed, and a look at what a piece of code
 * writes on stderr, in this process or in a child that is expected to die.
 *
 * Relies on cmocka and POSIX. Nothing here takes memory from the library.
 */
#ifndef TIERMALLOC_TESTS_UNIT_SUPPORT_H
#define TIERMALLOC_TESTS_UNIT_SUPPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/common.h"

#define UNUSED          __attribute__((unused))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A build with a sanitizer is slower, and its address space is not the test's alone. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Tells a reader of the output why something was not tested. */
UNUSED static void not_tested(const char *what, const char *reason)
{
	printf("# not tested: %s: %s\n", what, reason);
}

/* Run by an emulator, which Meson starts the programs with that are built for another machine. */
UNUSED static bool under_emulator(void)
{
	return getenv("MESON_EXE_WRAPPER") != NULL;
}

/* The seed of this run: from TIERMALLOC_TEST_SEED, or another one each time. Always printed. */
UNUSED static uint64_t seed_of_run(const char *test)
{
	const char *given = getenv("TIERMALLOC_TEST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given != NULL ? strtoull(given, NULL, 0)
			     : ((uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 40);
	printf("# %s: seed 0x%llx (TIERMALLOC_TEST_SEED)\n", test, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* splitmix64: one word of state, any seed will do. */
UNUSED static uint64_t random_next(uint64_t *state)
{
	uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

/* Below `end`, which is not 0. */
UNUSED static size_t random_below(uint64_t *state, size_t end)
{
	return (size_t)(random_next(state) % end);
}

/* Until when random operations go on, in seconds: as many minutes as TIERMALLOC_TEST_MINUTES says (make soak), or 0. */
UNUSED static time_t soak_end(void)
{
	const char *minutes = getenv("TIERMALLOC_TEST_MINUTES");

	return minutes != NULL ? time(NULL) + 60 * strtol(minutes, NULL, 10) : 0;
}

/* What was written, as a string; longer text is cut off. */
struct captured {
	char text[4096];
	int status; /* of a child, as waitpid gives it */
};

UNUSED static void read_captured(int file, struct captured *captured)
{
	ssize_t length = pread(file, captured->text, sizeof(captured->text) - 1, 0);

	assert_true(length >= 0);
	captured->text[length] = '\0';
	close(file);
}

/* Runs `call` in this process with stderr going into `captured`. */
UNUSED static void capture_stderr(void (*call)(const void *argument), const void *argument, struct captured *captured)
{
	int file = memfd_create("stderr", MFD_CLOEXEC);
	int saved = dup(STDERR_FILENO);

	assert_true(file >= 0 && saved >= 0);
	fflush(stderr);
	dup2(file, STDERR_FILENO);
	call(argument);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	captured->status = 0;
	read_captured(file, captured);
}

/* qemu's user mode writes a line of its own on stderr when the program is killed. */
UNUSED static void drop_emulators_line(struct captured *captured)
{
	char *line = strstr(captured->text, "qemu: uncaught target signal");

	if (line != NULL)
		*line = '\0';
}

/* Runs `call` in a child, which exits with 0 if it comes back; SIGABRT there is not cmocka's business. */
UNUSED static void capture_child(void (*call)(const void *argument), const void *argument, struct captured *captured)
{
	int file = memfd_create("stderr", MFD_CLOEXEC);
	pid_t child;

	assert_true(file >= 0);
	fflush(stdout);
	fflush(stderr);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct sigaction standard = {.sa_handler = SIG_DFL};

		sigaction(SIGABRT, &standard, NULL);
		dup2(file, STDERR_FILENO);
		call(argument);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &captured->status, 0), child);
	read_captured(file, captured);
	drop_emulators_line(captured);
}

#define assert_aborted(captured)                                                                                       \
	do {                                                                                                           \
		assert_true(WIFSIGNALED((captured)->status));                                                          \
		assert_int_equal(WTERMSIG((captured)->status), SIGABRT);                                               \
	} while (0)

/* For children, in which cmocka's assertions would go on with the parent's tests. */
#define child_check(condition)                                                                                         \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			fflush(stderr);                                                                                \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* Resident pages of the kernel in a mapped range; SIZE_MAX if part of it is not mapped. */
UNUSED static size_t resident_pages(uintptr_t address, size_t bytes)
{
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	size_t total = 0;

	for (size_t at = 0; at < bytes; at += unit) {
		/* One answer; but qemu, when it shows its program large pages, gives one for each small page in them. */
		unsigned char in_core[256];

		if (mincore((void *)(address + at), minimum(unit, bytes - at), in_core) != 0)
			return SIZE_MAX;
		total += in_core[0] & 1;
	}
	return total;
}

#endif

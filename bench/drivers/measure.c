/* Clocks, resident memory and the proof of which allocator is loaded, for the benchmark programs. See measure.h. */
#define _GNU_SOURCE
#include "measure.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The largest /proc file read is maps; a benchmark program has some dozens of lines there before an allocator adds its
 * own, which come in address order: the line sought may be late, so lines are looked at as they are read. */
#define READ_SIZE 4096

static uint64_t read_clock(clockid_t which)
{
	struct timespec now;
	clock_gettime(which, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t wall_clock(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t processor_clock(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

_Noreturn void fail(const char *what)
{
	fprintf(stderr, "benchmark: %s\n", what);
	exit(1);
}

/* Reads `path` and gives each of its lines to `visit` until that returns nonzero. Longer lines are cut. */
static int visit_lines(const char *path, int (*visit)(const char *line, void *argument), void *argument)
{
	char buffer[READ_SIZE], line[512];
	size_t line_length = 0;
	int found = 0;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		fail(path);
	for (;;) {
		ssize_t length = read(file, buffer, sizeof buffer);
		if (length <= 0)
			break;
		for (ssize_t i = 0; i < length && !found; i++) {
			if (buffer[i] != '\n') {
				if (line_length < sizeof line - 1)
					line[line_length++] = buffer[i];
				continue;
			}
			line[line_length] = '\0';
			line_length = 0;
			found = visit(line, argument);
		}
		if (found)
			break;
	}
	close(file);
	return found;
}

static int visit_rss(const char *line, void *argument)
{
	if (strncmp(line, "Rss:", 4) != 0)
		return 0;
	*(uint64_t *)argument = strtoull(line + 4, NULL, 10);
	return 1;
}

uint64_t resident_kib(void)
{
	uint64_t kib = 0;
	if (!visit_lines("/proc/self/smaps_rollup", visit_rss, &kib))
		fail("/proc/self/smaps_rollup has no line Rss");
	return kib;
}

static int visit_size(const char *line, void *argument)
{
	if (strncmp(line, "VmSize:", 7) != 0)
		return 0;
	*(uint64_t *)argument = strtoull(line + 7, NULL, 10);
	return 1;
}

uint64_t address_space_kib(void)
{
	uint64_t kib = 0;
	if (!visit_lines("/proc/self/status", visit_size, &kib))
		fail("/proc/self/status has no line VmSize");
	return kib;
}

struct mapped_file {
	uintptr_t address;
	char path[256];
};

static int visit_mapping(const char *line, void *argument)
{
	struct mapped_file *sought = argument;
	char *end;
	uintptr_t low = strtoull(line, &end, 16);
	uintptr_t high = strtoull(end + 1, NULL, 16);
	if (sought->address < low || sought->address >= high)
		return 0;
	const char *path = strchr(line, '/');
	snprintf(sought->path, sizeof sought->path, "%s", path ? path : "(no file)");
	return 1;
}

/* Finds the mapped file that holds the code of the function `name` as this program calls it. */
static void find_mapped_file(const char *name, struct mapped_file *file)
{
	/* dlsym instead of the function's address, which in some builds is that of a stub in the program itself. */
	file->address = (uintptr_t)dlsym(RTLD_DEFAULT, name);
	if (file->address == 0 || !visit_lines("/proc/self/maps", visit_mapping, file))
		fail("a function of the allocator is not in any mapping");
}

void print_allocator(void)
{
	static const char *const others[] = {"free", "calloc", "realloc"};
	struct mapped_file file, other;
	Dl_info info;
	find_mapped_file("malloc", &file);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		find_mapped_file(others[i], &other);
		if (strcmp(file.path, other.path) != 0) {
			fprintf(stderr, "benchmark: malloc is in %s, but %s in %s\n", file.path, others[i], other.path);
			exit(4);
		}
	}
	if (!dladdr((void *)file.address, &info) || info.dli_fname == NULL)
		fail("dladdr does not know malloc");
	printf("allocator %s %s\n", file.path, info.dli_fname);
}

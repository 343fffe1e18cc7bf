/* The named checks of check.h. Relies on /proc/self/statm and dladdr. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE_CLASSES_DEFINE
#include "size_classes.h"

const size_t request_alignment = REQUEST_ALIGNMENT;

static char output_buffer[8192];
static char failure_text[1024];
static char skip_text[512];
static bool current_failed;
static bool current_skipped;
static unsigned check_count;
static unsigned failure_count;
static uint64_t random_state;
static const char *expected_origin;

static void origin_of_malloc(void)
{
	Dl_info found;
	const char *name = "unknown";
	if (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &found) && found.dli_fname)
		name = found.dli_fname;
	printf("# malloc comes from %s\n", name);
	if (expected_origin)
		expect(strstr(name, expected_origin) != NULL, "malloc comes from %s, not from %s", name, expected_origin);
}

bool check_start(int argument_count, char **arguments)
{
	setvbuf(stdout, output_buffer, _IOLBF, sizeof output_buffer);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t seed = (uint64_t)now.tv_sec * 1000003u + (uint64_t)now.tv_nsec + (uint64_t)getpid();
	for (int i = 1; i < argument_count; i += 2) {
		if (i + 1 < argument_count && strcmp(arguments[i], "--seed") == 0)
			seed = strtoull(arguments[i + 1], NULL, 0);
		else if (i + 1 < argument_count && strcmp(arguments[i], "--malloc-from") == 0)
			expected_origin = arguments[i + 1];
		else {
			fprintf(stderr, "usage: %s [--seed N] [--malloc-from TEXT]\n", arguments[0]);
			return false;
		}
	}
	printf("# seed %llu\n", (unsigned long long)seed);
	random_state = seed;
	if (expected_origin)
		check_run("malloc_is_the_one_expected", origin_of_malloc);
	else
		origin_of_malloc();
	return true;
}

void check_run(const char *name, void (*run)(void))
{
	current_failed = current_skipped = false;
	run();
	++check_count;
	if (current_failed) {
		++failure_count;
		printf("not ok %s: %s\n", name, failure_text);
	} else if (current_skipped) {
		printf("ok %s # SKIP %s\n", name, skip_text);
	} else {
		printf("ok %s\n", name);
	}
	fflush(stdout);
}

bool expect(bool condition, const char *format, ...)
{
	if (condition || current_failed)
		return condition;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(failure_text, sizeof failure_text, format, arguments);
	va_end(arguments);
	current_failed = true;
	return false;
}

void check_skip(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(skip_text, sizeof skip_text, format, arguments);
	va_end(arguments);
	current_skipped = true;
}

int check_finish(void)
{
	printf("1..%u\n", check_count);
	fflush(stdout);
	return failure_count == 0 ? 0 : 1;
}

/* splitmix64 */
uint64_t random_number(void)
{
	uint64_t value = (random_state += 0x9e3779b97f4a7c15u);
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

size_t random_below(size_t limit)
{
	return (size_t)(random_number() % limit);
}

/* The pattern goes by words of eight bytes, because the checks write hundreds of megabytes of it. Whole words are copied by the
   compiler's own memcpy: -fno-builtin makes the plain one a call. */
static uint64_t pattern_word(size_t index, unsigned seed)
{
	return ((uint64_t)index + 1) * 0x9e3779b97f4a7c15u ^ ((uint64_t)seed + 1) * 0xbf58476d1ce4e5b9u;
}

void fill_pattern(void *block, size_t length, unsigned seed)
{
	char *bytes = block;
	size_t at = 0;
	uint64_t word;
	for (; length - at >= sizeof word; at += sizeof word) {
		word = pattern_word(at / sizeof word, seed);
		__builtin_memcpy(bytes + at, &word, sizeof word);
	}
	word = pattern_word(at / sizeof word, seed);
	memcpy(bytes + at, &word, length - at);
}

size_t first_difference(const void *block, size_t length, unsigned seed)
{
	const char *bytes = block;
	size_t at = 0;
	uint64_t word, found;
	for (; length - at >= sizeof word; at += sizeof word) {
		word = pattern_word(at / sizeof word, seed);
		__builtin_memcpy(&found, bytes + at, sizeof word);
		if (found != word)
			return at + (size_t)__builtin_ctzll(found ^ word) / 8;
	}
	word = found = pattern_word(at / sizeof word, seed);
	memcpy(&found, bytes + at, length - at);
	return found == word ? length : at + (size_t)__builtin_ctzll(found ^ word) / 8;
}

size_t first_nonzero(const void *block, size_t length)
{
	const unsigned char *bytes = block;
	if (length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0))
		return length;
	size_t i = 0;
	while (bytes[i] == 0)
		++i;
	return i;
}

size_t bytes_by_profile(size_t size)
{
	for (unsigned class = 1; class < CLASS_COUNT; ++class) {
		if (size_classes[class].size >= size && size_classes[class].size % (size <= 8 ? 8 : REQUEST_ALIGNMENT) == 0)
			return size_classes[class].size;
	}
	return (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

size_t resident_bytes(void)
{
	char text[128] = {0};
	int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
	if (file >= 0)
		close(file);
	size_t total = 0, resident = 0;
	if (length <= 0 || sscanf(text, "%zu %zu", &total, &resident) != 2)
		return 0;
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

size_t boundary_sizes(size_t *sizes, size_t capacity, unsigned last_shift)
{
	size_t count = 0, previous = 0;
	for (unsigned shift = 3; shift < last_shift; ++shift)
		for (size_t eighth = 8; eighth < 16; ++eighth)
			for (size_t neighbour = 0; neighbour < 3; ++neighbour) {
				size_t size = ((size_t)1 << shift) * eighth / 8 + neighbour - 1;
				if (size > previous && count < capacity)
					sizes[count++] = previous = size;
			}
	if (count < capacity)
		sizes[count++] = (size_t)1 << last_shift;
	return count;
}

/* Checks the standard allocation interface, and nothing else, in every corner: to be run against glibc's malloc, which must
   pass too, and against tiermalloc, preloaded or linked. `--malloc-info` prints malloc_info's XML and `--malloc-stats`
   lets malloc_stats print to stderr instead; a driver looks at those. */
#include "conformance.h"

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const size_t impossible_sizes[] = {
	(size_t)1 << 47,
	(size_t)1 << 62,
	PTRDIFF_MAX - 4096,
	PTRDIFF_MAX - 1,
	PTRDIFF_MAX,
	(size_t)1 << 63,
	((size_t)1 << 63) + 1,
	SIZE_MAX - 65536,
	SIZE_MAX - 4096,
	SIZE_MAX - 4095,
	SIZE_MAX - 64,
	SIZE_MAX - 16,
	SIZE_MAX - 15,
	SIZE_MAX - 8,
	SIZE_MAX - 7,
	SIZE_MAX - 1,
	SIZE_MAX,
};
const size_t impossible_size_count = sizeof impossible_sizes / sizeof *impossible_sizes;

const size_t typical_sizes[] = {
	1,
	8,
	16,
	24,
	40,
	100,
	1000,
	5000,
	32768,
	65536,
	65537,
	200000,
	300000,
	1 << 20,
	(1 << 20) + 1,
	3 << 20,
	64 << 20,
};
const size_t typical_size_count = sizeof typical_sizes / sizeof *typical_sizes;

static int print_malloc_info(void)
{
	void *kept = malloc(100000);
	int result = malloc_info(0, stdout);
	free(kept);
	return result == 0 ? 0 : 1;
}

static int print_malloc_stats(void)
{
	void *kept = malloc(100000);
	malloc_stats();
	free(kept);
	return 0;
}

int main(int argument_count, char **arguments)
{
	if (argument_count == 2 && strcmp(arguments[1], "--malloc-info") == 0)
		return print_malloc_info();
	if (argument_count == 2 && strcmp(arguments[1], "--malloc-stats") == 0)
		return print_malloc_stats();
	if (!check_start(argument_count, arguments))
		return 2;
	conformance_malloc();
	conformance_calloc();
	conformance_realloc();
	conformance_aligned();
	conformance_library();
	conformance_report();
	return check_finish();
}

/*
 * The memory benchmark: one measurement per process, which bench/groups/memory.py runs under each allocator. Prints
 * what memory.h says, and which allocator is loaded.
 */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns whether there is such a measurement with so many numbers. */
static int run(const char *what, int count, const size_t *number)
{
	if (strcmp(what, "live") == 0 && count == 3)
		measure_live(number[0], number[1], number[2]);
	else if (strcmp(what, "peak") == 0 && count == 1)
		measure_peak(number[0] * MIB);
	else if (strcmp(what, "repeated-peak") == 0 && count == 2)
		measure_repeated_peak(number[0] * MIB, number[1]);
	else if (strcmp(what, "fragmentation") == 0 && count == 3)
		measure_fragmentation(number[0] * MIB, number[1], number[2]);
	else if (strcmp(what, "fragmentation-sizes") == 0 && count == 1)
		measure_fragmentation_of_sizes(number[0] * MIB);
	else if (strcmp(what, "lifetimes") == 0 && count == 2)
		measure_lifetimes(number[0], number[1] * MIB);
	else if (strcmp(what, "short-threads") == 0 && count == 2)
		measure_short_threads(number[0], number[1]);
	else if (strcmp(what, "idle-threads") == 0 && count == 1)
		measure_idle_threads(number[0]);
	else if (strcmp(what, "calloc") == 0 && count == 1)
		measure_calloc(number[0] * MIB);
	else if (strcmp(what, "growth") == 0 && count == 2)
		measure_growth(number[0] * MIB, number[1] * MIB);
	else if (strcmp(what, "enlargement") == 0 && count == 2)
		measure_enlargement(number[0] * MIB, number[1] * MIB);
	else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	enum { NUMBERS = 3 };
	size_t number[NUMBERS];
	int count = argc - 2;
	for (int i = 0; i < count && i < NUMBERS; i++) {
		number[i] = strtoull(argv[i + 2], NULL, 10);
		if (number[i] == 0) /* no measurement makes sense of nothing */
			count = -1;
	}
	if (count < 0 || !run(argv[1], count, number)) {
		fprintf(stderr,
			"usage: memory live BYTES COUNT LISTS | peak MIB | repeated-peak MIB ROUNDS |\n"
			"              fragmentation MIB FIRST_BYTES SECOND_BYTES | fragmentation-sizes MIB |\n"
			"              lifetimes OPERATIONS MIB | short-threads COUNT GROUP | idle-threads COUNT |\n"
			"              calloc MIB | growth FROM_MIB TO_MIB | enlargement FROM_MIB TO_MIB\n");
		return 2;
	}
	print_allocator();
	return 0;
}

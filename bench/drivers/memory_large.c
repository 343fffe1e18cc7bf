/* Blocks so large that the system's help decides: calloc and realloc. See memory.h. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double milliseconds_since(uint64_t start)
{
	return (double)(wall_clock() - start) / 1e6;
}

/* Time of a large calloc, and the memory that it made resident. */
void measure_calloc(size_t size)
{
	resident_kib(); /* the code that measures becomes resident, too: now, not in between */
	uint64_t before = resident_kib();
	uint64_t start = wall_clock();
	char *memory = calloc(1, size);
	double milliseconds = milliseconds_since(start);
	uint64_t after = resident_kib();
	if (memory == NULL || memory[0] != 0 || memory[size / 2] != 0 || memory[size - 1] != 0)
		fail("calloc gave no zeroed memory");
	free(memory);
	printf("ms %.4f\nrss_added %ju\n", milliseconds, (uintmax_t)(after > before ? after - before : 0));
}

/* The byte that position `offset` of a block must keep. */
static char mark_of(size_t offset)
{
	return (char)(offset / MIB * 7 + 1);
}

/* Time to grow a block by realloc in steps of 1 MiB, each time writing one byte of what was added. */
void measure_growth(size_t first, size_t last)
{
	uint64_t start = wall_clock();
	char *memory = malloc(first);
	if (memory == NULL)
		fail("malloc gave no memory");
	memory[0] = mark_of(0);
	for (size_t size = first; size < last; size += MIB) {
		memory = realloc(memory, size + MIB);
		if (memory == NULL)
			fail("realloc gave no memory");
		memory[size] = mark_of(size);
	}
	double milliseconds = milliseconds_since(start);
	for (size_t offset = first; offset < last; offset += MIB)
		if (memory[offset] != mark_of(offset))
			fail("realloc lost content");
	free(memory);
	printf("ms %.4f\n", milliseconds);
}

/* Time of one realloc of a block whose every byte is in use. */
void measure_enlargement(size_t first, size_t last)
{
	char *memory = malloc(first);
	if (memory == NULL)
		fail("malloc gave no memory");
	for (size_t offset = 0; offset < first; offset += MIB)
		memset(memory + offset, mark_of(offset), MIB);
	uint64_t start = wall_clock();
	memory = realloc(memory, last);
	double milliseconds = milliseconds_since(start);
	if (memory == NULL)
		fail("realloc gave no memory");
	for (size_t offset = 0; offset < first; offset += 4096)
		if (memory[offset] != mark_of(offset))
			fail("realloc lost content");
	free(memory);
	printf("ms %.4f\n", milliseconds);
}

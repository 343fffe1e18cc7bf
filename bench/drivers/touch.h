/*
 * Writing to an object so that it is real memory: its first byte, and the first byte of each 4 KiB further on, which on
 * all machines is at least once in each page. An allocator that returns NULL crashes here, and the harness says so.
 * Relies on nothing.
 */
#ifndef BENCH_TOUCH_H
#define BENCH_TOUCH_H

#include <stddef.h>

#define TOUCH_DISTANCE 4096

/* Writes the bytes from `from` on, and `to - 1`. */
static inline void touch_part(char *object, size_t from, size_t to)
{
	for (size_t offset = from; offset < to; offset += TOUCH_DISTANCE)
		*(volatile char *)(object + offset) = 1;
	*(volatile char *)(object + to - 1) = 1;
}

static inline void touch(char *object, size_t size)
{
	*(volatile char *)object = 1;
	for (size_t offset = TOUCH_DISTANCE; offset < size; offset += TOUCH_DISTANCE)
		*(volatile char *)(object + offset) = 1;
}

#endif

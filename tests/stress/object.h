/*
 * Objects whose contents can be checked. Each has a key of its own, and a byte's value
 * depends on key and position only, so that an overlap with any other object shows, and
 * the part that a realloc has to keep can be checked whatever the new size is.
 *
 * Small objects are written whole, large ones at both ends and once in each 4 KiB.
 */
#ifndef STRESS_OBJECT_H
#define STRESS_OBJECT_H

#include "trap.h"

#include "names.h"

#include <stdbool.h>

#include "size_classes.h"

struct object {
	unsigned char *start;
	size_t size;
	size_t alignment; /* that was asked for; 0 if none was */
	uint64_t key;
};

enum { WHOLE = 4096, EDGE = 64, STEP = 4096 };

static inline unsigned char object_byte(uint64_t key, size_t position)
{
	return (unsigned char)((key >> (position % 8 * 8)) + position / 8);
}

static inline void range_fill(const struct object *object, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		object->start[i] = object_byte(object->key, i);
}

static inline void range_check(const struct object *object, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		REQUIRE(object->start[i] == object_byte(object->key, i),
			"object %p of %zu bytes: byte %zu is %02x, not %02x", (void *)object->start, object->size, i,
			object->start[i], object_byte(object->key, i));
}

static inline void object_fill(const struct object *object)
{
	size_t size = object->size;
	if (size <= WHOLE) {
		range_fill(object, 0, size);
		return;
	}
	range_fill(object, 0, EDGE);
	for (size_t i = STEP; i + 8 <= size; i += STEP)
		range_fill(object, i, i + 8);
	range_fill(object, size - EDGE, size);
}

/* Checks what object_fill has written, as far as it lies below `kept`. */
static inline void object_check_below(const struct object *object, size_t kept)
{
	size_t size = object->size;
	if (size <= WHOLE) {
		range_check(object, 0, size < kept ? size : kept);
		return;
	}
	range_check(object, 0, EDGE < kept ? EDGE : kept);
	for (size_t i = STEP; i + 8 <= size && i + 8 <= kept; i += STEP)
		range_check(object, i, i + 8);
	if (kept >= size)
		range_check(object, size - EDGE, size);
}

static inline void object_check(const struct object *object)
{
	object_check_below(object, object->size);
}

/* Sizes as programs have them: each power of two as likely as the next up to 64 KiB,
 * sometimes up to 4 MiB, rarely up to 32 MiB. */
static inline size_t random_size(uint64_t *random)
{
	uint64_t number = random_next(random);
	unsigned kind = number % 2048;
	unsigned bits = 1 + (unsigned)(number >> 16) % 16;
	if (kind < 20)
		bits = 22;
	if (kind == 20)
		bits = 25;
	return (size_t)(random_next(random) & (((uint64_t)1 << bits) - 1));
}

/* Whole callocs are checked up to this size, larger ones by samples. */
static inline void require_zero(const unsigned char *start, size_t size)
{
	size_t step = size > 256 * KIB ? 61 : 1;
	for (size_t i = 0; i < size; i += step)
		REQUIRE(start[i] == 0, "calloc of %zu bytes: byte %zu is %02x", size, i, start[i]);
}

static inline void *aligned_by_posix(size_t alignment, size_t size)
{
	void *start = NULL;
	int error = posix_memalign(&start, alignment, size);
	REQUIRE(error == 0, "posix_memalign(%zu, %zu): %s", alignment, size, strerror(error));
	return start;
}

static inline size_t random_alignment(uint64_t *random)
{
	uint64_t number = random_next(random);
	unsigned bits = 3 + (unsigned)(number % 10); /* 8 to 4096 */
	if (number >> 32 & 1 && (number >> 33) % 32 == 0)
		bits = 13 + (unsigned)(number >> 40) % 9; /* 8 KiB to 2 MiB */
	return (size_t)1 << bits;
}

static inline void *allocate_somehow(struct object *object, uint64_t *random)
{
	size_t size = object->size;
	switch (random_next(random) % 8) {
	case 0: {
		size_t count = size % 8 ? 1 : 8;
		unsigned char *start = calloc(count, size / count);
		if (start)
			require_zero(start, size);
		return start;
	}
	case 1:
		object->alignment = random_alignment(random);
		return aligned_alloc(object->alignment, size);
	case 2:
		object->alignment = random_alignment(random);
		return aligned_by_posix(object->alignment, size);
	case 3:
		object->alignment = random_alignment(random);
		return memalign(object->alignment, size);
	case 4:
		return realloc(NULL, size);
	case 5:
		return reallocarray(NULL, size, 1);
	default:
		return malloc(size);
	}
}

static inline void require_alignment(const struct object *object)
{
	size_t alignment = object->size >= 16 ? REQUEST_ALIGNMENT : 8;
	if (object->alignment > alignment)
		alignment = object->alignment;
	REQUIRE((uintptr_t)object->start % alignment == 0, "%p for %zu bytes is not aligned to %zu",
		(void *)object->start, object->size, alignment);
}

static inline struct object object_new(size_t size, uint64_t *random)
{
	struct object object = {.size = size, .key = random_next(random)};
	object.start = allocate_somehow(&object, random);
	REQUIRE(object.start, "no object of %zu bytes: %s", size, strerror(errno));
	require_alignment(&object);
	size_t usable = malloc_usable_size(object.start);
	REQUIRE(usable >= size, "usable size %zu of an object of %zu bytes", usable, size);
	object_fill(&object);
	return object;
}

static inline void object_resize(struct object *object, size_t size, uint64_t *random)
{
	if (size == 0)
		size = 1; /* realloc(p, 0) frees */
	object_check(object);
	unsigned char *start =
		random_next(random) % 2 ? realloc(object->start, size) : reallocarray(object->start, 1, size);
	REQUIRE(start, "realloc(%zu -> %zu): %s", object->size, size, strerror(errno));
	object->start = start;
	object_check_below(object, size);
	object->size = size;
	object->alignment = 0;
	object->key = random_next(random);
	require_alignment(object);
	object_fill(object);
}

/* Sized frees are for objects that no alignment was asked for. */
static inline void object_free(struct object *object, uint64_t *random)
{
	object_check(object);
	uint64_t way = random_next(random) % 8;
	if (way == 0 && !object->alignment)
		free_knowing_size(object->start, object->size);
	else if (way == 1 && !object->alignment)
		deallocate_knowing_size(object->start, object->size);
	else
		free(object->start);
	object->start = NULL;
}

#endif

/*
 * Objects that say whose they are: the tag of the thread that allocated them, with a serial number, at the start and (inverted)
 * at the end, their size, and between them a byte that follows from the tag. Whoever finds another tag in an object than the one
 * it has been given knows by it who has been given the same object, or one that overlaps.
 *
 * Small ones are written whole, others at both ends.
 */
#ifndef STRESS_TAGGED_H
#define STRESS_TAGGED_H

#include "names.h"

struct tagged {
	uint64_t tag;
	uint64_t size;
	unsigned char rest[];
};

struct owner {
	uint64_t number; /* from 1 */
	uint64_t serial;
};

enum { TAGGED_LEAST = 24, TAGGED_WHOLE = 512, TAGGED_EDGE = 64, TAGGED_SERIAL_BITS = 44 };

/* Written over the tag before an object is freed. */
#define TAGGED_FREED (UINT64_C(1) << 63)

static inline unsigned char tagged_byte(uint64_t tag)
{
	return (unsigned char)((tag * 0x9e3779b97f4a7c15u) >> 56);
}

static inline size_t tagged_filled(const struct tagged *object)
{
	size_t between = object->size - TAGGED_LEAST;

	return object->size <= TAGGED_WHOLE ? between : TAGGED_EDGE;
}

static inline struct tagged *tagged_new(struct owner *owner, size_t size)
{
	struct tagged *object = malloc(size);
	uint64_t tag = owner->number << TAGGED_SERIAL_BITS | owner->serial++;
	uint64_t inverted = ~tag;

	REQUIRE(object, "malloc(%zu): %s", size, strerror(errno));
	object->tag = tag;
	object->size = size;
	memset(object->rest, tagged_byte(tag), tagged_filled(object));
	if (size > TAGGED_WHOLE)
		memset((char *)object + size - 8 - TAGGED_EDGE, tagged_byte(tag), TAGGED_EDGE);
	memcpy((char *)object + size - 8, &inverted, 8);
	return object;
}

static inline void tagged_fail(const struct tagged *object, uint64_t tag, size_t size, uint64_t found, size_t position)
{
	uint64_t serials = (UINT64_C(1) << TAGGED_SERIAL_BITS) - 1;

	FAIL("object %p of %zu bytes, thread %lu's number %lu, has at byte %zu %016lx: thread %lu's number %lu%s",
	     (const void *)object, size, (unsigned long)((tag & ~TAGGED_FREED) >> TAGGED_SERIAL_BITS),
	     (unsigned long)(tag & serials), position, (unsigned long)found,
	     (unsigned long)((found & ~TAGGED_FREED) >> TAGGED_SERIAL_BITS), (unsigned long)(found & serials),
	     found & TAGGED_FREED ? ", freed" : "");
}

static inline void tagged_check_bytes(const struct tagged *object, uint64_t tag, size_t size,
				      const unsigned char *start, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (start[i] != tagged_byte(tag))
			tagged_fail(object, tag, size, start[i], (size_t)(start - (const unsigned char *)object) + i);
}

/* Of an object that is known to have this tag and size. */
static inline void tagged_check(const struct tagged *object, uint64_t tag, size_t size)
{
	uint64_t inverted;

	if (object->tag != tag)
		tagged_fail(object, tag, size, object->tag, 0);
	if (object->size != size)
		tagged_fail(object, tag, size, object->size, 8);
	memcpy(&inverted, (const char *)object + size - 8, 8);
	if (inverted != ~tag)
		tagged_fail(object, tag, size, ~inverted, size - 8);
	tagged_check_bytes(object, tag, size, object->rest, tagged_filled(object));
	if (size > TAGGED_WHOLE)
		tagged_check_bytes(object, tag, size, (const unsigned char *)object + size - 8 - TAGGED_EDGE,
				   TAGGED_EDGE);
}

static inline void tagged_free(struct tagged *object, uint64_t tag, size_t size)
{
	tagged_check(object, tag, size);
	object->tag = tag | TAGGED_FREED;
	free(object);
}

#endif

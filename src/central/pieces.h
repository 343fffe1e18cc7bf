/*
 * From objects that come back to bits in the bitmaps of their spans: looking them up, checking them, and fetching what setting the
 * bits will want. Internal to the central free list (free_list.c), which does all of this before it takes a class's lock.
 *
 * Relies on the page map and the generated tables. What is wrong stops the process with a message. No locks: an object that is in use,
 * as these are until their bits are set, keeps its span where it is.
 */
#ifndef TIERMALLOC_CENTRAL_PIECES_H
#define TIERMALLOC_CENTRAL_PIECES_H

#include "base/message.h"
#include "central/central.h"

/*
 * Objects per chunk of a return: 64 cache misses in flight are more than any processor overlaps, and the arrays
 * stay small on the stack.
 */
#define CHUNK 64

/* Objects that follow each other in a chunk, and whose bits lie in the same word of the same span's bitmap. */
struct piece {
	struct span *span;
	uint64_t bits;
	uint32_t word;
	uint32_t count; /* of the bits */
};

static _Noreturn void wrong_object(unsigned class, void *object, const char *function, const char *what)
{
	struct wrong_use use = {
		.function = function, .pointer = object, .what = what, .class_size = size_classes[class].size};

	if (class == 0)
		use.large_size = span_bytes(large_span_of((uintptr_t)object));
	message_wrong_use(&use);
}

static COLD _Noreturn void wrong_class(unsigned class, void *object, const char *function)
{
	bool inside = in_window((uintptr_t)object);
	unsigned real = inside ? page_class(page_of((uintptr_t)object)) : 0;
	char what[96];
	struct text text = {.buffer = what, .capacity = sizeof(what)};

	if (real == 0 && (!inside || large_span_of((uintptr_t)object) == NULL))
		wrong_object(class, object, function,
			     "object is already free (double free), or a sized free of what was never allocated");
	text_string(&text, "size ");
	text_number(&text, size_classes[class].size);
	text_string(&text, " of a sized free does not fit the object's size");
	text_bytes(&text, "", 1);
	wrong_object(real, object, function, what);
}

/* The span that an object is said to be in; NULL: in none. */
static inline struct span *span_at(const void *object)
{
	uintptr_t address = (uintptr_t)object;

	return likely(in_window(address)) ? page_span(page_of(address)) : NULL;
}

/*
 * Finds the spans of objects that are not all close together, and fetches them: otherwise each of the next steps would wait for one
 * after the other, most of all where another thread has them. (Two threads with 100,000 objects of 64 bytes each, freed at random:
 * 15.5 ns instead of 16.8 each.) Returns how many of the objects lie in another span than the one
 * before them; 0: they are close, and nothing has been fetched.
 */
static inline size_t fetch_spans(const struct size_class *info, void **objects, size_t count, struct span **spans)
{
	uintptr_t bytes = (uintptr_t)info->pages << PAGE_SHIFT;
	const struct span *last = NULL;
	size_t changes = 0;

	if ((uintptr_t)objects[count - 1] - (uintptr_t)objects[0] + bytes < 2 * bytes)
		return 0;
	for (size_t i = 0; i < count; i++) {
		spans[i] = span_at(objects[i]);
		__builtin_prefetch(spans[i], 1);
		changes += spans[i] != last;
		last = spans[i];
	}
	return changes;
}

static inline void check_span(unsigned class, const struct span *span, void *object, const char *function)
{
	if (unlikely(span == NULL) || unlikely(span->class != class))
		wrong_class(class, object, function);
}

/* The number of an object that is so far into a span. */
static inline size_t index_at(const struct size_class *info, unsigned class, uintptr_t offset, void *object,
			      const char *function)
{
	uint64_t product = offset * info->reciprocal;
	uint64_t index = product >> RECIPROCAL_SHIFT;

	if (unlikely((product & RECIPROCAL_REST) != 0) || unlikely(index >= info->objects))
		wrong_object(class, object, function, "pointer is inside an object, not at its start");
	return index;
}

/* Finds the numbers of objects, each by itself, in spans that have been fetched; and fetches what put_each() will want. */
static inline void locate(unsigned class, void **objects, size_t count, struct span **spans, uint16_t *indices,
			  const char *function)
{
	const struct size_class *info = &size_classes[class];

	for (size_t i = 0; i < count; i++) {
		const struct span *span = spans[i];
		size_t index;

		check_span(class, span, objects[i], function);
		index = index_at(info, class, (uintptr_t)objects[i] - span->start, objects[i], function);
		indices[i] = (uint16_t)index;
		__builtin_prefetch(&span->free_objects[index / 64], 1);
	}
}

/* Objects in a row, by their bits in one word of the span's bitmap. */
struct run {
	uint64_t bits;
	size_t count;
};

/* How many of the next objects, `most` at most, lie one behind the other from the first one on, at this distance. */
static inline size_t count_neighbours(void **objects, size_t most, uintptr_t distance)
{
	uintptr_t next = (uintptr_t)objects[0] + distance;
	size_t count = 0;

	while (count < most && (uintptr_t)objects[count + 1] == next) {
		next += distance;
		count++;
	}
	return count;
}

static inline bool are_neighbours(uintptr_t size, const void *one, const void *other)
{
	uintptr_t distance = (uintptr_t)other - (uintptr_t)one;

	return distance == size || distance == -size;
}

/*
 * The first object, and those of the `left` that follow which are its neighbours, upward or downward within the same word: what
 * is freed in the order in which it was taken, or in reverse, is looked up once for each word (100,000 objects of 16 bytes, in
 * order: 8.6 ns each with their allocation, 10.4 one by one).
 */
static inline struct run neighbours(const struct size_class *info, void **objects, size_t left, size_t index)
{
	uintptr_t distance = (uintptr_t)objects[1] - (uintptr_t)objects[0];
	size_t place = index % 64;
	size_t more;

	if (distance == info->size) {
		more = count_neighbours(objects, minimum(minimum(63 - place, info->objects - 1 - index), left),
					distance);
	} else {
		more = count_neighbours(objects, minimum(place, left), distance);
		place -= more;
	}
	return (struct run){((UINT64_C(2) << more) - 1) << place, more + 1};
}

/*
 * Adds a run to the last piece, if it is of the same word and none of its objects is in it already. (Every second of 100,000 objects
 * of 64 bytes freed, then the others: 10.0 ns each, 11.9 if they are marked one by one under the lock.)
 */
static inline bool join(struct piece *last, const struct span *span, size_t word, struct run run)
{
	if (last->span != span || last->word != word || (last->bits & run.bits) != 0)
		return false;
	last->bits |= run.bits;
	last->count += (uint32_t)run.count;
	return true;
}

/*
 * Finds the bits of objects, and fetches what put() will want of their spans, which are in `spans` if they have been fetched. An
 * object that is there twice is in two pieces. Returns how many pieces there are, `count` at most; the first one is pieces[1].
 */
static inline size_t gather(unsigned class, void **objects, size_t count, struct span **spans, struct piece *pieces,
			    const char *function)
{
	const struct size_class *info = &size_classes[class];
	const uintptr_t bytes = (uintptr_t)info->pages << PAGE_SHIFT;
	struct piece *last = pieces;
	struct span *span = NULL;
	uintptr_t start = (uintptr_t)objects[0] - bytes;
	struct run run;

	last->span = NULL;
	for (size_t i = 0; i < count; i += run.count) {
		uintptr_t offset = (uintptr_t)objects[i] - start;
		size_t index;

		/* Objects of one span often come together. */
		if (offset >= bytes) {
			span = spans != NULL ? spans[i] : span_at(objects[i]);
			check_span(class, span, objects[i], function);
			start = span->start;
			offset = (uintptr_t)objects[i] - start;
		}
		index = index_at(info, class, offset, objects[i], function);
		run = (struct run){UINT64_C(1) << (index % 64), 1};
		if (i + 1 < count && are_neighbours(info->size, objects[i], objects[i + 1]))
			run = neighbours(info, objects + i, count - i - 1, index);
		if (join(last, span, index / 64, run))
			continue;
		*++last = (struct piece){span, run.bits, (uint32_t)(index / 64), (uint32_t)run.count};
		__builtin_prefetch(&span->free_objects[index / 64], 1);
	}
	return (size_t)(last - pieces);
}

#endif

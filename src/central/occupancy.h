/*
 * Occupancy buckets: the lists that the spans of one class with free objects are kept in, from fullest to emptiest.
 * Within a list, lower addresses tend to the front. Internal to the central tier; the class's lock guards them.
 */
#ifndef TIERMALLOC_CENTRAL_OCCUPANCY_H
#define TIERMALLOC_CENTRAL_OCCUPANCY_H

#include "central/central.h"

#define OCCUPANCY_BUCKETS 8

/*
 * Times the number of free objects, shifted right by 16: the bucket, without a division. Always below
 * OCCUPANCY_BUCKETS for a partly free span.
 */
#define OCCUPANCY_FACTOR(objects) (((uint32_t)OCCUPANCY_BUCKETS << 16) / (objects))

struct occupancy {
	struct span *heads[OCCUPANCY_BUCKETS]; /* rings: head->previous is the tail */
	uint32_t filled;                       /* bit per bucket that is not empty */
	uint32_t counts[OCCUPANCY_BUCKETS];    /* spans in each */
};

static inline uint8_t occupancy_bucket(const struct span *span)
{
	uint32_t bucket = span->free * span->bucket_factor >> 16;

	return (uint8_t)(bucket < OCCUPANCY_BUCKETS ? bucket : OCCUPANCY_BUCKETS - 1);
}

/*
 * A span turns when it has so many free objects that it may belong in another list, or is empty: freeing looks at its
 * list only then. A full span is in no list and turns with the first.
 */
#define TURN_OF_FULL 1

/* A span that is out of its ring for a while does not turn. */
#define TURN_NEVER UINT16_MAX

static inline void occupancy_set_turn(struct span *span)
{
	uint32_t boundary = ((span->bucket + 1u) * span->objects + OCCUPANCY_BUCKETS - 1) / OCCUPANCY_BUCKETS;

	/* The factor is rounded down, so that the bucket may end a little above the boundary. */
	span->turn = (uint16_t)(boundary > span->free || span->free == span->objects ? boundary : span->free + 1u);
}

/* Enters a span by its present number of free objects, which is not 0, at the end of its ring. */
static inline void occupancy_insert_last(struct occupancy *occupancy, struct span *span)
{
	struct span **head = &occupancy->heads[span->bucket = occupancy_bucket(span)];

	occupancy_set_turn(span);
	occupancy->counts[span->bucket]++;
	if (*head == NULL) {
		span->next = span->previous = span;
		*head = span;
		occupancy->filled |= 1u << span->bucket;
		return;
	}
	span->next = *head;
	span->previous = (*head)->previous;
	span->previous->next = span;
	span->next->previous = span;
}

/* Enters a span by its present number of free objects, which is not 0. */
static inline void occupancy_insert(struct occupancy *occupancy, struct span *span)
{
	struct span **head;

	occupancy_insert_last(occupancy, span);
	head = &occupancy->heads[span->bucket];
	if (span->start < (*head)->start)
		*head = span;
}

static inline void occupancy_remove(struct occupancy *occupancy, struct span *span)
{
	struct span **head = &occupancy->heads[span->bucket];

	span->turn = TURN_OF_FULL;
	occupancy->counts[span->bucket]--;
	if (span->next == span) {
		*head = NULL;
		occupancy->filled &= ~(1u << span->bucket);
		return;
	}
	span->next->previous = span->previous;
	span->previous->next = span->next;
	if (*head == span)
		*head = span->next;
}

/* Moves a span to the list of its present occupancy. */
static inline void occupancy_move(struct occupancy *occupancy, struct span *span)
{
	occupancy_remove(occupancy, span);
	occupancy_insert(occupancy, span);
}

/* The span to take from: of the fullest ones, the first. NULL if there is none. */
static inline struct span *occupancy_fullest(const struct occupancy *occupancy)
{
	return occupancy->filled != 0 ? occupancy->heads[__builtin_ctz(occupancy->filled)] : NULL;
}

#endif

/*
 * Mailboxes in which threads leave objects for each other. Nobody waits: a letter that
 * lies in the way is handed to the sender, who then has to see to it.
 *
 * The letters themselves come from the heap under test.
 */
#ifndef STRESS_MAILBOX_H
#define STRESS_MAILBOX_H

#include "object.h"

#include <stdatomic.h>

enum { PLACES = 64 };

struct mailbox {
	_Atomic(struct object *) places[PLACES];
};

/* Puts an object in; true if another came out, which is then in *object. */
static inline bool mailbox_swap(struct mailbox *box, struct object *object, uint64_t *random)
{
	struct object *letter = malloc(sizeof *letter);
	REQUIRE(letter, "malloc: %s", strerror(errno));
	*letter = *object;
	letter = atomic_exchange(&box->places[random_next(random) % PLACES], letter);
	object->start = NULL;
	if (letter)
		*object = *letter;
	free(letter);
	return object->start != NULL;
}

/* Takes an object out of a place; false if there is none. */
static inline bool mailbox_take(struct mailbox *box, unsigned place, struct object *object)
{
	struct object *letter = atomic_exchange(&box->places[place % PLACES], NULL);
	if (!letter)
		return false;
	*object = *letter;
	free(letter);
	return true;
}

static inline void mailbox_empty(struct mailbox *box, uint64_t *random)
{
	struct object object;
	for (unsigned place = 0; place < PLACES; place++)
		if (mailbox_take(box, place, &object))
			object_free(&object, random);
}

#endif

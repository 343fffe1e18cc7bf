/*
 * A bell: one thread listens or sleeps, any other rings. Ringing costs one load where nobody listens.
 *
 * Relies on nothing but the kernel's futex. The word is atomic; no lock guards it. errno is kept.
 */
#ifndef TIERMALLOC_BASE_BELL_H
#define TIERMALLOC_BASE_BELL_H

#include "base/common.h"

enum bell_state {
	BELL_QUIET,     /* nobody listens, or it has been rung */
	BELL_LISTENING, /* whoever listens asks later */
	BELL_ASLEEP,    /* whoever listens is to be woken */
};

struct bell {
	uint32_t state;
};

void bell_ring_slow(struct bell *bell);

/* Async-signal-safe. */
static inline void bell_ring(struct bell *bell)
{
	if (unlikely(load_relaxed(&bell->state) != BELL_QUIET))
		bell_ring_slow(bell);
}

/* From now on rings are heard. */
void bell_listen(struct bell *bell);

/* Whether it has been rung since bell_listen. */
bool bell_was_rung(const struct bell *bell);

/*
 * Sleeps until it is rung, or for so many milliseconds (0: no limit), or until a signal comes; not at all if it has been rung
 * since bell_listen. So a caller that looks between the two whether there is something to do misses nothing.
 */
void bell_sleep(struct bell *bell, uint64_t milliseconds);

#endif

/*
 * The demand's history: for each window a ring of epochs. What happens goes into one open record, which is cheap; that
 * is added to the rings when somebody reads them.
 */
#include "pageheap/history.h"

#include "base/options.h"

#define EPOCHS 8

struct ring {
	uint32_t epoch; /* milliseconds; 0: only the present counts */
	uint32_t began; /* the present epoch */
	unsigned current;
	struct demand epochs[EPOCHS];
	struct demand closed; /* all but the present one */
};

static struct {
	struct demand open; /* since the rings were last told */
	size_t used;
	struct ring rings[HISTORY_WINDOWS];
} history = {.rings = {
		     [HISTORY_DECAY] = {.epoch = DEFAULT_DECAY_MS / EPOCHS},
		     [HISTORY_PEAK] = {.epoch = DEFAULT_PEAK_MS / EPOCHS},
		     [HISTORY_TREND] = {.epoch = DEFAULT_TREND_MS / EPOCHS},
	     }};

/* One time after, or within, the other. */
static struct demand joined(const struct demand *one, const struct demand *other)
{
	return (struct demand){
		.most = maximum(one->most, other->most),
		.least = minimum(one->least, other->least),
		.taken = one->taken + other->taken,
	};
}

static struct demand unchanged(size_t used)
{
	return (struct demand){.most = used, .least = used};
}

static void close_epochs(struct ring *ring)
{
	struct demand closed = unchanged(history.used);

	for (unsigned i = 0; i < EPOCHS; i++) {
		if (i != ring->current)
			closed = joined(&closed, &ring->epochs[i]);
	}
	ring->closed = closed;
}

static void start_ring(struct ring *ring, uint32_t time)
{
	ring->began = time;
	for (unsigned i = 0; i < EPOCHS; i++)
		ring->epochs[i] = unchanged(history.used);
	ring->closed = unchanged(history.used);
}

static void advance(struct ring *ring, uint32_t time)
{
	uint32_t passed = ring->epoch != 0 ? (time - ring->began) / ring->epoch : EPOCHS;

	if (passed == 0)
		return;
	if (passed >= EPOCHS) {
		start_ring(ring, time);
		return;
	}
	ring->began += passed * ring->epoch;
	for (; passed != 0; passed--) {
		ring->current = (ring->current + 1) % EPOCHS;
		ring->epochs[ring->current] = unchanged(history.used);
	}
	close_epochs(ring);
}

/* What is open counts as having happened now: it is not long ago, for whoever takes and frees much reads, too. */
static void tell_rings(uint32_t time)
{
	for (unsigned i = 0; i < HISTORY_WINDOWS; i++) {
		struct ring *ring = &history.rings[i];
		struct demand *current;

		advance(ring, time);
		current = &ring->epochs[ring->current];
		*current = joined(current, &history.open);
	}
	history.open = unchanged(history.used);
}

void history_set_window(enum history_window window, uint32_t milliseconds)
{
	history.rings[window].epoch = milliseconds / EPOCHS;
	start_ring(&history.rings[window], history.rings[window].began);
}

void history_note_taken(size_t pages, size_t used)
{
	history.used = used;
	history.open.most = maximum(history.open.most, used);
	history.open.taken += pages;
}

void history_note_freed(size_t used)
{
	history.used = used;
	history.open.least = minimum(history.open.least, used);
}

struct demand history_read(enum history_window window, uint32_t time)
{
	const struct ring *ring = &history.rings[window];

	tell_rings(time);
	return joined(&ring->closed, &ring->epochs[ring->current]);
}

/* What was taken beyond one rise from the least to the most: the first rise and a fall are no swing. */
static size_t swing_by_amount(const struct demand *demand)
{
	size_t range = demand->most - demand->least;

	return demand->taken <= range ? 0 : minimum(demand->taken - range, range);
}

/* How far it has come up again after a fall, from one epoch to another. */
static size_t swing_by_order(const struct ring *ring)
{
	const struct demand *oldest = &ring->epochs[(ring->current + 1) % EPOCHS];
	size_t peak = oldest->most;
	size_t trough = oldest->most;
	size_t swing = 0;

	for (unsigned i = 2; i <= EPOCHS; i++) {
		const struct demand *epoch = &ring->epochs[(ring->current + i) % EPOCHS];

		trough = minimum(trough, epoch->least);
		if (minimum(peak, epoch->most) > trough)
			swing = maximum(swing, minimum(peak, epoch->most) - trough);
		if (epoch->most >= peak)
			peak = trough = epoch->most;
	}
	return swing;
}

size_t history_fast_swing(enum history_window window, uint32_t time)
{
	struct demand demand = history_read(window, time);

	return swing_by_amount(&demand);
}

/* By order alone, a rise and a fall in the same epoch would be one; by amount alone, all that is replaced. */
size_t history_slow_swing(enum history_window window, uint32_t time)
{
	struct demand demand = history_read(window, time);

	return minimum(swing_by_amount(&demand), swing_by_order(&history.rings[window]));
}

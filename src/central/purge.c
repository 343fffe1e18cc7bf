/*
 * Giving memory back inside of spans: one object that lives on holds a span of 8 to 256 KiB, and after a peak there is one in
 * each. The kernel's pages on which nothing but free objects lies go back one by one; the span stays, and its objects are
 * handed out again as before. All metadata is elsewhere, so that nothing else is on these pages.
 *
 * A span that is purged is out of its list meanwhile, so that nobody takes its objects, and the system is called without the
 * list's lock. Objects may come back to it. It notes how many of the kernel's pages have gone. Once an object is taken from
 * it, it counts as resident again, and is given back anew one day: the call for pages that are not there is cheap (140 ns).
 *
 * Who asks (malloc_trim) has all spans purged. Without being asked, slow paths do it in steps, for classes of which a good
 * part has stayed free for some seconds, if that is more in all than the page heap would keep: programs whose demand is
 * steady, or swings faster, keep their pages.
 */
#include "base/os.h"
#include "central/central.h"
#include "central/free_list.h"
#include "pageheap/pageheap.h"

/* Runs that are found at a time, under the lock. */
#define RUNS 16

/* A span of objects is at most a hugepage long, and notes its purged pages in 16 bits. */
_Static_assert(HUGEPAGE_SIZE / 4096 <= UINT16_MAX, "a span's pages of the kernel have to be countable");

/* Of the ticks: from here on emptier spans are worth it. Objects are taken from the fuller ones. */
#define SPARSE_BUCKET (OCCUPANCY_BUCKETS / 2)

/* A class is calm if one in so many of its objects has stayed free ... */
#define CALM_SHARE 4

/* ... for so long. Peaks that come again within seconds are not worth the faults. */
#define CALM_MS 3000

/* Another pass begins when so much of the class's spans could be given back beyond what the last pass has left. */
#define GAIN_SHARE 8

/* How often the classes are looked at. */
#define REVIEW_MS 500

/*
 * What may be done in a millisecond that has passed, and at a time, in looks at spans (50 to 100 ns each). Purging one
 * counts as so many looks.
 */
#define LOOKS_PER_PURGE 16
#define WORK_PER_MS     64
#define MOST_WORK       4096

enum visit {
	PASS_OVER,
	SPAN_LOOKED_AT,
	SPAN_PURGED,
};

bool central_waiting;

/* Of the ticks. Only the stepper touches it. */
static struct {
	struct thread_state *stepper; /* who is at it, or NULL; atomic */
	uint64_t last_step;           /* milliseconds */
	uint64_t last_review;
	uint64_t classes[WORDS_FOR_BITS(CLASS_COUNT)]; /* in which a pass is under way */
} purging;

struct run {
	uintptr_t start;
	uintptr_t end;
};

/* The next run of pages of the kernel that only free objects, or the span's tail, lie on; from object *at on. */
static bool next_run(const struct span *span, size_t *at, struct run *run)
{
	size_t size = size_classes[span->class].size;
	size_t unit = os_page_size();

	while (*at <= span->objects) {
		size_t first = bits_next_set(span->free_objects, *at, span->objects);
		size_t end = bits_next_clear(span->free_objects, first, span->objects);

		*at = end == span->objects ? end + 1u : end;
		run->start = round_up(span->start + first * size, unit);
		run->end = round_down(span->start + (end == span->objects ? span_bytes(span) : end * size), unit);
		if (run->start < run->end)
			return true;
	}
	return false;
}

static size_t purgeable_bytes(const struct span *span)
{
	struct run run;
	size_t bytes = 0;

	for (size_t at = 0; next_run(span, &at, &run);)
		bytes += run.end - run.start;
	return bytes;
}

static void take_out(struct free_list *list, struct span *span)
{
	occupancy_remove(&list->occupancy, span);
	span->turn = TURN_NEVER;
	list->away = span;
	list->purger = &thread_state;
}

/* Gives the pages of a span back that is out of its list. Called with the lock, which is not held meanwhile. Returns bytes. */
static size_t purge_outside(struct free_list *list, const struct span *span)
{
	struct run runs[RUNS];
	size_t bytes = 0;
	size_t count;
	size_t at = 0;

	do {
		for (count = 0; count < RUNS && next_run(span, &at, &runs[count]); count++)
			;
		lock_release(&list->lock);
		for (size_t i = 0; i < count; i++) {
			if (pageheap_purge(runs[i].start, runs[i].end - runs[i].start))
				bytes += runs[i].end - runs[i].start;
		}
		lock_acquire(&list->lock);
	} while (count == RUNS);
	return bytes;
}

/* Purges a span of the list, whose lock is held, and is released when this returns. */
static void purge(struct free_list *list, struct span *span)
{
	size_t before = span->purged * os_page_size();
	size_t bytes;

	take_out(list, span);
	bytes = maximum(purge_outside(list, span), before);
	span->purged = (uint16_t)(bytes / os_page_size());
	store_relaxed(&list->purged, list->purged + bytes - before);
	pageheap_purged_add(bytes - before);
	list->away = NULL;
	span = free_list_reenter(list, span);
	lock_release(&list->lock);
	if (span != NULL)
		span_destroy(span);
}

/* The span that the pass visits next, which becomes the last of its ring. NULL: the pass is over. */
static struct span *next_of_pass(struct occupancy *occupancy, struct purge_pass *pass)
{
	struct span *span;

	while (pass->left == 0 || occupancy->heads[pass->bucket] == NULL) {
		if (pass->bucket == pass->last)
			return NULL;
		pass->left = occupancy->counts[--pass->bucket];
	}
	pass->left--;
	span = occupancy->heads[pass->bucket];
	occupancy->heads[pass->bucket] = span->next;
	return span;
}

/* Visits one span. */
static enum visit visit_next(struct free_list *list, struct purge_pass *pass)
{
	struct span *span;

	lock_acquire(&list->lock);
	/* If another thread is at it, this one has nothing to do here. */
	span = list->away == NULL ? next_of_pass(&list->occupancy, pass) : NULL;
	if (span == NULL || span->kept || purgeable_bytes(span) <= span->purged * os_page_size()) {
		lock_release(&list->lock);
		return span == NULL ? PASS_OVER : SPAN_LOOKED_AT;
	}
	purge(list, span);
	return SPAN_PURGED;
}

void central_purge(void)
{
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		struct purge_pass pass = {.bucket = OCCUPANCY_BUCKETS};

		while (visit_next(&free_lists[class], &pass) != PASS_OVER)
			;
	}
}

/* Bytes of the class's free objects that have not been given back. Without the lock: of a moment. */
static size_t unpurged_bytes(unsigned class, size_t objects)
{
	size_t bytes = objects * size_classes[class].size;

	return bytes - minimum(load_relaxed(&free_lists[class].purged), bytes);
}

/* Whether so many free objects of the class's spans are a good part of them. */
static bool is_much(unsigned class, size_t objects)
{
	return objects * CALM_SHARE >= load_relaxed(&free_lists[class].spans) * size_classes[class].objects;
}

/* Whether so much is worth a pass, after what the last one has left. */
static bool is_gain(unsigned class, size_t unpurged)
{
	const struct free_list *list = &free_lists[class];
	size_t span_bytes = load_relaxed(&list->spans) * size_classes[class].span_bytes;

	return unpurged > load_relaxed(&list->unpurged) + span_bytes / GAIN_SHARE;
}

/* Bytes that a pass would be for, sooner or later, if `objects` objects of the class stay free; 0: not worth it. */
static size_t prospect(unsigned class, size_t objects)
{
	size_t unpurged = unpurged_bytes(class, objects);

	return is_much(class, objects) && is_gain(class, unpurged) ? unpurged : 0;
}

/* Whether there is more to give back, if it stays free, than the page heap would keep. */
static bool something_is_pending(void)
{
	size_t bytes = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		if (load_relaxed(&free_lists[class].spans) != 0)
			bytes += prospect(class, load_relaxed(&free_lists[class].free));
	}
	return !pageheap_would_keep(bytes >> PAGE_SHIFT);
}

/* Looks at what has happened to a class since the last look. Returns whether a pass is due. */
static bool review(unsigned class, uint64_t now)
{
	struct free_list *list = &free_lists[class];
	size_t least = list->least_free;
	bool calm = is_much(class, least);

	list->least_free = list->free;
	store_relaxed(&list->unpurged, minimum(list->unpurged, unpurged_bytes(class, list->free)));
	if (!calm || list->calm_since == 0)
		list->calm_since = calm ? now : 0;
	return calm && now - list->calm_since >= CALM_MS && prospect(class, least) != 0;
}

static void begin_pass(unsigned class)
{
	if (bit_test(purging.classes, class))
		return;
	free_lists[class].pass = (struct purge_pass){.bucket = OCCUPANCY_BUCKETS, .last = SPARSE_BUCKET};
	bit_set(purging.classes, class);
}

/* Passes begin where they are due. */
static void review_all(uint64_t now)
{
	bool worth = something_is_pending();

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		struct free_list *list = &free_lists[class];
		bool due;

		if (load_relaxed(&list->spans) == 0)
			continue;
		lock_acquire(&list->lock);
		due = review(class, now);
		lock_release(&list->lock);
		if (due && worth)
			begin_pass(class);
	}
}

/* A class's pass is over: what is left now is no reason for another one. */
static void end_pass(unsigned class)
{
	struct free_list *list = &free_lists[class];

	bit_clear(purging.classes, class);
	lock_acquire(&list->lock);
	store_relaxed(&list->unpurged, unpurged_bytes(class, list->free));
	lock_release(&list->lock);
}

/* Goes on with the passes, for about so much work. Returns whether there is more. */
static bool go_on(size_t work)
{
	unsigned class = (unsigned)bits_next_set(purging.classes, 0, CLASS_COUNT);

	while (work != 0 && class != CLASS_COUNT) {
		enum visit visit = visit_next(&free_lists[class], &free_lists[class].pass);

		if (visit == PASS_OVER) {
			end_pass(class);
			class = (unsigned)bits_next_set(purging.classes, 0, CLASS_COUNT);
		}
		work -= minimum(work, visit == SPAN_PURGED ? LOOKS_PER_PURGE : 1);
	}
	return class != CLASS_COUNT;
}

/* As central_tick, by one thread at a time. */
static bool step(uint64_t now)
{
	uint64_t passed = now - purging.last_step;

	purging.last_step = now;
	if (now - purging.last_review >= REVIEW_MS) {
		purging.last_review = now;
		review_all(now);
	}
	return go_on(minimum(passed * WORK_PER_MS, MOST_WORK)) || something_is_pending();
}

void central_tick(uint64_t now)
{
	struct thread_state *nobody = NULL;

	/* Whoever is at it goes on with it. */
	if (!__atomic_compare_exchange_n(&purging.stepper, &nobody, &thread_state, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return;
	store_relaxed(&central_waiting, step(now));
	__atomic_store_n(&purging.stepper, NULL, __ATOMIC_RELEASE);
}

static void adopt(struct free_list *list)
{
	struct span *span = list->away;

	/* What this thread was doing when its signal handler forked goes on; what it was changing then is left alone. */
	if (span == NULL || list->purger == &thread_state || list->lock.word & LOCK_FROZEN)
		return;
	list->away = NULL;
	span = free_list_reenter(list, span);
	if (span != NULL)
		span_destroy(span);
}

void central_adopt_in_child(void)
{
	if (purging.stepper != &thread_state)
		purging.stepper = NULL;
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		adopt(&free_lists[class]);
}

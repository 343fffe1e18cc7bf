/*
 * The frontend per CPU, behind the door: growing, refilling, flushing and shrinking the stacks of the CPU that the thread is
 * on, and draining those of others.
 *
 * The thread may be moved to another CPU at any time. What it knows of "its" slab is then a little old, which does no harm:
 * what it does to the slab's words it does in sections, and each is true for itself. Capacities follow the same rules as a
 * thread's (demand.h).
 */
#include "frontend/cpu_cache.h"

#include "base/os.h"
#include "central/central.h"
#include "frontend/frontend.h"
#include "frontend/section.h"
#include "frontend/slab.h"
#include "frontend/thread_cache.h"

/* Objects that go to or come from the central tier at a time: they are copied by way of the stack. */
#define MOST_AT_ONCE 256

/* Classes that are asked for some of their capacity when there is no budget to grow. */
#define CLASSES_TO_ASK 4

/* A slab is drained when this many looks at it, so far apart, have found nothing changed. */
#define IDLE_LOOKS            2
#define MILLISECONDS_PER_LOOK 1000

static uint64_t last_look; /* when the slabs were last looked at for idle ones */

#define ALL (&rseq_process.numbers)

/* The slab of the CPU that this thread is on, if the sections find it. */
static struct slab *slab_here(const struct rseq_area *area)
{
	struct slab *slab = slab_of(rseq_number(area));

	return slab != NULL && slab_is_there(slab) ? slab : NULL;
}

/* The next larger capacity, as far as the budget allows. False: not at all. */
static bool grow(struct rseq_area *area, struct slab *slab, unsigned class)
{
	size_t size = size_classes[class].size;
	void **limit = slab_limit(slab, class);
	size_t old = (size_t)(limit - slab_bottom(slab, class));
	size_t wanted = minimum(next_capacity(&slab->demand[class], class, old), slab_most_slots(class));
	size_t charged;

	if (wanted <= old)
		return false;
	charged = slab_charge(slab, (wanted - old) * size, size);
	slab->demand[class].swings = 0;
	if (charged == 0)
		return false;
	if (section_set_limit(area, ALL, class, &slab->stacks, limit, limit + charged / size))
		return true;
	slab_discharge(slab, charged);
	return false;
}

/* Gives `count` of the newest objects back, as many as there are. */
static void flush(struct rseq_area *area, unsigned class, size_t count, const char *function)
{
	void *objects[MOST_AT_ONCE];

	while (count != 0) {
		size_t part = minimum(count, MOST_AT_ONCE);
		size_t taken = section_pop_batch(area, ALL, class, objects + MOST_AT_ONCE, part);

		if (taken != 0)
			transfer_return(class, objects + MOST_AT_ONCE - taken, taken, function);
		if (taken < part)
			return;
		count -= part;
	}
}

static void shrink(struct rseq_area *area, struct slab *slab, unsigned class, size_t capacity)
{
	void **limit = slab_limit(slab, class);
	size_t old = (size_t)(limit - slab_bottom(slab, class));
	size_t held = slab_held(slab, class);

	if (held > capacity)
		flush(area, class, held - capacity, "free");
	if (section_set_limit(area, ALL, class, &slab->stacks, limit, slab_bottom(slab, class) + capacity))
		slab_discharge(slab, (old - capacity) * size_classes[class].size);
}

static void halve(struct rseq_area *area, struct slab *slab, unsigned class)
{
	size_t capacity = slab_capacity(slab, class);

	shrink(area, slab, class, capacity <= FIRST_CAPACITY ? 0 : capacity / 2);
}

/* Gives a stack up, which starts anew, if its objects hold spans that would go. False: they do not. */
static bool give_up(struct rseq_area *area, struct slab *slab, unsigned class)
{
	size_t held = slab_held(slab, class);

	if (held == 0 || likely(!central_wants_back(class, held)))
		return false;
	shrink(area, slab, class, 0);
	transfer_flush_class(class);
	return true;
}

/* A class that has neither come here nor changed since the last look has more than it needs. */
static void look_at_next_class(struct rseq_area *area, struct slab *slab)
{
	unsigned class = load_relaxed(&slab->next_class) % (CLASS_COUNT - 1) + 1;

	store_relaxed(&slab->next_class, class);
	if (demand_has_gone(&slab->demand[class], slab_held(slab, class)) && slab_capacity(slab, class) != 0 &&
	    !give_up(area, slab, class))
		halve(area, slab, class);
	slab->demand[class].seen = (uint16_t)slab_held(slab, class);
}

static bool grow_or_ask(struct rseq_area *area, struct slab *slab, unsigned class)
{
	if (grow(area, slab, class))
		return true;
	if (next_capacity(&slab->demand[class], class, slab_capacity(slab, class)) <= slab_capacity(slab, class))
		return false;
	for (size_t i = 0; i < CLASSES_TO_ASK; i++)
		look_at_next_class(area, slab);
	return false;
}

/* Takes everything out of a slab. Returns bytes. */
static size_t drain(struct slab *slab)
{
	size_t bytes = 0;
	size_t capacities = 0;

	if (!slab_take_away(slab))
		return 0;
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		void **bottom = slab_bottom(slab, class);
		size_t held = slab_held(slab, class);

		capacities += slab_capacity(slab, class) * size_classes[class].size;
		/* First, so that a process forked in the middle has no object twice. */
		store_relaxed(&slab->stacks.top[class], bottom);
		store_relaxed(&slab->stacks.limit[class], bottom);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (held != 0)
			transfer_return(class, bottom, held, "free");
		bytes += held * size_classes[class].size;
	}
	slab_discharge(slab, capacities);
	slab_put_back(slab);
	return bytes;
}

/*
 * A number that tells how full each stack is. A CPU that does nothing but pairs looks as if it were idle, and is refilled
 * with its next miss.
 */
static uintptr_t mark_of(const struct slab *slab)
{
	uintptr_t mark = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		mark = mark * 31 + (uintptr_t)load_relaxed(&slab->stacks.top[class]);
	return mark;
}

static void look_at_slab(struct slab *slab)
{
	uintptr_t mark = mark_of(slab);
	uint32_t visits = load_relaxed(&slab->visits);
	bool same = mark == slab->seen_mark && visits == slab->seen_visits;

	slab->seen_mark = mark;
	slab->seen_visits = visits;
	slab->idle_looks = same ? slab->idle_looks + 1 : 0;
	if (slab->idle_looks >= IDLE_LOOKS && load_relaxed(&slab->charged) != 0)
		drain(slab);
}

void cpu_cache_drain_idle(void)
{
	uint64_t last = load_relaxed(&last_look);
	uint64_t now = os_milliseconds();

	if (now - last < MILLISECONDS_PER_LOOK ||
	    !__atomic_compare_exchange_n(&last_look, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	for (uint32_t number = 0; number < rseq_process.numbers; number++) {
		struct slab *slab = slab_made(number);

		if (slab != NULL)
			look_at_slab(slab);
	}
}

static inline void count_visit(struct rseq_area *area, struct slab *slab)
{
	uint32_t visits = load_relaxed(&slab->visits) + 1;

	store_relaxed(&slab->visits, visits);
	if (visits % VISITS_PER_LOOK == 0)
		look_at_next_class(area, slab);
	if (unlikely(visits % VISITS_PER_TICK == 0)) {
		cpu_cache_drain_idle();
		frontend_tick();
	}
}

/* Takes objects from the central tier: one for the caller, the rest onto the stack of the CPU that it is on then. */
static void *refill(struct rseq_area *area, struct slab *slab, unsigned class)
{
	void *objects[MOST_AT_ONCE];
	void **end = objects + MOST_AT_ONCE;
	size_t capacity = slab_capacity(slab, class);
	size_t wanted = maximum(demand_refill(&slab->demand[class], class, capacity), line_of(class));
	size_t taken;
	size_t pushed;

	wanted = minimum(minimum(wanted, capacity), MOST_AT_ONCE);
	taken = wanted != 0 ? transfer_take(class, end, wanted) : 0;
	if (taken == 0)
		return frontend_allocate_directly(class);
	pushed = taken > 1 ? section_push_batch(area, ALL, class, end - 1, taken - 1) : 0;
	if (pushed < taken - 1)
		transfer_return(class, end - taken, taken - 1 - pushed, "malloc");
	return end[-1];
}

void *cpu_cache_allocate(struct rseq_area *area, unsigned class)
{
	void *object = section_pop(area, ALL, class);
	struct slab *slab;
	struct demand *demand;
	size_t capacity;
	bool first_time;
	bool wanting;

	if (object != NULL)
		return object;
	slab = slab_here(area);
	if (unlikely(slab == NULL))
		return frontend_allocate_directly(class);
	count_visit(area, slab);
	demand = &slab->demand[class];
	capacity = slab_capacity(slab, class);
	first_time = capacity == 0 && !demand->visited && !(load_relaxed(&transfer_enabled) && line_of(class) > 1);
	wanting = should_grow_for_refill(demand, class, capacity);
	if (first_time || (!(wanting && grow_or_ask(area, slab, class)) && capacity == 0))
		return frontend_allocate_directly(class);
	return refill(area, slab, class);
}

static bool push(struct rseq_area *area, unsigned class, void *object, const char *function)
{
	enum section_result result = section_push(area, ALL, CLASS_OFFSET(class), object);

	if (unlikely(result == SECTION_TWICE))
		frontend_freed_twice(class, object, function);
	return result == SECTION_DONE;
}

/* Makes room on the full stack of this CPU, one way or another. */
static void make_room(struct rseq_area *area, struct slab *slab, unsigned class, const char *function)
{
	struct demand *demand = &slab->demand[class];
	size_t capacity = slab_capacity(slab, class);

	if ((demand_is_freeing(demand) && give_up(area, slab, class)) ||
	    (should_grow_for_flush(demand, class, capacity) && grow_or_ask(area, slab, class)))
		return;
	if (should_shrink(demand, class, capacity))
		halve(area, slab, class);
	else if (capacity != 0)
		flush(area, class, demand_step(demand, capacity), function);
}

void cpu_cache_free(struct rseq_area *area, unsigned class, void *object, const char *function)
{
	struct slab *slab;

	if (push(area, class, object, function))
		return;
	slab = slab_here(area);
	if (likely(slab != NULL)) {
		count_visit(area, slab);
		note_free(&slab->demand[class]);
		make_room(area, slab, class, function);
		if (push(area, class, object, function))
			return;
	}
	transfer_return(class, &object, 1, function);
}

size_t cpu_cache_flush_all(void)
{
	size_t bytes = 0;

	for (uint32_t number = 0; number < rseq_process.numbers; number++) {
		struct slab *slab = slab_made(number);

		if (slab != NULL)
			bytes += drain(slab);
	}
	return bytes;
}

void cpu_cache_adopt_in_child(void)
{
	for (uint32_t number = 0; number < rseq_process.numbers; number++) {
		struct slab *slab = slab_made(number);

		/* What this thread was doing when its signal handler forked goes on afterwards. */
		if (slab == NULL || slab->taker == &thread_state)
			continue;
		if (!thread_state.in_door)
			slab->charged = slab_sum(slab);
		if (slab->taker != NULL)
			slab_put_back(slab);
	}
}

void cpu_cache_read_statistics(struct cpu_cache_statistics *statistics)
{
	*statistics = (struct cpu_cache_statistics){0};
	for (uint32_t number = 0; number < rseq_process.numbers; number++) {
		const struct slab *slab = slab_made(number);

		if (slab == NULL)
			continue;
		statistics->slabs++;
		statistics->capacity += slab_sum(slab);
	}
}

size_t cpu_cache_held(unsigned class)
{
	size_t held = 0;

	for (uint32_t number = 0; number < rseq_process.numbers; number++) {
		const struct slab *slab = slab_made(number);

		if (slab != NULL)
			held += slab_held(slab, class);
	}
	return held;
}

static const char *check_slab(const struct slab *slab)
{
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		if (slab_capacity(slab, class) > slab_most_slots(class))
			return "a slab's capacity is beyond its slots";
		if (slab_held(slab, class) > slab_capacity(slab, class))
			return "a slab's stack holds more than it may";
		if (slab_bottom(slab, class)[-1] != NULL)
			return "the slot below a slab's stack is not empty";
	}
	return slab_sum(slab) == load_relaxed(&slab->charged) ? NULL : "a slab's charge is wrong";
}

const char *cpu_cache_validate(void)
{
	const char *wrong = NULL;

	for (uint32_t number = 0; number < rseq_process.numbers && wrong == NULL; number++) {
		const struct slab *slab = slab_made(number);

		if (slab != NULL)
			wrong = check_slab(slab);
	}
	return wrong;
}

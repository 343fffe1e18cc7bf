/*
 * The demand's history: against all that happened, at random; and which swings are seen.
 */
#include "support.h"

#include "pageheap/history.h"

/* Divided by the number of epochs. */
#define WINDOW 800u
#define MANY   100000u

struct event {
	uint32_t time;
	size_t used; /* from then on */
	size_t taken;
};

static struct event events[MANY];
static size_t event_count;
static size_t used;
static uint32_t now;

static void note(size_t taken)
{
	events[event_count++] = (struct event){now, used, taken};
}

static void take(size_t pages)
{
	used += pages;
	history_note_taken(pages, used);
	note(pages);
}

static void give_back(size_t pages)
{
	used -= pages;
	history_note_freed(used);
	note(0);
}

/* The demand of the last `span` milliseconds, from all events. */
static struct demand demand_since(uint32_t span)
{
	struct demand demand = {.most = used, .least = used};

	for (size_t i = event_count; i-- > 0;) {
		demand.most = maximum(demand.most, events[i].used);
		demand.least = minimum(demand.least, events[i].used);
		/* What was in use when the span began counts, who took it does not. */
		if (now - events[i].time > span)
			break;
		demand.taken += events[i].taken;
	}
	return demand;
}

static struct demand read_window(enum history_window window)
{
	return history_read(window, now);
}

static int start_afresh(void **unused)
{
	(void)unused;
	now += 100 * WINDOW;
	for (unsigned window = 0; window < HISTORY_WINDOWS; window++)
		history_set_window((enum history_window)window, WINDOW << window);
	give_back(used);
	read_window(HISTORY_DECAY);
	now += 100 * WINDOW;
	read_window(HISTORY_DECAY);
	event_count = 0;
	note(0);
	return 0;
}

static void check_window(enum history_window window)
{
	struct demand held = read_window(window);
	struct demand fewest = demand_since((WINDOW << window) * 7 / 8 - 1);
	struct demand most = demand_since(WINDOW << window);

	assert_in_range(held.most, fewest.most, most.most);
	assert_in_range(held.least, most.least, fewest.least);
	assert_in_range(held.taken, fewest.taken, most.taken);
}

static void at_random(void **unused)
{
	uint64_t random = seed_of_run("history");

	(void)unused;
	for (int step = 0; step < 20000; step++) {
		now += (uint32_t)(random_below(&random, 4) == 0 ? random_below(&random, WINDOW)
								: random_below(&random, 3));
		/* Whoever does something reads at once. */
		if (random_below(&random, 2) == 0)
			take(random_below(&random, 1000));
		else
			give_back(random_below(&random, used + 1));
		for (unsigned window = 0; window < HISTORY_WINDOWS; window++)
			check_window((enum history_window)window);
	}
}

static void first_rise_is_no_swing(void **unused)
{
	(void)unused;
	take(1000);
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 0);
	give_back(1000);
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 0);
	take(1000);
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 1000);
	give_back(900);
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 1000);
	now += WINDOW;
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 0);
}

/* However much of it comes and goes, it has not swung by more than that. */
static void turnover_is_a_small_swing(void **unused)
{
	(void)unused;
	take(1000);
	read_window(HISTORY_DECAY);
	now += WINDOW;
	for (int i = 0; i < 100; i++) {
		give_back(10);
		take(10);
	}
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 10);
}

/* Falls, and what is taken by the way. */
static void replacing_is_no_slow_swing(void **unused)
{
	(void)unused;
	take(1000);
	for (int i = 0; i < 8; i++) {
		now += WINDOW / 8;
		take(200);
		give_back(300);
		read_window(HISTORY_DECAY);
	}
	assert_true(history_fast_swing(HISTORY_DECAY, now) >= 500);
	/* What has come and gone within an epoch. */
	assert_true(history_slow_swing(HISTORY_DECAY, now) <= 300);
}

static void slow_swing(void **unused)
{
	(void)unused;
	take(1000);
	for (int i = 0; i < 3; i++) {
		now += WINDOW / 8;
		give_back(700);
		assert_int_equal(history_slow_swing(HISTORY_DECAY, now), i == 0 ? 0 : 700);
		now += WINDOW / 8;
		take(700);
		assert_int_equal(history_slow_swing(HISTORY_DECAY, now), 700);
	}
	now += WINDOW;
	assert_int_equal(history_slow_swing(HISTORY_DECAY, now), 0);
}

static void no_window(void **unused)
{
	(void)unused;
	history_set_window(HISTORY_DECAY, 0);
	take(1000);
	give_back(1000);
	take(1000);
	give_back(1000);
	read_window(HISTORY_DECAY);
	assert_int_equal(history_fast_swing(HISTORY_DECAY, now), 0);
}

static void clock_wraps(void **unused)
{
	now = UINT32_MAX - WINDOW / 2;
	start_afresh(unused);
	now = UINT32_MAX - WINDOW / 2;
	read_window(HISTORY_DECAY);
	now += WINDOW;
	slow_swing(unused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(at_random, start_afresh),
		cmocka_unit_test_setup(first_rise_is_no_swing, start_afresh),
		cmocka_unit_test_setup(turnover_is_a_small_swing, start_afresh),
		cmocka_unit_test_setup(replacing_is_no_slow_swing, start_afresh),
		cmocka_unit_test_setup(slow_swing, start_afresh),
		cmocka_unit_test_setup(no_window, start_afresh),
		cmocka_unit_test_setup(clock_wraps, start_afresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

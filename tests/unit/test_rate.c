/*
 * The bucket that bounds how fast memory is given back, on a clock of the test's own.
 * Relies on pageheap/rate alone.
 */
#include "support.h"

#include "pageheap/rate.h"

#define MEBIBYTE ((size_t)1 << 20)

static void no_bound(void **unused)
{
	struct rate rate;

	(void)unused;
	rate_set(&rate, 0, 1000);
	assert_true(rate_allowance(&rate, 1000) == SIZE_MAX);
	rate_spend(&rate, SIZE_MAX);
	assert_true(rate_allowance(&rate, 1000) == SIZE_MAX);
}

static void fills_with_the_time(void **unused)
{
	struct rate rate;
	size_t full;

	(void)unused;
	rate_set(&rate, 10 * MEBIBYTE, 1000);
	full = rate_allowance(&rate, 1000);
	assert_true(full >= MEBIBYTE && full <= MEBIBYTE + 1);
	rate_spend(&rate, full);
	assert_int_equal(rate_allowance(&rate, 1000), 0);
	assert_int_equal(rate_allowance(&rate, 1001), 10 * MEBIBYTE / 1000);
	assert_int_equal(rate_allowance(&rate, 1050),
			 10 * MEBIBYTE / 1000 + 10 * MEBIBYTE / 1000 * 49 + 760 * 49 / 1000);
	/* No more than a bucket, however long the pause. */
	assert_int_equal(rate_allowance(&rate, 1000000), full);
	assert_int_equal(rate_allowance(&rate, UINT64_MAX), full);
}

static void debt_is_paid_first(void **unused)
{
	struct rate rate;

	(void)unused;
	rate_set(&rate, MEBIBYTE, 0);
	/* 10 s' worth. */
	rate_spend(&rate, 10 * MEBIBYTE);
	for (uint64_t time = 0; time <= 9800; time += 7)
		assert_int_equal(rate_allowance(&rate, time), 0);
	assert_true(rate_allowance(&rate, 10001) > 0);
}

/* Also where a millisecond brings less than a byte. */
static void low_rates(void **unused)
{
	struct rate rate;
	size_t sum = 0;

	(void)unused;
	rate_set(&rate, 3, 0);
	rate_spend(&rate, rate_allowance(&rate, 0));
	for (uint64_t time = 1; time <= 100000; time++) {
		size_t bytes = rate_allowance(&rate, time);

		rate_spend(&rate, bytes);
		sum += bytes;
	}
	assert_true(sum >= 290 && sum <= 300);
}

static void impossible_sums(void **unused)
{
	struct rate rate;

	(void)unused;
	rate_set(&rate, PTRDIFF_MAX, 0);
	rate_spend(&rate, SIZE_MAX);
	rate_spend(&rate, SIZE_MAX);
	rate_spend(&rate, SIZE_MAX);
	assert_int_equal(rate_allowance(&rate, 0), 0);
	rate_allowance(&rate, UINT64_MAX / 2);
	assert_true(rate_allowance(&rate, UINT64_MAX) > 0);
	/* A clock that stands still, or goes back, brings nothing. */
	rate_set(&rate, MEBIBYTE, 5000);
	rate_spend(&rate, rate_allowance(&rate, 5000));
	assert_int_equal(rate_allowance(&rate, 5000), 0);
	assert_int_equal(rate_allowance(&rate, 4000), 0);
	assert_int_equal(rate_allowance(&rate, 5000), 0);
}

/* What a caller releases who asks at random times, and overdraws by up to a hugepage. */
static void one_random_run(uint64_t *random)
{
	size_t per_second = 1000 + random_below(random, (size_t)1 << (10 + random_below(random, 25)));
	uint64_t time = random_below(random, 1000000);
	uint64_t start = time;
	size_t most_pause = 1 + random_below(random, 90);
	size_t largest = 1 + random_below(random, 2 * MEBIBYTE);
	size_t spent = 0;
	size_t bound;
	struct rate rate;

	rate_set(&rate, per_second, time);
	for (int i = 0; i < 2000; i++) {
		size_t bytes;

		time += random_below(random, most_pause + 1);
		while (rate_allowance(&rate, time) != 0) {
			bytes = 1 + random_below(random, largest);
			rate_spend(&rate, bytes);
			spent += bytes;
		}
	}
	bound = (size_t)((time - start) * (per_second / 1000.0));
	/* Asked often enough, all that the rate allows goes, and never more but for a bucket and one release. */
	assert_true(spent <= bound + per_second / 10 + 2 + largest);
	/* Each look may lose a byte to rounding; what is left is less than a bucket. */
	assert_true(spent + 4000 + per_second / 10 >= bound);
}

static void random_runs(void **unused)
{
	uint64_t random = seed_of_run("rate");

	(void)unused;
	for (int i = 0; i < 300; i++)
		one_random_run(&random);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_bound),           cmocka_unit_test(fills_with_the_time),
		cmocka_unit_test(debt_is_paid_first), cmocka_unit_test(low_rates),
		cmocka_unit_test(impossible_sums),    cmocka_unit_test(random_runs),
	};

	return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}

/*
 * The bell: rung in every order with listening and sleeping. What hangs is killed by the time limit on tests.
 * Relies on base/bell and threads.
 */
#include "support.h"

#include <pthread.h>

#include "base/bell.h"

#define ROUNDS 20000

static struct bell bell;

static void nobody_listens(void **unused)
{
	struct bell quiet = {0};

	(void)unused;
	bell_ring(&quiet);
	assert_true(bell_was_rung(&quiet));
	bell_listen(&quiet);
	assert_false(bell_was_rung(&quiet));
	bell_ring(&quiet);
	assert_true(bell_was_rung(&quiet));
	bell_listen(&quiet);
	assert_false(bell_was_rung(&quiet));
}

/* Would not come back. */
static void rung_before_sleep(void **unused)
{
	(void)unused;
	bell_listen(&bell);
	bell_ring(&bell);
	bell_sleep(&bell, 0);
	assert_true(bell_was_rung(&bell));
}

static void sleep_ends_with_the_time(void **unused)
{
	(void)unused;
	errno = 4242;
	bell_listen(&bell);
	bell_sleep(&bell, 1);
	assert_false(bell_was_rung(&bell));
	assert_int_equal(errno, 4242);
	/* It goes on listening. */
	bell_ring(&bell);
	assert_true(bell_was_rung(&bell));
}

static size_t answers;
static struct bell answer;

/* Each round rings once, at any moment of the other's way to sleep, and sleeps until the answer. */
static void *ring_and_wait(void *unused)
{
	for (size_t round = 1; round <= ROUNDS; round++) {
		bell_listen(&answer);
		bell_ring(&bell);
		while (__atomic_load_n(&answers, __ATOMIC_ACQUIRE) < round)
			bell_sleep(&answer, 0);
	}
	return unused;
}

static void no_ring_is_lost(void **unused)
{
	pthread_t ringer;

	(void)unused;
	bell_listen(&bell);
	assert_int_equal(pthread_create(&ringer, NULL, ring_and_wait, NULL), 0);
	for (size_t round = 1; round <= ROUNDS; round++) {
		while (!bell_was_rung(&bell))
			bell_sleep(&bell, 0);
		bell_listen(&bell);
		__atomic_store_n(&answers, round, __ATOMIC_RELEASE);
		bell_ring(&answer);
	}
	assert_int_equal(pthread_join(ringer, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(rung_before_sleep),
		cmocka_unit_test(sleep_ends_with_the_time),
		cmocka_unit_test(no_ring_is_lost),
	};

	return cmocka_run_group_tests_name("bell", tests, NULL, NULL);
}

/*
 * The lock: mutual exclusion and waking under contention, the sleeping path, and what fork needs (trying,
 * nesting, adoption). Threads wait for each other by looking at the lock's word and at flags; nothing depends
 * on how long anything takes.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

#include "base/lock.h"

#define THREADS 4
#define ROUNDS  (SANITIZED ? 5000 : 50000)

static uint32_t word_of(const struct lock *lock)
{
	return __atomic_load_n(&lock->word, __ATOMIC_ACQUIRE);
}

static void raise_flag(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static void await_flag(const bool *flag)
{
	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void await_sleeper(const struct lock *lock)
{
	while (!(word_of(lock) & LOCK_WAITERS))
		sched_yield();
}

static void owner(void **unused)
{
	struct lock lock = {0};

	(void)unused;
	lock_acquire(&lock);
	assert_int_equal(word_of(&lock), syscall(SYS_gettid));
	assert_int_equal(thread_id(), syscall(SYS_gettid));
	lock_release(&lock);
	assert_int_equal(word_of(&lock), 0);
	assert_int_equal(lock.nested, 0);
}

static struct {
	struct lock lock;
	size_t counter; /* on purpose not atomic */
	size_t inside;
	size_t intruders;
} shared;

/* Every so often the thread lets others run while it has the lock, so that they find it taken and sleep. */
static void *contend(void *unused)
{
	(void)unused;
	for (int round = 0; round < ROUNDS; round++) {
		lock_acquire(&shared.lock);
		if (shared.inside++ != 0)
			shared.intruders++;
		shared.counter++;
		if (round % 256 == 0)
			sched_yield();
		shared.inside--;
		lock_release(&shared.lock);
	}
	return NULL;
}

static void exclusion(void **unused)
{
	pthread_t threads[THREADS];

	(void)unused;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, contend, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.counter, (size_t)THREADS * ROUNDS);
	assert_int_equal(shared.intruders, 0);
	assert_int_equal(word_of(&shared.lock), 0);
}

struct sleeper {
	struct lock *lock;
	size_t *passed;
	int error;
};

static void *sleep_on_lock(void *argument)
{
	struct sleeper *sleeper = argument;

	errno = EXDEV;
	lock_acquire(sleeper->lock);
	++*sleeper->passed;
	lock_release(sleeper->lock);
	sleeper->error = errno;
	return NULL;
}

/* All of several sleepers are woken, though each release wakes one. errno is theirs. */
static void sleeping(void **unused)
{
	(void)unused;
	for (int round = 0; round < 50; round++) {
		struct lock lock = {0};
		size_t passed = 0;
		struct sleeper sleepers[3];
		pthread_t threads[3];

		lock_acquire(&lock);
		for (int i = 0; i < 3; i++) {
			sleepers[i] = (struct sleeper){&lock, &passed, 0};
			assert_int_equal(pthread_create(&threads[i], NULL, sleep_on_lock, &sleepers[i]), 0);
		}
		await_sleeper(&lock);
		assert_int_equal(passed, 0);
		assert_int_equal(word_of(&lock) & ~LOCK_WAITERS, thread_id());
		lock_release(&lock);
		for (int i = 0; i < 3; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(sleepers[i].error, EXDEV);
		}
		assert_int_equal(passed, 3);
		assert_int_equal(word_of(&lock), 0);
	}
}

struct holder {
	struct lock lock;
	bool has;
	bool let_go;
};

static void *hold(void *argument)
{
	struct holder *holder = argument;

	lock_acquire(&holder->lock);
	raise_flag(&holder->has);
	await_flag(&holder->let_go);
	lock_release(&holder->lock);
	return NULL;
}

#define EPISODES (SANITIZED ? 300 : 3000)
#define SHORT    20

static void *contend_shortly(void *unused)
{
	for (int round = 0; round < SHORT; round++) {
		lock_acquire(&shared.lock);
		sched_yield();
		lock_release(&shared.lock);
	}
	return unused;
}

static void *try_shortly(void *unused)
{
	for (int round = 0; round < SHORT; round++) {
		if (lock_try_for_fork(&shared.lock) == LOCK_TAKEN)
			lock_release(&shared.lock);
	}
	return unused;
}

/*
 * Who tries and gives up takes no wake from those that wait: if nobody else comes they would wait for ever, and the test
 * with them.
 */
static void trying_beside_waiting(void **unused)
{
	(void)unused;
	for (int episode = 0; episode < EPISODES; episode++) {
		pthread_t threads[4];

		for (size_t i = 0; i < COUNT_OF(threads); i++)
			assert_int_equal(
				pthread_create(&threads[i], NULL, i == 0 ? try_shortly : contend_shortly, NULL), 0);
		for (size_t i = 0; i < COUNT_OF(threads); i++)
			pthread_join(threads[i], NULL);
	}
	assert_int_equal(word_of(&shared.lock), 0);
}

static void try_for_fork(void **unused)
{
	struct holder holder = {0};
	pthread_t thread;

	(void)unused;
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_TAKEN);
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_OURS);
	assert_int_equal(word_of(&holder.lock) & LOCK_OWNER, thread_id());
	lock_release(&holder.lock);
	assert_int_equal(word_of(&holder.lock), 0);

	assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
	await_flag(&holder.has);
	errno = EXDEV;
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_NOT_TAKEN);
	assert_int_equal(errno, EXDEV);
	assert_int_not_equal(word_of(&holder.lock) & LOCK_OWNER, thread_id());
	/* The holder forks in a signal handler: it will not give the lock back, and nobody waits for that. */
	lock_freeze(&holder.lock);
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_OF_FORKER);
	lock_thaw(&holder.lock);
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_NOT_TAKEN);
	raise_flag(&holder.let_go);
	pthread_join(thread, NULL);
	assert_int_equal(word_of(&holder.lock), 0);
	assert_int_equal(lock_try_for_fork(&holder.lock), LOCK_TAKEN);
	/* What was frozen before the fork is so in the child, until the fork is over. */
	lock_freeze(&holder.lock);
	lock_adopt_in_child(&holder.lock);
	assert_int_equal(word_of(&holder.lock), thread_id() | LOCK_FROZEN);
	lock_thaw(&holder.lock);
	lock_release(&holder.lock);
}

static void *try_from_outside(void *argument)
{
	bool taken = lock_try_for_fork(argument) == LOCK_TAKEN;

	if (taken)
		lock_release(argument);
	return taken ? argument : NULL;
}

static bool others_can_take(struct lock *lock)
{
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, try_from_outside, lock), 0);
	pthread_join(thread, &result);
	return result != NULL;
}

/*
 * While fork allows it, a thread takes a lock again that it has, and the lock is free after as many releases.
 */
static void nesting(void **unused)
{
	struct lock lock = {0};

	(void)unused;
	lock_acquire(&lock);
	lock_allow_nesting(true);
	lock_acquire(&lock);
	lock_acquire(&lock);
	assert_int_equal(lock.nested, 2);
	assert_false(others_can_take(&lock));
	lock_release(&lock);
	lock_release(&lock);
	assert_int_equal(lock.nested, 0);
	assert_false(others_can_take(&lock));
	lock_allow_nesting(false);
	lock_release(&lock);
	assert_true(others_can_take(&lock));
	assert_int_equal(word_of(&lock), 0);
}

static void acquire_twice(const void *unused)
{
	struct lock lock = {0};

	(void)unused;
	lock_acquire(&lock);
	lock_acquire(&lock);
}

static void *allow_nesting_elsewhere(void *unused)
{
	(void)unused;
	lock_allow_nesting(true);
	return NULL;
}

static void acquire_twice_beside_a_fork(const void *unused)
{
	pthread_t thread;

	pthread_create(&thread, NULL, allow_nesting_elsewhere, NULL);
	pthread_join(thread, NULL);
	acquire_twice(unused);
}

/* Without fork, or with another thread in fork, it would be a deadlock: it ends with a message. */
static void no_nesting(void **unused)
{
	const char *expected = "tiermalloc: allocation in a signal handler that interrupted the allocator\n";
	struct captured captured;

	(void)unused;
	capture_child(acquire_twice, NULL, &captured);
	assert_aborted(&captured);
	assert_string_equal(captured.text, expected);
	capture_child(acquire_twice_beside_a_fork, NULL, &captured);
	assert_aborted(&captured);
	assert_string_equal(captured.text, expected);
}

static void adopt_and_use(const void *argument)
{
	struct lock *lock = (struct lock *)(uintptr_t)argument;
	uint32_t self = (uint32_t)syscall(SYS_gettid);

	/* As fork.c does first. */
	thread_state.id = 0;
	child_check((word_of(lock) & ~LOCK_WAITERS) != self);
	lock_adopt_in_child(lock);
	child_check(word_of(lock) == self);
	lock_release(lock);
	child_check(word_of(lock) == 0);
	lock_acquire(lock);
	child_check(word_of(lock) == self);
	lock_release(lock);
}

static void adoption(void **unused)
{
	struct lock lock = {0};
	struct captured captured;

	(void)unused;
	lock_acquire(&lock);
	capture_child(adopt_and_use, &lock, &captured);
	assert_string_equal(captured.text, "");
	assert_int_equal(captured.status, 0);
	assert_int_equal(word_of(&lock), thread_id());
	lock_release(&lock);
}

/* Each thread has a name of its own, the kernel's. */
static void *id_of_thread(void *result)
{
	*(uint32_t *)result = thread_id();
	return thread_id() == (uint32_t)syscall(SYS_gettid) ? result : NULL;
}

static void identity(void **unused)
{
	uint32_t other = 0;
	pthread_t thread;
	void *result;

	(void)unused;
	assert_int_equal(pthread_create(&thread, NULL, id_of_thread, &other), 0);
	pthread_join(thread, &result);
	assert_non_null(result);
	assert_int_not_equal(other, thread_id());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owner),        cmocka_unit_test(exclusion),
		cmocka_unit_test(sleeping),     cmocka_unit_test(trying_beside_waiting),
		cmocka_unit_test(try_for_fork), cmocka_unit_test(nesting),
		cmocka_unit_test(no_nesting),   cmocka_unit_test(adoption),
		cmocka_unit_test(identity),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}

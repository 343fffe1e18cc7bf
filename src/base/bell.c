/* The futex side of a bell. */
#define _GNU_SOURCE
#include "base/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void futex(struct bell *bell, int operation, uint32_t value, const struct timespec *limit)
{
	int saved = errno;

	syscall(SYS_futex, &bell->state, operation, value, limit, NULL, 0);
	errno = saved;
}

void bell_ring_slow(struct bell *bell)
{
	if (__atomic_exchange_n(&bell->state, BELL_QUIET, __ATOMIC_ACQ_REL) == BELL_ASLEEP)
		futex(bell, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
}

void bell_listen(struct bell *bell)
{
	__atomic_store_n(&bell->state, BELL_LISTENING, __ATOMIC_SEQ_CST);
}

bool bell_was_rung(const struct bell *bell)
{
	return __atomic_load_n(&bell->state, __ATOMIC_ACQUIRE) == BELL_QUIET;
}

static bool change(struct bell *bell, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&bell->state, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

void bell_sleep(struct bell *bell, uint64_t milliseconds)
{
	const struct timespec limit = {.tv_sec = (time_t)(milliseconds / 1000),
				       .tv_nsec = (long)(milliseconds % 1000) * 1000000};

	if (!change(bell, BELL_LISTENING, BELL_ASLEEP))
		return;
	futex(bell, FUTEX_WAIT_PRIVATE, BELL_ASLEEP, milliseconds != 0 ? &limit : NULL);
	change(bell, BELL_ASLEEP, BELL_LISTENING);
}

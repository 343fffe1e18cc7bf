/* The interface to limits and to giving memory back: see tiermalloc.h. */
#include <errno.h>

#include "abi.h"
#include "background.h"
#include "base/options.h"
#include "pageheap/pageheap.h"
#include "process.h"
#include "reentrant.h"
#include "tiermalloc/tiermalloc.h"

static bool fails(int error)
{
	errno = error;
	return false;
}

/* Behind the door, as below: a signal handler that interrupts this may allocate. */
static bool set_bytes(void (*set)(size_t bytes), size_t bytes)
{
	bool entered;

	if (bytes > PTRDIFF_MAX)
		return fails(EINVAL);
	if (!process_ready())
		return fails(ENOMEM);
	entered = door_enter();
	set(bytes);
	if (entered)
		door_leave();
	return true;
}

EXPORT bool PUBLIC(tiermalloc_retain)(size_t bytes)
{
	return set_bytes(pageheap_set_retain, bytes);
}

EXPORT bool PUBLIC(tiermalloc_release_rate)(size_t bytes_per_second)
{
	return set_bytes(pageheap_set_release_rate, bytes_per_second);
}

EXPORT bool PUBLIC(tiermalloc_soft_limit)(size_t bytes)
{
	return set_bytes(pageheap_set_soft_limit, bytes);
}

EXPORT bool PUBLIC(tiermalloc_hard_limit)(size_t bytes)
{
	return set_bytes(pageheap_set_hard_limit, bytes);
}

static bool set_milliseconds(void (*set)(uint32_t milliseconds), size_t milliseconds)
{
	bool entered;

	if (milliseconds > MOST_MS)
		return fails(EINVAL);
	if (!process_ready())
		return fails(ENOMEM);
	entered = door_enter();
	set((uint32_t)milliseconds);
	if (entered)
		door_leave();
	return true;
}

EXPORT bool PUBLIC(tiermalloc_decay_ms)(size_t milliseconds)
{
	return set_milliseconds(pageheap_set_decay, milliseconds);
}

EXPORT bool PUBLIC(tiermalloc_peak_ms)(size_t milliseconds)
{
	return set_milliseconds(pageheap_set_peak, milliseconds);
}

EXPORT bool PUBLIC(tiermalloc_trend_ms)(size_t milliseconds)
{
	return set_milliseconds(pageheap_set_trend, milliseconds);
}

EXPORT size_t PUBLIC(tiermalloc_counted_bytes)(void)
{
	struct pageheap_statistics pages;
	bool entered;

	if (!process_ready())
		return 0;
	entered = door_enter();
	pageheap_read_statistics(&pages);
	if (entered)
		door_leave();
	return pages.counted;
}

EXPORT bool PUBLIC(tiermalloc_background)(bool on)
{
	int error = process_ready() ? background_set(on) : ENOMEM;

	return error == 0 || fails(error);
}

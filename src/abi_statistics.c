/* glibc's interface to statistics and tuning: mallinfo and its like, malloc_info, mallopt. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "abi.h"
#include "observe/statistics.h"
#include "process.h"
#include "reentrant.h"
#include "tiermalloc/tiermalloc.h"

#if !__GLIBC_PREREQ(2, 33)
struct mallinfo2 {
	size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
#endif

EXPORT struct mallinfo2 PUBLIC(mallinfo2)(void);
EXPORT struct mallinfo PUBLIC(mallinfo)(void);
EXPORT void PUBLIC(malloc_stats)(void);
EXPORT int PUBLIC(malloc_info)(int options, FILE *stream);
EXPORT int PUBLIC(mallopt)(int parameter, int value);

/* Behind the door, as all here: a signal handler that interrupts this may allocate. */
static void read_statistics(struct statistics *statistics)
{
	bool entered = door_enter();

	statistics_read(statistics);
	if (entered)
		door_leave();
}

/* Large blocks stand for glibc's mapped regions; everything else for its arenas. */
static struct mallinfo2 gather(void)
{
	struct statistics s;
	struct mallinfo2 info = {0};

	if (!process_ready())
		return info;
	read_statistics(&s);
	info.arena = s.pages.used - s.in_use_large + s.pages.free;
	info.ordblks = s.spans;
	info.hblks = s.large_blocks;
	info.hblkhd = s.in_use_large;
	info.fsmblks = s.cached + s.transfer;
	info.uordblks = s.in_use - s.in_use_large;
	info.fordblks = info.arena - info.uordblks;
	info.keepcost = s.pages.free;
	return info;
}

struct mallinfo2 PUBLIC(mallinfo2)(void)
{
	return gather();
}

static int clamp(size_t value)
{
	return value > INT_MAX ? INT_MAX : (int)value;
}

struct mallinfo PUBLIC(mallinfo)(void)
{
	struct mallinfo2 wide = gather();

	return (struct mallinfo){
		.arena = clamp(wide.arena),
		.ordblks = clamp(wide.ordblks),
		.hblks = clamp(wide.hblks),
		.hblkhd = clamp(wide.hblkhd),
		.fsmblks = clamp(wide.fsmblks),
		.uordblks = clamp(wide.uordblks),
		.fordblks = clamp(wide.fordblks),
		.keepcost = clamp(wide.keepcost),
	};
}

void PUBLIC(malloc_stats)(void)
{
	bool entered;

	if (!process_ready())
		return;
	entered = door_enter();
	statistics_print_to_stderr();
	if (entered)
		door_leave();
}

struct output {
	FILE *stream;
	bool entered;
};

/* The stream may allocate, and has a lock: not behind the door. */
static void flush_to_stream(struct text *text, void *context)
{
	struct output *output = context;

	if (output->entered)
		door_leave();
	fwrite(text->buffer, 1, text->length, output->stream);
	text->length = 0;
	if (output->entered)
		output->entered = door_enter();
}

int PUBLIC(malloc_info)(int options, FILE *stream)
{
	char buffer[1024];
	struct output output = {.stream = stream};
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer), .flush = flush_to_stream, .context = &output};

	if (options != 0)
		return EINVAL;
	if (!process_ready())
		return ENOMEM;
	output.entered = door_enter();
	statistics_write_xml(&text);
	if (output.entered)
		door_leave();
	return 0;
}

/*
 * M_TRIM_THRESHOLD sets how much free memory is kept; -1: all of it. The other parameters of glibc are accepted and have nothing
 * to act on here: there are no arenas, and no threshold from which blocks are mapped.
 */
int PUBLIC(mallopt)(int parameter, int value)
{
	switch (parameter) {
	case M_TRIM_THRESHOLD:
		return value >= -1 && PUBLIC(tiermalloc_retain)(value == -1 ? PTRDIFF_MAX : (size_t)value);
	case M_MXFAST:
	case M_NLBLKS:
	case M_GRAIN:
	case M_KEEP:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}

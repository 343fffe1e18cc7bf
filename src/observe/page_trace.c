/*
 * Writing a trace of the page heap. The buffer belongs to whoever holds the page heap's lock, under which the events
 * come; it is written under it, too.
 *
 * The file is opened for each write: a program may close all descriptors that it does not know, and use their numbers
 * for files of its own.
 */
#define _GNU_SOURCE
#include "observe/page_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/os.h"
#include "observe/output_path.h"
#include "pageheap/page_map.h"
#include "pageheap/pageheap.h"

/* An event has three numbers of up to ten bytes; another event may have to be told before it. */
#define LONGEST_EVENTS 96
#define BUFFER_BYTES   ((size_t)64 << 10)

/* How often the page heap's lock is waited for, a millisecond each, at the end of the process. */
#define FLUSH_TRIES 1000

static struct {
	char pattern[PATH_MAX];
	char path[PATH_MAX];
	bool on;
	bool created; /* the file is there, and to be continued */
	uint64_t time;
	size_t page; /* that was named last */
	size_t spare;
	size_t purged;
	size_t length;
	uint8_t buffer[BUFFER_BYTES];
} trace;

static void stop(int error)
{
	path_complain("tracing into ", trace.path, "has ended", error);
	store_relaxed(&trace.on, false);
}

static void write_buffer(void)
{
	int saved = errno;
	int flags = O_CREAT | O_NOFOLLOW | (trace.created ? O_APPEND : O_TRUNC);
	int descriptor;

	if (!trace.on || trace.length == 0)
		return;
	descriptor = file_open(trace.path, flags);
	if (descriptor < 0 || !file_write(descriptor, (const char *)trace.buffer, trace.length))
		stop(errno);
	if (descriptor >= 0)
		file_close(descriptor);
	trace.created = true;
	trace.length = 0;
	errno = saved;
}

static void put_operation(enum page_trace_operation operation, unsigned flags)
{
	trace.buffer[trace.length++] = (uint8_t)((unsigned)operation | flags << TRACE_OPERATION_BITS);
}

static void put_number(uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		trace.buffer[trace.length++] = (uint8_t)(number | 0x80);
	trace.buffer[trace.length++] = (uint8_t)number;
}

static void put_page(size_t page)
{
	int64_t distance = (int64_t)(page - trace.page);

	put_number((uint64_t)distance << 1 ^ (uint64_t)(distance >> 63));
	trace.page = page;
}

static void put_allocation(const struct page_event *event)
{
	const struct page_request *request = event->request;
	bool aligned = request->alignment > 1;

	put_operation(aligned ? TRACE_ALLOCATE_ALIGNED : TRACE_ALLOCATE,
		      (request->kind == PAGES_FEW_OBJECTS ? TRACE_FEW_OBJECTS : 0u) |
			      (request->zeroed ? TRACE_ZEROED : 0u) | (request->growing ? TRACE_GROWING : 0u) |
			      (request->dense ? TRACE_DENSE : 0u));
	put_page(event->page);
	put_number(event->pages);
	if (aligned)
		put_number(log2_floor(request->alignment));
}

static void put_event(const struct page_event *event)
{
	switch (event->kind) {
	case PAGE_ALLOCATED:
		put_allocation(event);
		break;
	case PAGE_FREED:
		put_operation(TRACE_FREE, 0);
		put_page(event->page);
		put_number(event->pages);
		break;
	case PAGE_GROWN:
		put_operation(TRACE_GROW, 0);
		put_page(event->page);
		put_number(event->pages);
		put_number(event->other);
		break;
	case PAGE_MOVED:
		put_operation(TRACE_MOVE, 0);
		put_page(event->page);
		put_page(event->other);
		put_number(event->pages);
		break;
	case PAGE_RELEASED:
		put_operation(TRACE_RELEASE, 0);
		put_number(event->pages);
		break;
	case PAGE_TICK:
		put_operation(TRACE_TICK, 0);
		break;
	case PAGE_PURGED:
		put_operation(TRACE_PURGE, 0);
		put_page(event->page);
		put_number(event->other);
		put_number(event->pages);
		break;
	case PAGE_LIMIT:
		put_operation(TRACE_LIMIT, 0);
		put_number(event->pages);
		break;
	}
}

/* What else the page heap's decisions rest on. */
static void put_circumstances(void)
{
	uint64_t time = os_milliseconds();
	size_t spare = pageheap_spare();
	size_t purged = pageheap_purged() / PURGE_UNIT;

	if (time > trace.time) {
		put_operation(TRACE_TIME, 0);
		put_number(time - trace.time);
		trace.time = time;
	}
	if (purged != trace.purged) {
		put_operation(TRACE_PURGED, 0);
		put_number(purged);
		trace.purged = purged;
	}
	if (spare != trace.spare) {
		put_operation(TRACE_SPARE, 0);
		put_number(spare);
		trace.spare = spare;
	}
}

static void on_event(const struct page_event *event)
{
	if (!trace.on)
		return;
	if (trace.length + LONGEST_EVENTS > sizeof(trace.buffer))
		write_buffer();
	put_circumstances();
	put_event(event);
}

static void put_head(void)
{
	struct text head = {.buffer = (char *)trace.buffer, .capacity = sizeof(trace.buffer)};

	text_string(&head, PAGE_TRACE_MAGIC);
	text_number(&head, PAGE_SIZE);
	text_string(&head, PAGE_TRACE_CLOCK);
	text_number(&head, trace.time);
	text_string(&head, "\n");
	trace.length = head.length;
}

static int begin(bool in_child)
{
	struct text path = {.buffer = trace.path, .capacity = sizeof(trace.path)};

	if (!path_expand(trace.pattern, in_child, &path))
		return ENAMETOOLONG;
	store_relaxed(&trace.on, true);
	trace.created = false;
	trace.time = os_milliseconds();
	trace.page = 0;
	trace.spare = 0;
	trace.purged = 0;
	put_head();
	pageheap_observe(on_event);
	return 0;
}

/* The program may go to another folder before the first write. */
static int make_absolute(const char *path)
{
	struct text text = {.buffer = trace.pattern, .capacity = sizeof(trace.pattern)};

	if (path[0] != '/') {
		if (getcwd(trace.pattern, sizeof(trace.pattern)) == NULL)
			return errno;
		text.length = strlen(trace.pattern);
		text_string(&text, "/");
	}
	text_bytes(&text, path, strlen(path) + 1);
	return text.length < text.capacity ? 0 : ENAMETOOLONG;
}

int page_trace_start(const char *path)
{
	int saved = errno;
	int error = make_absolute(path);

	if (error == 0)
		error = begin(false);
	errno = saved;
	return error;
}

/* The process may end in a signal handler that has interrupted the page heap, or while another thread hangs in it. */
void page_trace_flush(void)
{
	enum lock_for_fork had = LOCK_NOT_TAKEN;

	if (!load_relaxed(&trace.on))
		return;
	for (int tries = 0; tries < FLUSH_TRIES && had == LOCK_NOT_TAKEN; tries++)
		had = lock_try_for_fork(pageheap_lock());
	if (had == LOCK_TAKEN || had == LOCK_OURS)
		write_buffer();
	if (had == LOCK_TAKEN)
		lock_release(pageheap_lock());
}

void page_trace_begin_anew_in_child(bool usable)
{
	if (!trace.on)
		return;
	store_relaxed(&trace.on, false);
	if (usable)
		begin(true);
}

/* Reading a trace of the page heap. */
#include "trace_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "size_classes.h"

static struct {
	FILE *file;
	const char *path;
	uint64_t events;
	size_t page; /* named last */
} reader;

void trace_fail(const char *what)
{
	fprintf(stderr, "simulate: %s: event %llu: %s\n", reader.path, (unsigned long long)reader.events, what);
	exit(1);
}

static _Noreturn void refuse(const char *what)
{
	fprintf(stderr, "simulate: %s: %s\n", reader.path, what);
	exit(1);
}

uint64_t trace_open(const char *path)
{
	char line[128];
	unsigned long long page_size;
	unsigned long long clock;

	reader.path = path;
	reader.file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	if (reader.file == NULL)
		refuse(strerror(errno));
	if (fgets(line, sizeof(line), reader.file) == NULL ||
	    sscanf(line, PAGE_TRACE_MAGIC "%llu" PAGE_TRACE_CLOCK "%llu\n", &page_size, &clock) != 2)
		refuse("not a page trace of format 1");
	if (page_size != PAGE_SIZE)
		refuse("recorded with another page size than the simulator's");
	return clock;
}

static int next_byte(void)
{
	return getc_unlocked(reader.file);
}

static uint64_t read_number(void)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		int byte = next_byte();

		if (byte == EOF)
			trace_fail("the file ends in the middle of it");
		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return number;
	}
	trace_fail("a number has more than 64 bits");
}

static size_t read_page(void)
{
	uint64_t distance = read_number();

	reader.page += (size_t)(distance >> 1 ^ -(distance & 1));
	return reader.page;
}

bool trace_next(struct trace_event *event)
{
	int byte = next_byte();

	if (byte == EOF) {
		if (ferror(reader.file))
			refuse(strerror(errno));
		return false;
	}
	reader.events++;
	event->operation = (enum page_trace_operation)(byte & ((1 << TRACE_OPERATION_BITS) - 1));
	event->flags = (unsigned)byte >> TRACE_OPERATION_BITS;
	switch (event->operation) {
	case TRACE_ALLOCATE:
	case TRACE_FREE:
		event->page = read_page();
		event->pages = read_number();
		break;
	case TRACE_ALLOCATE_ALIGNED:
	case TRACE_GROW:
		event->page = read_page();
		event->pages = read_number();
		event->other = read_number();
		break;
	case TRACE_PURGE:
		event->page = read_page();
		event->other = read_number();
		event->pages = read_number();
		break;
	case TRACE_MOVE:
		event->page = read_page();
		event->other = read_page();
		event->pages = read_number();
		break;
	case TRACE_RELEASE:
	case TRACE_LIMIT:
	case TRACE_SPARE:
	case TRACE_PURGED:
		event->pages = read_number();
		break;
	case TRACE_TIME:
		event->time = read_number();
		break;
	case TRACE_TICK:
		break;
	default:
		trace_fail("an operation that does not exist");
	}
	return true;
}

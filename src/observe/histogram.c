/* Summing the recorders' rows, and writing them to a file. */
#define _GNU_SOURCE
#include "observe/histogram.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/message.h"
#include "base/os.h"
#include "fast_path.h"
#include "observe/output_path.h"

#define COLUMNS                                                                                                        \
	"columns size alignment allocations live peak_live most_live remote_frees reallocs "                           \
	"freed_64K freed_1M freed_16M freed_256M freed_later\n"

static struct {
	char path[PATH_MAX];
	pid_t process; /* that the path is for as it is: children have their number behind it */
	bool writing;
	uint64_t period; /* milliseconds; 0: only at the end */
	uint64_t due;
} file;

/* A row of the file. */
struct row_sums {
	uint64_t size;
	uint64_t alignment;
	uint64_t allocations;
	int64_t live;
	int64_t peak_live;
	int64_t most;
	uint64_t remote_frees;
	uint64_t reallocs;
	uint64_t lifetimes[LIFETIMES];
};

int histogram_set_path(const char *path)
{
	size_t length = strlen(path);

	if (length == 0 || length >= sizeof(file.path))
		return ENAMETOOLONG;
	memcpy(file.path, path, length + 1);
	file.process = getpid();
	return 0;
}

void histogram_path_in_child(void)
{
	file.writing = false;
}

/* Also one that no handler of fork has run in. */
static bool in_child(void)
{
	return getpid() != file.process;
}

void recording_set_period(uint64_t milliseconds)
{
	file.period = milliseconds;
	file.due = os_milliseconds() + milliseconds;
}

void histogram_write_if_due(void)
{
	uint64_t now;

	if (likely(file.period == 0))
		return;
	now = os_milliseconds();
	if (now < load_relaxed(&file.due))
		return;
	store_relaxed(&file.due, now + file.period);
	recording_write_or_complain();
}

static void add_row(struct row_sums *sums, const struct row *row)
{
	sums->live += load_relaxed(&row->live);
	sums->peak_live += row->epoch == load_relaxed(&recording.epoch) ? row->peak_live : load_relaxed(&row->live);
	sums->remote_frees += load_relaxed(&row->remote_frees);
	sums->reallocs += load_relaxed(&row->reallocs);
	sums->allocations += (uint64_t)load_relaxed(&row->live);
	for (size_t i = 0; i < LIFETIMES; i++) {
		sums->lifetimes[i] += load_relaxed(&row->lifetimes[i]);
		sums->allocations += load_relaxed(&row->lifetimes[i]);
	}
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* False: the row has not been used. */
static bool sum_row(size_t number, struct row_sums *sums)
{
	uint32_t alignment;

	*sums = (struct row_sums){0};
	for (const struct recorder *r = process_record.recorders; r != NULL; r = r->next) {
		if (load_relaxed(&r->used[number / 64]) >> (number % 64) & 1)
			add_row(sums, &r->rows[number]);
	}
	/* Threads that run on may be seen between two changes that belong together. */
	if ((int64_t)sums->allocations <= 0)
		return false;
	recording_row_key(number, &sums->size, &alignment);
	sums->alignment = (uint64_t)1 << alignment;
	sums->live = greater(sums->live, 0);
	sums->peak_live = greater(sums->peak_live, 0);
	sums->most = greater(load_relaxed(&process_record.rows[number].most), greater(sums->peak_live, sums->live));
	return true;
}

/* Rows from `number` on that any recorder has used: the first one, or `end`. */
static size_t next_used(size_t number, size_t end)
{
	while (number < end) {
		uint64_t used = 0;

		for (const struct recorder *r = process_record.recorders; r != NULL; r = r->next)
			used |= load_relaxed(&r->used[number / 64]);
		used >>= number % 64;
		if (used != 0)
			return minimum(number + (size_t)__builtin_ctzl(used), end);
		number = (number / 64 + 1) * 64;
	}
	return end;
}

/* Used rows with an alignment, in the file's order. */
static struct {
	uint16_t rows[ALIGNED_ROWS]; /* counted from UNALIGNED_ROWS */
	size_t count;
} aligned;

static bool comes_before(size_t a, size_t b)
{
	uint64_t size_a;
	uint64_t size_b;
	uint32_t alignment_a;
	uint32_t alignment_b;

	recording_row_key(UNALIGNED_ROWS + a, &size_a, &alignment_a);
	recording_row_key(UNALIGNED_ROWS + b, &size_b, &alignment_b);
	return size_a != size_b ? size_a < size_b : alignment_a < alignment_b;
}

static void collect_aligned(void)
{
	size_t number = UNALIGNED_ROWS;

	aligned.count = 0;
	while ((number = next_used(number, ROWS)) < ROWS) {
		size_t at = aligned.count++;
		uint16_t row = (uint16_t)(number++ - UNALIGNED_ROWS);

		for (; at > 0 && comes_before(row, aligned.rows[at - 1]); at--)
			aligned.rows[at] = aligned.rows[at - 1];
		aligned.rows[at] = row;
	}
}

/* Calls `visit` for each row of the file, in order. */
static void for_each_row(void (*visit)(const struct row_sums *row, void *context), void *context)
{
	struct row_sums plain;
	struct row_sums row;
	size_t next = 0;
	size_t number = 0;
	bool at_end;

	collect_aligned();
	do {
		number = next_used(number, UNALIGNED_ROWS);
		at_end = number == UNALIGNED_ROWS;
		plain.size = UINT64_MAX;
		if (!at_end && !sum_row(number++, &plain))
			continue;
		for (; next < aligned.count; next++) {
			if (!sum_row(UNALIGNED_ROWS + aligned.rows[next], &row))
				continue;
			if (row.size >= plain.size)
				break;
			visit(&row, context);
		}
		if (!at_end)
			visit(&plain, context);
	} while (!at_end);
}

/* Of rows whose requests have a class; bytes. */
struct class_sums {
	uint64_t live_requested;
	uint64_t live_given;
	uint64_t peak_requested;
	uint64_t peak_given;
};

static void add_to_class_sums(const struct row_sums *row, void *context)
{
	struct class_sums *sums = context;
	unsigned class = class_for(row->alignment, row->size);

	if (class == 0)
		return;
	sums->live_requested += (uint64_t)row->live * row->size;
	sums->live_given += (uint64_t)row->live * size_classes[class].size;
	sums->peak_requested += (uint64_t)row->peak_live * row->size;
	sums->peak_given += (uint64_t)row->peak_live * size_classes[class].size;
}

static uint64_t allocated_now(void)
{
	uint64_t bytes = load_relaxed(&process_record.allocated);

	for (const struct recorder *r = process_record.recorders; r != NULL; r = r->next)
		bytes += load_relaxed(&r->clock) - load_relaxed(&r->reported_clock);
	return bytes;
}

struct output {
	int descriptor;
	int error;
	uint64_t rows;
};

static void flush_to_file(struct text *text, void *context)
{
	struct output *output = context;

	if (output->error == 0 && !file_write(output->descriptor, text->buffer, text->length))
		output->error = errno;
	text->length = 0;
}

static void write_total(struct text *text, const char *name, int64_t value)
{
	text_string(text, name);
	text_string(text, " ");
	text_number(text, (uint64_t)greater(value, 0));
	text_string(text, "\n");
}

static void write_totals(struct text *text)
{
	struct class_sums classes = {0};

	for_each_row(add_to_class_sums, &classes);
	write_total(text, "processes", 1);
	write_total(text, "threads", (int64_t)load_relaxed(&process_record.threads));
	write_total(text, "milliseconds", (int64_t)(os_milliseconds() - process_record.started));
	write_total(text, "allocated_bytes", (int64_t)allocated_now());
	write_total(text, "peak_bytes", load_relaxed(&process_record.peak.live));
	write_total(text, "peak_small_requested", (int64_t)classes.peak_requested);
	write_total(text, "peak_small_given", (int64_t)classes.peak_given);
	write_total(text, "peak_small_room", load_relaxed(&process_record.peak.room));
	write_total(text, "live_small_requested", (int64_t)classes.live_requested);
	write_total(text, "live_small_given", (int64_t)classes.live_given);
	write_total(text, "live_small_room", load_relaxed(&process_record.now.room));
}

static void write_row(const struct row_sums *row, void *context)
{
	const uint64_t columns[] = {
		row->size,           row->alignment,    row->allocations, (uint64_t)row->live, (uint64_t)row->peak_live,
		(uint64_t)row->most, row->remote_frees, row->reallocs,    row->lifetimes[0],   row->lifetimes[1],
		row->lifetimes[2],   row->lifetimes[3], row->lifetimes[4]};
	struct text *text = context;

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		text_string(text, i == 0 ? "" : " ");
		text_number(text, columns[i]);
	}
	text_string(text, "\n");
	((struct output *)text->context)->rows++;
}

static int write_contents(int descriptor)
{
	char buffer[4096];
	struct output output = {.descriptor = descriptor};
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer), .flush = flush_to_file, .context = &output};

	text_string(&text, "tiermalloc histogram 1\n");
	write_totals(&text);
	text_string(&text, COLUMNS);
	for_each_row(write_row, &text);
	write_total(&text, "end", (int64_t)output.rows);
	text_flush(&text);
	return output.error;
}

/* A device or a pipe would be replaced; a folder refuses that itself. */
static bool may_replace(const char *path)
{
	struct stat status;

	return lstat(path, &status) != 0 || S_ISREG(status.st_mode) || S_ISLNK(status.st_mode) ||
	       S_ISDIR(status.st_mode);
}

/* Under another name first, so that nobody ever sees half a file. */
static int write_file(const char *path, const char *temporary)
{
	int descriptor;
	int error;

	if (!may_replace(path))
		return EEXIST;
	descriptor = file_open(temporary, O_CREAT | O_TRUNC | O_NOFOLLOW);
	if (descriptor < 0)
		return errno;
	error = write_contents(descriptor);
	if (!file_close(descriptor) && error == 0)
		error = errno;
	if (error == 0 && rename(temporary, path) != 0)
		error = errno;
	if (error != 0)
		unlink(temporary);
	return error;
}

static int write_to(const char *pattern)
{
	static char path[PATH_MAX];
	static char temporary[PATH_MAX];
	struct text name = {.buffer = path, .capacity = sizeof(path)};
	struct text temporary_name = {.buffer = temporary, .capacity = sizeof(temporary)};

	if (!path_expand(pattern, in_child(), &name))
		return ENAMETOOLONG;
	text_string(&temporary_name, path);
	text_string(&temporary_name, ".writing.");
	text_number(&temporary_name, (uint64_t)getpid());
	text_bytes(&temporary_name, "", 1);
	return temporary_name.length < temporary_name.capacity ? write_file(path, temporary) : ENAMETOOLONG;
}

int recording_write(const char *path)
{
	int saved = errno;
	int error;

	if (process_record.rows == NULL || (path == NULL && file.path[0] == '\0'))
		return EINVAL;
	if (__atomic_test_and_set(&file.writing, __ATOMIC_ACQUIRE))
		return EBUSY;
	error = write_to(path != NULL ? path : file.path);
	__atomic_clear(&file.writing, __ATOMIC_RELEASE);
	errno = saved;
	return error;
}

void recording_complain(const char *what, int error)
{
	path_complain("recording into ", file.path, what, error);
}

void recording_write_or_complain(void)
{
	int error = recording_write(NULL);

	if (error != 0 && error != EBUSY)
		recording_complain("cannot be written", error);
}

void recording_write_at_end(void)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int tries = 1000; tries > 0 && load_relaxed(&file.writing); tries--)
		nanosleep(&moment, NULL);
	recording_write_or_complain();
}

void histogram_read_statistics(struct recording_statistics *statistics)
{
	struct class_sums classes = {0};

	/* The rows' order is worked out in a place that a writer may be using. */
	if (__atomic_test_and_set(&file.writing, __ATOMIC_ACQUIRE)) {
		statistics->on = false;
		return;
	}
	for_each_row(add_to_class_sums, &classes);
	__atomic_clear(&file.writing, __ATOMIC_RELEASE);
	statistics->requested = classes.live_requested;
	statistics->given = classes.live_given;
	statistics->room = (uint64_t)greater(load_relaxed(&process_record.now.room), 0);
}

/*
 * Recording: the recorders, the process's sums, starting and stopping. Single blocks are counted in recorded_blocks.c, the
 * file is written in histogram.c.
 */
#include "observe/recording.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/closed_cache.h"
#include "base/lock.h"
#include "base/os.h"
#include "frontend/frontend.h"
#include "observe/histogram.h"

/* A recorder reports that it holds more when it is at least this much: not each pair of malloc and free. */
#define LEAST_REPORT ((int64_t)1 << 10)

/* And when it is this much, also far below the peak: its clock and the others' drift apart. */
#define MOST_REPORT ((int64_t)1 << 20)

/* Part of the process's peak that is as much as a recorder keeps to itself. */
#define REPORTED_PART 256

/* What a recorder holds less matters to the others only: it is reported so much at a time, if there are others. */
#define LEAST_REPORT_DOWN ((int64_t)64 << 10)

/* A row's own peak is known to a 16th, and no worse than 32 objects for each recorder. */
#define ROW_PART  16
#define ROW_DELAY 32

struct recording recording;
struct process_record process_record;

static struct {
	struct lock lock;
	uint32_t recorders;
	bool in_new_epoch; /* a thread is beginning one */
} pool;

/* By the rows from UNALIGNED_ROWS on: the row of the same size without alignment, and log2 of the alignment; 0: not used. */
static uint64_t aligned_keys[ALIGNED_ROWS];

#define KEY_SHIFT 8

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static size_t stepped_row(size_t size)
{
	unsigned doubling = log2_floor(size - 1);
	size_t step = ((size - 1) >> (doubling - 4)) % STEPS;
	size_t row = EXACT_ROWS + (doubling - log2_floor(LARGEST_EXACT)) * STEPS + step;

	return minimum(row, UNALIGNED_ROWS - 1);
}

static size_t unaligned_row(size_t size)
{
	return size <= LARGEST_EXACT ? row_of_exact(size) : stepped_row(size);
}

/* Finds the pair's row, or enters it. Rows are never taken back. */
static size_t aligned_row(size_t unaligned, size_t alignment)
{
	uint64_t key = (uint64_t)unaligned << KEY_SHIFT | log2_floor(alignment);
	size_t slot = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % ALIGNED_ROWS;

	for (size_t tries = 0; tries < ALIGNED_ROWS; tries++, slot = (slot + 1) % ALIGNED_ROWS) {
		uint64_t found = 0;

		if (__atomic_compare_exchange_n(&aligned_keys[slot], &found, key, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    found == key)
			return UNALIGNED_ROWS + slot;
	}
	return unaligned;
}

size_t recording_row_of(size_t size, size_t alignment)
{
	size_t row = unaligned_row(size);

	return alignment < 16 ? row : aligned_row(row, alignment);
}

/* Bytes of an unaligned row. */
static uint64_t unaligned_size(size_t number)
{
	size_t step = number - EXACT_ROWS;

	if (number < EXACT_ROWS)
		return (uint64_t)number << 3;
	return (uint64_t)(STEPS + step % STEPS + 1) << (log2_floor(LARGEST_EXACT) - 4 + step / STEPS);
}

void recording_row_key(size_t number, uint64_t *size, uint32_t *alignment)
{
	uint64_t key = number < UNALIGNED_ROWS ? 0 : load_relaxed(&aligned_keys[number - UNALIGNED_ROWS]);

	*size = unaligned_size(key == 0 ? number : (size_t)(key >> KEY_SHIFT));
	*alignment = key == 0 ? 0 : key % (1 << KEY_SHIFT);
}

/* A row's first use by this recorder: the change did not know its size. */
static void make_row(struct recorder *recorder, struct row *row, int change)
{
	size_t number = (size_t)(row - recorder->rows);

	recorder->used[number / 64] |= UINT64_C(1) << (number % 64);
	recording_row_key(number, &row->size, &row->alignment);
	if (change < 0)
		recorder->limit += row->size;
}

static void begin_row(struct recorder *recorder, struct row *row, int change)
{
	if (row->size == 0)
		make_row(recorder, row, change);
	row->peak_live = row->live - change;
	row->epoch = load_relaxed(&recording.epoch);
}

static void raise_to(int64_t *highest, int64_t value)
{
	int64_t seen = load_relaxed(highest);

	while (value > seen &&
	       !__atomic_compare_exchange_n(highest, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void report_row(const struct recorder *recorder, struct row *row)
{
	struct process_row *shared = &process_record.rows[row - recorder->rows];
	int64_t live = __atomic_add_fetch(&shared->live, row->live - row->reported, __ATOMIC_RELAXED);
	int64_t delay = (row->live < 0 ? -row->live : row->live) / ROW_PART;

	raise_to(&shared->most, live);
	row->reported = row->live;
	row->high = row->live + (delay < ROW_DELAY ? delay : ROW_DELAY);
	row->low = row->live - ROW_DELAY;
}

/* The process has more than ever. Of several threads that find so at a time, one has a peak a little too low. */
static void begin_epoch(int64_t live)
{
	if (__atomic_test_and_set(&pool.in_new_epoch, __ATOMIC_ACQUIRE))
		return;
	if (live > process_record.peak.live) {
		store_relaxed(&process_record.peak.live, live);
		process_record.peak.room = load_relaxed(&process_record.now.room);
		store_relaxed(&recording.epoch, recording.epoch + 1);
	}
	__atomic_clear(&pool.in_new_epoch, __ATOMIC_RELEASE);
}

/* How far the recorder may go before it reports again. */
static void set_limits(struct recorder *recorder, uint64_t clock, int64_t live)
{
	int64_t peak = load_relaxed(&process_record.peak.live);
	int64_t recorders = load_relaxed(&pool.recorders);
	int64_t part = peak / REPORTED_PART;
	int64_t more = (peak - live) / recorders;

	more = lesser(greater(more, greater(part, LEAST_REPORT)), greater(part, MOST_REPORT));
	recorder->clock = recorder->reported_clock = clock;
	recorder->limit = recorder->reported_limit = clock + (uint64_t)more;
	recorder->limit_top =
		recorder->limit + (uint64_t)(recorders == 1 ? MOST_REPORT : greater(part, LEAST_REPORT_DOWN));
}

/* Bytes allocated since the last report, and more bytes live than then. */
static uint64_t unreported_time(const struct recorder *recorder)
{
	return load_relaxed(&recorder->clock) - load_relaxed(&recorder->reported_clock);
}

int64_t recording_unreported(const struct recorder *recorder)
{
	return (int64_t)(unreported_time(recorder) -
			 (load_relaxed(&recorder->limit) - load_relaxed(&recorder->reported_limit)));
}

static void report_sums(struct recorder *recorder)
{
	int64_t live = __atomic_add_fetch(&process_record.now.live, recording_unreported(recorder), __ATOMIC_RELAXED);
	uint64_t clock = __atomic_add_fetch(&process_record.allocated, unreported_time(recorder), __ATOMIC_RELAXED);

	if (live > load_relaxed(&process_record.peak.live))
		begin_epoch(live);
	set_limits(recorder, clock, live);
	histogram_write_if_due();
}

void recording_look_at(struct recorder *recorder, struct row *row, int change)
{
	if (row->epoch != load_relaxed(&recording.epoch))
		begin_row(recorder, row, change);
	if (row->live > row->high || row->live < row->low)
		report_row(recorder, row);
	if (recorder->clock > recorder->limit || recorder->limit > recorder->limit_top)
		report_sums(recorder);
}

static void wipe(void *start, size_t bytes)
{
	uintptr_t from = round_up((uintptr_t)start, os_page_size());
	uintptr_t to = round_down((uintptr_t)start + bytes, os_page_size());

	if (from >= to) {
		memset(start, 0, bytes);
		return;
	}
	memset(start, 0, from - (uintptr_t)start);
	memset((void *)to, 0, (uintptr_t)start + bytes - to);
	if (os_release(from, to - from) != OS_DONE)
		memset((void *)from, 0, to - from);
}

/* All counts of a recorder; it keeps its place in the list, and its thread. */
static void wipe_recorder(struct recorder *recorder)
{
	recorder->clock = recorder->limit = recorder->limit_top = 0;
	recorder->reported_clock = recorder->reported_limit = 0;
	recorder->counted = false;
	wipe(recorder->used, sizeof(*recorder) - offsetof(struct recorder, used));
}

static struct recorder *make_recorder(void)
{
	struct recorder *recorder;

	if (pool.recorders >= RECORD_NUMBERS)
		return NULL;
	recorder = (struct recorder *)os_map_anywhere(round_up(sizeof(*recorder), os_page_size()));
	if (recorder == NULL)
		return NULL;
	store_relaxed(&pool.recorders, pool.recorders + 1);
	recorder->number = (uint64_t)pool.recorders | RECORD_ORIGINAL;
	recorder->stacks = &closed_cache;
	recorder->next = process_record.recorders;
	__atomic_store_n(&process_record.recorders, recorder, __ATOMIC_RELEASE);
	return recorder;
}

static struct recorder *take_recorder(void)
{
	struct recorder *recorder;

	lock_acquire(&pool.lock);
	for (recorder = process_record.recorders; recorder != NULL && recorder->taken; recorder = recorder->next)
		;
	if (recorder == NULL)
		recorder = make_recorder();
	if (recorder != NULL) {
		recorder->taken = true;
		recorder->counted = false;
	}
	lock_release(&pool.lock);
	return recorder;
}

void recording_leave_thread(void)
{
	struct recorder *recorder = thread_state.recorder;

	if (recorder == NULL)
		return;
	thread_state.recorder = NULL;
	recorder->stacks = &closed_cache;
	recorder->resizing = false;
	if (recording_is_on())
		report_sums(recorder);
	lock_acquire(&pool.lock);
	recorder->taken = false;
	lock_release(&pool.lock);
}

/*
 * Once in each recording, also if the thread has its recorder from the one before. What a thread does when it is about to
 * end, with a recorder for each call, does not make it another one.
 */
static void count_thread(struct recorder *recorder)
{
	if (recorder->counted || thread_is_passing())
		return;
	recorder->counted = true;
	__atomic_fetch_add(&process_record.threads, 1, __ATOMIC_RELAXED);
}

void recording_attend_thread(void)
{
	if (load_relaxed(&recording.state) == RECORDING_WANTED) {
		int error = recording_start(NULL);

		if (error != 0 && error != EALREADY)
			recording_complain("cannot be started", error);
	}
	if (!recording_is_on()) {
		recording_leave_thread();
		return;
	}
	if (thread_state.recorder == NULL)
		thread_state.recorder = take_recorder();
	if (thread_state.recorder != NULL)
		count_thread(thread_state.recorder);
}

/* Whatever has been counted so far is forgotten. */
static void begin_from_nothing(void)
{
	struct recorder *recorder;

	records_forget();
	for (recorder = process_record.recorders; recorder != NULL; recorder = recorder->next)
		wipe_recorder(recorder);
	wipe(process_record.rows, ROWS * sizeof(*process_record.rows));
	process_record.now = process_record.peak = (struct process_sums){0};
	process_record.allocated = 0;
	process_record.threads = 0;
	process_record.started = os_milliseconds();
	recording.epoch = 1;
}

static bool make_tables(void)
{
	if (process_record.rows == NULL)
		process_record.rows = (struct process_row *)os_map_anywhere(
			round_up(ROWS * sizeof(*process_record.rows), os_page_size()));
	return process_record.rows != NULL && records_initialise();
}

int recording_start(const char *path)
{
	uint32_t expected = load_relaxed(&recording.state);
	int error = 0;

	if ((expected != RECORDING_OFF && expected != RECORDING_WANTED) ||
	    !__atomic_compare_exchange_n(&recording.state, &expected, RECORDING_STARTING, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return EALREADY;
	if (path != NULL)
		error = histogram_set_path(path);
	if (error == 0 && !make_tables())
		error = ENOMEM;
	if (error == 0)
		begin_from_nothing();
	__atomic_store_n(&recording.state, error == 0 ? RECORDING_ON : RECORDING_OFF, __ATOMIC_RELEASE);
	if (error == 0)
		frontend_close_fast_paths();
	return error;
}

int recording_stop(void)
{
	uint32_t expected = RECORDING_ON;

	if (!__atomic_compare_exchange_n(&recording.state, &expected, RECORDING_OFF, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return EALREADY;
	for (struct recorder *recorder = process_record.recorders; recorder != NULL; recorder = recorder->next)
		store_relaxed(&recorder->stacks, &closed_cache);
	return 0;
}

/* In the handler there may be locks in the hands of what it has interrupted: starting is left to the thread's next call. */
static void on_signal(int number)
{
	int saved = errno;
	uint32_t expected = RECORDING_OFF;

	(void)number;
	if (recording_stop() == 0)
		recording_write_or_complain();
	else if (__atomic_compare_exchange_n(&recording.state, &expected, RECORDING_WANTED, false, __ATOMIC_RELAXED,
					     __ATOMIC_RELAXED))
		close_fast_paths(&thread_state);
	errno = saved;
}

int recording_set_signal(int number, const char *path)
{
	struct sigaction action;
	int error = histogram_set_path(path);

	if (error == 0 && sigaction(number, NULL, &action) != 0)
		error = errno;
	if (error == 0 && action.sa_handler != SIG_DFL)
		error = EBUSY;
	if (error != 0)
		return error;
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	action.sa_flags = SA_RESTART;
	return sigaction(number, &action, NULL) == 0 ? 0 : errno;
}

void recording_begin_anew_in_child(void)
{
	struct recorder *recorder;

	histogram_path_in_child();
	/* Of a thread that is gone. */
	__atomic_clear(&pool.in_new_epoch, __ATOMIC_RELEASE);
	if (load_relaxed(&recording.state) == RECORDING_STARTING)
		recording.state = RECORDING_OFF;
	if (process_record.rows == NULL)
		return;
	for (recorder = process_record.recorders; recorder != NULL; recorder = recorder->next)
		recorder->taken = recorder == thread_state.recorder;
	if (!recording_is_on())
		return;
	begin_from_nothing();
	if (thread_state.recorder != NULL)
		count_thread(thread_state.recorder);
}

void recording_read_statistics(struct recording_statistics *statistics)
{
	*statistics = (struct recording_statistics){.on = recording_is_on()};
	if (statistics->on)
		histogram_read_statistics(statistics);
}

struct lock *recording_lock(void)
{
	return &pool.lock;
}

/*
 * Recording which sizes a program allocates: the histogram from which a size-class profile can be made.
 *
 * While it is on, every thread's fast paths are closed, and the door counts each allocation and each free in the
 * thread's own recorder. What the counts mean is said in docs/recording.md, with the file's format.
 *
 * - A *row* counts one size (in steps of 8 bytes up to LARGEST_EXACT, in 16 steps per doubling above) at one alignment.
 *   Each recorder has all rows, as address space; the histogram is their sum. Only the owner writes to its recorder.
 * - A block's record (records.h) names its row, its recorder, and the time at which it was allocated; time is counted in
 *   bytes that the process allocates.
 * - The peak: recorders report how much more (or less) they hold in steps of a 256th of the process's peak, or a few KiB.
 *   Whoever finds a new peak begins a new *epoch*. The first change of a row in an epoch puts aside how many of it were
 *   live until then: what a row has put aside in the present epoch, or else what it has now, was live at the peak.
 * - A row's own peak: rows report to the process when they hold a 16th more, but no later than after 32 objects.
 *
 * The list of recorders only grows; recorders of threads that are gone serve new ones, with their counts. `pool` guards
 * who has which.
 */
#ifndef TIERMALLOC_OBSERVE_RECORDING_H
#define TIERMALLOC_OBSERVE_RECORDING_H

#include "base/common.h"
#include "base/thread_state.h"
#include "observe/records.h"

struct lock;

#define LARGEST_EXACT  ((size_t)1 << 20)
#define EXACT_ROWS     ((LARGEST_EXACT >> 3) + 1)
#define STEPS          16           /* per doubling */
#define STEPPED_ROWS   (STEPS * 27) /* up to 2^47 bytes */
#define UNALIGNED_ROWS (EXACT_ROWS + STEPPED_ROWS)
#define ALIGNED_ROWS   8192 /* pairs of size and alignment; what does not find room counts as unaligned */
#define ROWS           (UNALIGNED_ROWS + ALIGNED_ROWS)
#define LIFETIMES      5

/* Counts of one size. What malloc and most frees change lies in the first cache line. */
struct row {
	int64_t live; /* allocated less freed by this recorder: negative where it frees what others allocate */
	int64_t high; /* beyond these the row reports */
	int64_t low;
	uint64_t size;                 /* of the row in bytes; 0 until its first use */
	uint32_t epoch;                /* of its last change */
	uint32_t alignment;            /* log2; 0: none in particular */
	uint64_t lifetimes[LIFETIMES]; /* frees; allocations are these and `live` */
	uint64_t remote_frees;
	uint64_t reallocs;
	int64_t peak_live; /* put aside in this epoch */
	int64_t reported;  /* of `live` */
} __attribute__((aligned(2 * CACHE_LINE)));

struct recorder {
	const struct cache_stacks *stacks; /* the thread's cache, or the closed one while it is behind the door */
	uint64_t clock;                    /* bytes the process has allocated, as far as this recorder knows */
	uint64_t limit;                    /* the clock at which it reports; moves on with what is freed */
	uint64_t limit_top;                /* so much has been freed that it reports */
	uint64_t number;                   /* from 1 on, with RECORD_ORIGINAL: as it stands in a record */
	uint64_t reported_clock;
	uint64_t reported_limit;
	struct recorder *next;
	bool taken;
	bool counted;  /* its thread is among the process's */
	bool resizing; /* realloc counts when it is done: what it allocates on the way is not counted */
	uint64_t used[(ROWS + 63) / 64]; /* a bit for each row that has been used */
	struct row rows[ROWS];
};

/*
 * A record: the number of the recorder in the low bits, then the row, then "original" (not what realloc has left), then the time.
 * So the number can be compared as it is, the row's place is found by one shift, and one bit says that counting is all there is
 * to do.
 */
#define RECORD_NUMBERS     UINT16_MAX
#define RECORD_ROW_SHIFT   16
#define RECORD_ROW(record) ((record) >> RECORD_ROW_SHIFT & 0x3ffff)
#define RECORD_ORIGINAL    (UINT64_C(1) << 34)
#define RECORD_TIME_SHIFT  35
#define RECORD_TIME_MASK   (UINT64_MAX << RECORD_TIME_SHIFT)
#define RECORD_TIME_UNIT   16 /* log2 of bytes allocated */

_Static_assert(ROWS <= 0x40000, "rows are numbered in 18 bits");

enum recording_state {
	RECORDING_OFF,
	RECORDING_STARTING,
	RECORDING_ON,
	RECORDING_WANTED, /* a signal has asked for it, and cannot start it itself */
};

extern HIDDEN struct recording {
	uint32_t state;
	uint32_t epoch;
} recording;

static inline bool recording_is_on(void)
{
	return load_relaxed(&recording.state) == RECORDING_ON;
}

/* Whether threads have to go through the door because of recording, or have to see it there. */
static inline bool recording_concerns_threads(void)
{
	return unlikely(load_relaxed(&recording.state) != RECORDING_OFF);
}

/* Gives this thread a recorder, or takes it away, as the state wants. Starts recording if that has been asked for. */
COLD void recording_attend_thread(void);

/* Takes this thread's recorder away: the thread ends, or was served by one for a single call only. */
COLD void recording_leave_thread(void);

/*
 * The rare parts of counting, after a change of a row by one: the row has not been changed in this epoch before, or it or
 * the recorder has to report.
 */
COLD void recording_look_at(struct recorder *recorder, struct row *row, int change);

/* The number of the row that counts blocks of `size` bytes, allocated with `alignment` (1: none in particular). */
size_t recording_row_of(size_t size, size_t alignment);

/* The same for malloc, up to LARGEST_EXACT. */
static inline size_t row_of_exact(size_t size)
{
	return (size + 7 + (size == 0)) >> 3;
}

/* From a life's length, in units of time, to its column: below 1, 16, 256, 4096 units, and more. */
static inline size_t lifetime_of(uint64_t units)
{
	return minimum((log2_floor(2 * units + 1) + 3) >> 2, LIFETIMES - 1);
}

/* The recorder's time as it stands in a record. */
ALWAYS_INLINE uint64_t record_time(const struct recorder *recorder)
{
	return recorder->clock << (RECORD_TIME_SHIFT - RECORD_TIME_UNIT);
}

/*
 * Counts a block of `bytes` (the row's size) in a row: the block's record. Whoever calls looks at the row afterwards, if
 * need be.
 */
ALWAYS_INLINE uint64_t count_allocation(struct recorder *recorder, struct row *row, size_t number, uint64_t bytes)
{
	row->live++;
	recorder->clock += bytes;
	return (uint64_t)number << RECORD_ROW_SHIFT | recorder->number | (record_time(recorder) & RECORD_TIME_MASK);
}

ALWAYS_INLINE bool needs_look_after_allocation(const struct recorder *recorder, const struct row *row)
{
	return unlikely(row->epoch != load_relaxed(&recording.epoch)) || unlikely(row->live > row->high) ||
	       unlikely(recorder->clock > recorder->limit);
}

/* Counts a free of a block in its row. The bits of a record below its time are less than a unit. */
ALWAYS_INLINE void count_free(struct recorder *recorder, struct row *row, uint64_t record)
{
	int64_t age = (int64_t)(record_time(recorder) - record) >> RECORD_TIME_SHIFT;

	/*
	 * Another recorder may be ahead of this one: its blocks are new then. Without a branch: lives about as long as a column's
	 * bound would be guessed wrong (random sizes to 512 bytes: 18.9 ns with one, 16.5 without).
	 */
	age &= ~(age >> 63);
	row->lifetimes[lifetime_of((uint64_t)age)]++;
	row->live--;
	recorder->limit += row->size;
	if (unlikely((uint16_t)record != (uint16_t)recorder->number))
		row->remote_frees++;
}

ALWAYS_INLINE bool needs_look_after_free(const struct recorder *recorder, const struct row *row)
{
	return unlikely(row->epoch != load_relaxed(&recording.epoch)) || unlikely(row->live < row->low) ||
	       unlikely(recorder->limit > recorder->limit_top);
}

/* Counting for the slow parts of the door, and for every kind of block. This thread has a recorder. */
void recording_allocated(void *block, size_t alignment, size_t size);
void recording_freed(void *block);

/* A block that is being resized. */
struct recorded_block {
	uint64_t record; /* 0: not recorded */
	int64_t room;    /* bytes that realloc has left behind it */
};

/* Takes the record of a block away while it is resized. */
struct recorded_block recording_begin_resize(void *block);

/*
 * Counts the outcome: `resized` holds `size` bytes now, where it was or elsewhere. NULL: nothing has changed. What
 * allocating and freeing on the way have counted is taken back.
 */
void recording_end_resize(const struct recorded_block *before, void *block, void *resized, size_t size);

/* Whether this thread's realloc is at work, and counts by itself. */
static inline bool recording_is_resizing(void)
{
	return thread_state.recorder != NULL && thread_state.recorder->resizing;
}

/*
 * Starts recording from nothing, into `path` (docs/recording.md says what may stand for what in it). The heap must be
 * there. Returns 0, EALREADY (it is on), ENAMETOOLONG or ENOMEM.
 */
int recording_start(const char *path);

/* Ends it; what has been counted can still be written. Returns 0 or EALREADY (it is off). */
int recording_stop(void);

/*
 * Writes what has been counted to `path`, or if NULL to the one recording was started with: whole or not at all. Returns
 * 0 or what went wrong: EINVAL (never started), EBUSY (somebody is writing), EEXIST (something is there that is no file) or an error of the system. Safe in signal
 * handlers.
 */
int recording_write(const char *path);

/* The same to the path of the start, with a message on standard error if it fails. */
void recording_write_or_complain(void);

/* The same when the process ends: whoever is writing is waited for, for a second at most. */
void recording_write_at_end(void);

/* One line on standard error that names the path of the start. `error`: of the system, or 0. */
COLD void recording_complain(const char *what, int error);

/* From now on the file is also written each so many milliseconds, by whoever allocates. 0: it is not. */
void recording_set_period(uint64_t milliseconds);

/*
 * Lets a signal start recording into `path`, and the next one write and end it. Returns 0, EBUSY (the program
 * handles the signal itself), ENAMETOOLONG or an error of the system.
 */
int recording_set_signal(int signal, const char *path);

/* In a forked child: recording begins anew, from nothing. */
void recording_begin_anew_in_child(void);

struct recording_statistics {
	bool on;
	uint64_t requested; /* bytes live in blocks that have a class, as asked for, in steps of 8 */
	uint64_t given;     /* bytes of the classes for them */
	uint64_t room;      /* bytes that realloc has left behind them besides */
};
void recording_read_statistics(struct recording_statistics *statistics);

/* For fork, which takes every lock. */
struct lock *recording_lock(void);

#endif

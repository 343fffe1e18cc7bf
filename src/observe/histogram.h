/*
 * What the process has recorded as a whole, and the file that it is written to. docs/recording.md describes the format.
 *
 * Relies on recording.h, whose rows it sums. One thread writes at a time; nothing is locked, so that a signal handler can.
 */
#ifndef TIERMALLOC_OBSERVE_HISTOGRAM_H
#define TIERMALLOC_OBSERVE_HISTOGRAM_H

#include "observe/recording.h"

/* Of a row, what all recorders have reported. */
struct process_row {
	int64_t live;
	int64_t most;
};

/* Bytes. */
struct process_sums {
	int64_t live; /* allocated less freed, sizes of rows */
	int64_t room; /* what realloc has left behind blocks */
};

extern HIDDEN struct process_record {
	struct recorder *recorders;
	struct process_row *rows; /* ROWS; NULL until recording has been started */
	struct process_sums now;  /* as reported */
	struct process_sums peak; /* when `live` was highest */
	uint64_t allocated;       /* bytes, as reported: the time */
	uint64_t threads;         /* that have had a recorder */
	uint64_t started;         /* milliseconds of the clock */
} process_record;

/* Size in bytes of a row, and log2 of its alignment. */
void recording_row_key(size_t number, uint64_t *size, uint32_t *alignment);

/* Bytes that a recorder holds more than it has reported. */
int64_t recording_unreported(const struct recorder *recorder);

/* Where to write; 0 or ENAMETOOLONG. */
int histogram_set_path(const char *path);

/* A forked child writes its own file, also if the path does not say so. */
void histogram_path_in_child(void);

/* The file, if a period has been set and is over. */
void histogram_write_if_due(void);

/* Sums for statistics. */
void histogram_read_statistics(struct recording_statistics *statistics);

#endif

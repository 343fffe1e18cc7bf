/*
 * The name of a benchmark row, as the drivers get it: FAMILY[/ARGUMENT][@THREADS]. The argument is mostly a size in
 * bytes. Which rows there are is said in bench/groups; a driver knows the families. Relies on the C library.
 */
#ifndef BENCH_ROW_H
#define BENCH_ROW_H

#include <stddef.h>
#include <stdint.h>

struct row {
	char family[48];
	char argument[16]; /* empty: none */
	size_t size;       /* the argument as a number; 0: it is none */
	size_t threads;
	uint64_t duration; /* of the timed run, in nanoseconds */
};

/* Reads the command line `ROW MILLISECONDS`. For `--list`, prints the names of the families, which are the first
 * members of the elements of `families`, and ends the program; for a wrong use or an unknown family ends it with
 * status 2. Returns the index of the row's family. */
size_t read_row(int argc, char **argv, const void *families, size_t family_size, size_t count, struct row *row);

/* Ends the program with status 2: the row's argument or number of threads is none that the family has. */
_Noreturn void refuse_row(void);

#endif

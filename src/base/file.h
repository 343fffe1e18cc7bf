/*
 * Writing files from inside of malloc and free, where the program does not expect it: nothing here is a cancellation point, as
 * the C library's functions are, and a limit on the size of files is an error, not a signal. All keep errno unless they fail.
 */
#ifndef TIERMALLOC_BASE_FILE_H
#define TIERMALLOC_BASE_FILE_H

#include "base/common.h"

/* As open(2) with these flags, for writing; a new file gets the mode 0666. -1 with errno: not possible. */
int file_open(const char *path, int flags);

/* Writes all of it. False with errno: not possible, a part may have been written. */
bool file_write(int descriptor, const char *bytes, size_t count);

/* False with errno: what has been written may be lost. */
bool file_close(int descriptor);

#endif

/*
 * The files that recordings go to: their names, and what is said when one cannot be written. Relies on glibc for the
 * program's name.
 */
#ifndef TIERMALLOC_OBSERVE_OUTPUT_PATH_H
#define TIERMALLOC_OBSERVE_OUTPUT_PATH_H

#include "base/message.h"

/*
 * %p: the process's id, %e: its program's name, %%: a percent sign. In a forked child the id comes behind a path that
 * has no %p. Ends with a NUL. False: it does not fit.
 */
bool path_expand(const char *pattern, bool in_child, struct text *path);

/* One line on stderr: "tiermalloc: DOING PATH WHAT[: ERROR]". 0 is no error. */
COLD void path_complain(const char *doing, const char *path, const char *what, int error);

#endif

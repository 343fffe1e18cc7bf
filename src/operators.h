/* C++'s operators new and delete, without the C++ library. */
#ifndef TIERMALLOC_OPERATORS_H
#define TIERMALLOC_OPERATORS_H

#include <stdbool.h>

/* Whether the program uses our operator delete(void *), and has all it deletes from ours: only then may sized deletes go past it. */
bool operators_are_ours(void);

#endif

/* C++'s operators new and delete, without the C++ library. */
#ifndef TIERMALLOC_OPERATORS_H
#define TIERMALLOC_OPERATORS_H

#include <stdbool.h>

/* Whether the program uses our operator delete(void *): only then may a sized delete go past it. */
bool operators_are_ours(void);

#endif

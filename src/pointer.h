/*
 * What is wrong with a pointer: the checks of slow paths, and the words for the message that stops the process.
 */
#ifndef TIERMALLOC_POINTER_H
#define TIERMALLOC_POINTER_H

#include "base/common.h"

/* Stops the process unless `pointer`, on a page of `class`, is the start of an object. */
void pointer_check(void *pointer, unsigned class, const char *function);

/* Stops the process: the pointer, inside the window, is neither a small object nor the start of a large block. */
COLD _Noreturn void pointer_wrong(void *pointer, const char *function);

/* Stops the process: a sized free's size is not the block's. */
COLD _Noreturn void pointer_wrong_size(void *pointer, size_t size, const char *function);

#endif

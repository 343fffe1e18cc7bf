/*
 * The whole-heap validator, for tests and debugging: every structure of every tier against the others, and the sum
 * of all bytes.
 */
#ifndef TIERMALLOC_OBSERVE_VALIDATE_H
#define TIERMALLOC_OBSERVE_VALIDATE_H

/* NULL if the heap is in order, or what is wrong. Other threads have to stand still. */
const char *heap_validate(void);

#endif

/*
 * Text without stdio and without allocation: messages on stderr, and the buffer that statistics are written into.
 */
#ifndef TIERMALLOC_BASE_MESSAGE_H
#define TIERMALLOC_BASE_MESSAGE_H

#include "base/common.h"

/* A piece of text under construction; what does not fit is cut off, or goes to `flush` if there is one. */
struct text {
	char *buffer;
	size_t capacity;
	size_t length;
	void (*flush)(struct text *text, void *context); /* empties the buffer; NULL: cut off */
	void *context;
};

void text_string(struct text *text, const char *string);
void text_bytes(struct text *text, const char *bytes, size_t count);
void text_number(struct text *text, uint64_t number);
void text_number_padded(struct text *text, uint64_t number, unsigned width);
void text_hexadecimal(struct text *text, uint64_t number);
void text_flush(struct text *text);

/* One line "tiermalloc: TEXT" on stderr, then abort(). */
COLD _Noreturn void message_abort(const char *text);

/*
 * Reports a wrong use: one line "tiermalloc: FUNCTION(POINTER): WHAT[; DETAIL]" on stderr, then abort().
 * `class_size` is the size of the class in bytes (0: not known), `large_size` that of a large block (0: it is not
 * one).
 */
struct wrong_use {
	const char *function;
	const void *pointer;
	const char *what;
	size_t class_size;
	size_t large_size;
};
COLD _Noreturn void message_wrong_use(const struct wrong_use *use);

#endif

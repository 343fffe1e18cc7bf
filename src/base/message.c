/* Text without stdio and without allocation. */
#include "base/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

void text_flush(struct text *text)
{
	if (text->flush != NULL && text->length != 0)
		text->flush(text, text->context);
}

void text_bytes(struct text *text, const char *bytes, size_t count)
{
	while (count != 0) {
		size_t room = text->capacity - text->length;
		size_t part = minimum(room, count);

		memcpy(text->buffer + text->length, bytes, part);
		text->length += part;
		bytes += part;
		count -= part;
		if (count == 0)
			return;
		if (text->flush == NULL)
			return;
		text_flush(text);
	}
}

void text_string(struct text *text, const char *string)
{
	text_bytes(text, string, strlen(string));
}

static void text_digits(struct text *text, uint64_t number, unsigned base, unsigned width)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number != 0);
	for (size_t length = sizeof(digits) - at; length < width; length++)
		text_bytes(text, " ", 1);
	text_bytes(text, digits + at, sizeof(digits) - at);
}

void text_number(struct text *text, uint64_t number)
{
	text_digits(text, number, 10, 0);
}

void text_number_padded(struct text *text, uint64_t number, unsigned width)
{
	text_digits(text, number, 10, width);
}

void text_hexadecimal(struct text *text, uint64_t number)
{
	text_string(text, "0x");
	text_digits(text, number, 16, 0);
}

void message_abort(const char *what)
{
	char buffer[256];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer) - 1};

	text_string(&text, "tiermalloc: ");
	text_string(&text, what);
	buffer[text.length++] = '\n';
	file_write(STDERR_FILENO, buffer, text.length);
	abort();
}

void message_wrong_use(const struct wrong_use *use)
{
	char buffer[256];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer)};

	text_string(&text, use->function);
	text_string(&text, "(");
	text_hexadecimal(&text, (uintptr_t)use->pointer);
	text_string(&text, "): ");
	text_string(&text, use->what);
	if (use->class_size != 0) {
		text_string(&text, "; size class ");
		text_number(&text, use->class_size);
	} else if (use->large_size != 0) {
		text_string(&text, "; size class large (");
		text_number(&text, use->large_size);
		text_string(&text, " bytes)");
	}
	text_bytes(&text, "", 1);
	buffer[sizeof(buffer) - 1] = 0;
	message_abort(buffer);
}

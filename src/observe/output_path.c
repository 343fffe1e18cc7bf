/* Names of the files that recordings go to. */
#define _GNU_SOURCE
#include "observe/output_path.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/file.h"

/* glibc's, from 2.32 on: without a lock, a translation or an allocation. */
extern const char *strerrordesc_np(int error) __attribute__((weak));

bool path_expand(const char *pattern, bool in_child, struct text *path)
{
	bool has_id = false;

	for (; *pattern != '\0'; pattern++) {
		char letter = pattern[0] == '%' ? pattern[1] : '\0';

		if (letter == 'p')
			text_number(path, (uint64_t)getpid());
		else if (letter == 'e')
			text_string(path, program_invocation_short_name);
		else
			text_bytes(path, pattern, 1);
		has_id |= letter == 'p';
		pattern += letter == 'p' || letter == 'e' || letter == '%';
	}
	if (in_child && !has_id) {
		text_string(path, ".");
		text_number(path, (uint64_t)getpid());
	}
	text_bytes(path, "", 1);
	return path->length < path->capacity;
}

void path_complain(const char *doing, const char *path, const char *what, int error)
{
	char buffer[PATH_MAX + 128];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer) - 1};

	text_string(&text, "tiermalloc: ");
	text_string(&text, doing);
	text_string(&text, path);
	text_string(&text, " ");
	text_string(&text, what);
	text_string(&text, error != 0 ? ": " : "");
	if (error == 0) {
		/* There is nothing more to say. */
	} else if (strerrordesc_np != NULL) {
		text_string(&text, strerrordesc_np(error));
	} else {
		text_string(&text, "error ");
		text_number(&text, (uint64_t)error);
	}
	buffer[text.length++] = '\n';
	file_write(STDERR_FILENO, buffer, text.length);
}

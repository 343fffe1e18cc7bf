/* Stands in for the recording library: at a process's end it writes what FAKE_CONTENT names to where the option record: says,
   so that the tests decide what was recorded. FAKE_SILENT: writes nothing. */
#define _GNU_SOURCE /* program_invocation_short_name */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_path(char *path, size_t capacity, const char *pattern)
{
	size_t length = 0;

	for (; *pattern != '\0' && *pattern != ',' && length + 64 < capacity; pattern++) {
		if (*pattern != '%')
			path[length++] = *pattern;
		else if (*++pattern == 'p')
			length += (size_t)snprintf(path + length, 32, "%d", (int)getpid());
		else if (*pattern == 'e')
			length += (size_t)snprintf(path + length, 64, "%s", program_invocation_short_name);
		else
			path[length++] = *pattern;
	}
	path[length] = '\0';
}

/* The path of the last option record:, which is the one that counts. */
static const char *find_pattern(const char *options)
{
	const char *found = NULL;

	for (const char *next = options; next != NULL && (next = strstr(next, "record:")) != NULL;)
		found = next += strlen("record:");
	return found;
}

__attribute__((destructor)) static void write_histogram(void)
{
	const char *pattern = find_pattern(getenv("TIERMALLOC_CONF")), *source = getenv("FAKE_CONTENT");
	char path[4096], content[65536];
	FILE *from, *to;
	size_t length;

	if (pattern == NULL || source == NULL || getenv("FAKE_SILENT") != NULL)
		return;
	write_path(path, sizeof(path), pattern);
	from = fopen(source, "r");
	to = fopen(path, "w");
	if (from == NULL || to == NULL)
		return;
	length = fread(content, 1, sizeof(content), from);
	fwrite(content, 1, length, to);
	fclose(from);
	fclose(to);
}

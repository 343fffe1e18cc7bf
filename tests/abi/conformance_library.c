/* What the C library allocates for its callers comes from the same malloc: it can be freed, resized and measured. */
#define _GNU_SOURCE
#include "conformance.h"

#include "check.h"

#include <malloc.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

static void strings_of_libc_can_be_resized(void)
{
	char *copy = hide_pointer(strdup("a text of some length"));
	expect(malloc_usable_size(copy) >= 22, "usable size of strdup: %zu", malloc_usable_size(copy));
	copy = hide_pointer(realloc(copy, 100000));
	expect(copy && strcmp(copy, "a text of some length") == 0, "realloc of strdup lost the text");
	free(copy);
	char *part = hide_pointer(strndup("another text", 7));
	expect(part && strcmp(part, "another") == 0, "strndup");
	free(part);
	wchar_t *wide = hide_pointer(wcsdup(L"wide"));
	expect(wide && wcscmp(wide, L"wide") == 0, "wcsdup");
	free(wide);
	char *printed = NULL;
	expect(asprintf(&printed, "%d %s %0100d", 1, "x", 2) == 104, "asprintf");
	printed = hide_pointer(realloc(printed, 5));
	expect(printed && memcmp(printed, "1 x 0", 5) == 0, "realloc of asprintf lost the text");
	free(printed);
	char *directory = hide_pointer(getcwd(NULL, 0));
	expect(directory && malloc_usable_size(directory) > strlen(directory), "getcwd(NULL, 0)");
	free(directory);
}

static void getline_resizes_our_blocks(void)
{
	FILE *file = tmpfile();
	if (!file) {
		check_skip("no temporary file");
		return;
	}
	for (int i = 0; i < 5000; ++i)
		fputc('x', file);
	fputs("\nshort\n", file);
	rewind(file);
	size_t capacity = 10;
	char *line = hide_pointer(malloc(capacity));
	expect(getline(&line, &capacity, file) == 5001 && capacity >= 5002, "getline of 5001 bytes");
	expect(getline(&line, &capacity, file) == 6 && strcmp(line, "short\n") == 0, "getline of 6 bytes");
	expect(malloc_usable_size(line) >= capacity, "getline's block is smaller than it says");
	free(line);
	fclose(file);
}

static void memory_streams_grow(void)
{
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);
	if (!expect(stream != NULL, "open_memstream failed"))
		return;
	for (int i = 0; i < 100000; ++i)
		fprintf(stream, "%d,", i % 10);
	fclose(stream);
	expect(length == 200000 && text && memcmp(text + 199996, "8,9,", 4) == 0, "open_memstream: %zu bytes", length);
	free(text);
}

static int compare_numbers(const void *left, const void *right)
{
	size_t a = (size_t)left, b = (size_t)right;
	return (a > b) - (a < b);
}

static void trees_of_libc_are_freed(void)
{
	void *root = NULL;
	for (size_t i = 0; i < 2000; ++i)
		expect(tsearch((void *)(i * 7919 % 2003 + 1), &root, compare_numbers) != NULL, "tsearch failed");
	for (size_t i = 0; i < 2000; ++i)
		tdelete((void *)(i * 7919 % 2003 + 1), &root, compare_numbers);
	expect(root == NULL, "the tree is not empty");
}

void conformance_library(void)
{
	CHECK(strings_of_libc_can_be_resized);
	CHECK(getline_resizes_our_blocks);
	CHECK(memory_streams_grow);
	CHECK(trees_of_libc_are_freed);
}

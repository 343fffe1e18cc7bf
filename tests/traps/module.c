/*
 * A module that the trap programs load: it allocates in its constructor and frees in
 * its destructor, and offers the host its own view of malloc and free.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>

static void *taken[64];
static const char words[] = "made in the constructor";
static char *text;

static size_t size_of(int index)
{
	return (size_t)(index % 8 + 1) * (index % 16 == 15 ? 50000 : 40);
}

__attribute__((constructor)) static void take(void)
{
	text = malloc(sizeof words); /* strdup would be the host's malloc when this module has a free of its own */
	if (!text)
		abort();
	memcpy(text, words, sizeof words);
	for (int i = 0; i < 64; i++) {
		taken[i] = malloc(size_of(i));
		if (!taken[i])
			abort();
		memset(taken[i], i, size_of(i));
	}
}

__attribute__((destructor)) static void give_back(void)
{
	if (strcmp(text, words) != 0)
		abort();
	free(text);
	for (int i = 0; i < 64; i++) {
		for (size_t j = 0; j < size_of(i); j++)
			if (((unsigned char *)taken[i])[j] != i)
				abort();
		free(taken[i]);
	}
}

static void *allocate(size_t size)
{
	return malloc(size);
}

static void *resize(void *block, size_t size)
{
	return realloc(block, size);
}

static void release(void *block)
{
	free(block);
}

/* A tail call would hide that this module is the caller of dlopen. */
static void *load(const char *name, int flags)
{
	void *volatile library = dlopen(name, flags);
	return library;
}

const struct module module_interface = {
	.allocate = allocate,
	.resize = resize,
	.release = release,
	.load = load,
};

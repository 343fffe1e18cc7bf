/*
 * Pointers that are not the heap's, in the shared object: the next allocator's. It is found when the first one
 * turns up; dlsym may allocate, which is ours to serve.
 */
#define _GNU_SOURCE
#include "foreign.h"

#include <dlfcn.h>

#include "base/message.h"

static void *next_function(const char *name, void *pointer, const char *function)
{
	void *next = dlsym(RTLD_NEXT, name);

	if (next == NULL) {
		const struct wrong_use use = {
			.function = function,
			.pointer = pointer,
			.what = "pointer was never allocated here, and there is no other allocator"};

		message_wrong_use(&use);
	}
	return next;
}

void foreign_free(void *pointer, const char *function)
{
	void (*next)(void *) = next_function("free", pointer, function);

	next(pointer);
}

void *foreign_realloc(void *pointer, size_t size)
{
	void *(*next)(void *, size_t) = next_function("realloc", pointer, "realloc");

	return next(pointer, size);
}

size_t foreign_usable_size(void *pointer, const char *function)
{
	size_t (*next)(void *) = next_function("malloc_usable_size", pointer, function);

	return next(pointer);
}

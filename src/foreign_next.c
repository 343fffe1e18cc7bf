/*
 * Pointers that are not the heap's, in the shared object: the next allocator's, whose functions are found at start-up, or
 * when such a pointer turns up before that; dlsym may allocate, which is ours to serve.
 */
#define _GNU_SOURCE
#include "foreign.h"

#include <dlfcn.h>

#include "base/common.h"
#include "base/message.h"

static struct {
	void (*free)(void *);
	void *(*realloc)(void *, size_t);
	size_t (*usable_size)(void *);
} next;

void foreign_begin(void)
{
	next.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	next.usable_size = (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
}

/* Stops the process unless there is such a function. */
static void require(bool found, void *pointer, const char *function)
{
	const struct wrong_use use = {.function = function,
				      .pointer = pointer,
				      .what = "pointer was never allocated here, and there is no other allocator"};

	if (!found)
		message_wrong_use(&use);
}

void foreign_free(void *pointer, const char *function)
{
	if (unlikely(next.free == NULL))
		foreign_begin();
	require(next.free != NULL, pointer, function);
	next.free(pointer);
}

void *foreign_realloc(void *pointer, size_t size)
{
	if (unlikely(next.realloc == NULL))
		foreign_begin();
	require(next.realloc != NULL, pointer, "realloc");
	return next.realloc(pointer, size);
}

size_t foreign_usable_size(void *pointer, const char *function)
{
	if (unlikely(next.usable_size == NULL))
		foreign_begin();
	require(next.usable_size != NULL, pointer, function);
	return next.usable_size(pointer);
}

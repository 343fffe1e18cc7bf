/* Pointers that are not the heap's, in a static build: wrong uses. */
#include "foreign.h"

#include "base/message.h"

static _Noreturn void not_ours(void *pointer, const char *function)
{
	const struct wrong_use use = {.function = function,
				      .pointer = pointer,
				      .what = "pointer was never allocated; it is outside the heap"};

	message_wrong_use(&use);
}

void foreign_begin(void)
{
}

void foreign_free(void *pointer, const char *function)
{
	not_ours(pointer, function);
}

void *foreign_realloc(void *pointer, size_t size)
{
	(void)size;
	not_ours(pointer, "realloc");
}

size_t foreign_usable_size(void *pointer, const char *function)
{
	not_ours(pointer, function);
}

/* What is wrong with a pointer. */
#include "pointer.h"

#include "base/message.h"

void pointer_check(void *pointer, unsigned class, const char *function)
{
	struct wrong_use use = {.function = function, .pointer = pointer, .class_size = size_classes[class].size};
	const struct span *span;
	uint64_t index;

	if (unlikely(!pointer_is_start(pointer, class, &span, &index))) {
		use.what = "pointer is inside an object, not at its start";
		message_wrong_use(&use);
	}
	if (unlikely(pointer_is_free(span, index))) {
		use.what = "object is already free";
		message_wrong_use(&use);
	}
}

/* The large block that spans over this page, or NULL. Only its first page names it. */
static const struct span *enclosing_large(size_t page)
{
	for (size_t at = page + 1; at-- > 0;) {
		const struct span *span = page_span(at);

		if (span != NULL)
			return span->objects == 0 && page - at < span->pages ? span : NULL;
	}
	return NULL;
}

void pointer_wrong(void *pointer, const char *function)
{
	const struct span *span = enclosing_large(page_of((uintptr_t)pointer));
	struct wrong_use use = {.function = function, .pointer = pointer};

	if (span != NULL) {
		use.what = "pointer is inside an object, not at its start";
		use.large_size = span_bytes(span);
	} else {
		use.what = "pointer was never allocated; or it was, and its pages are free already (double free)";
	}
	message_wrong_use(&use);
}

void pointer_wrong_size(void *pointer, size_t size, const char *function)
{
	size_t page = page_of((uintptr_t)pointer);
	const struct span *span = page_span(page);
	char what[96];
	struct text text = {.buffer = what, .capacity = sizeof(what)};
	struct wrong_use use = {.function = function, .pointer = pointer, .what = what};

	text_string(&text, "size ");
	text_number(&text, size);
	text_string(&text, " of a sized free does not fit the object's size");
	text_bytes(&text, "", 1);
	use.class_size = size_classes[page_class(page)].size;
	use.large_size = use.class_size == 0 ? span_bytes(span) : 0;
	message_wrong_use(&use);
}

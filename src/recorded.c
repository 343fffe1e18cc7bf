/*
 * The fast paths of threads that are recorded. Like those of malloc.c they test nothing but whether the stack can serve:
 * a recorder that may not be used now has the closed cache.
 */
#include "recorded.h"

#include "door.h"
#include "fast_path.h"
#include "observe/recording.h"

/* The rest of an allocation when a row or a recorder needs more than counting. */
static COLD void *look_after(struct recorder *recorder, struct row *row, void *object)
{
	recording_look_at(recorder, row, 1);
	return object;
}

static COLD void *without_area(void *object, size_t size)
{
	recording_allocated(object, 1, size);
	return object;
}

ALWAYS_INLINE void *allocate(size_t size, void *(*otherwise)(size_t size))
{
	struct recorder *recorder = thread_state.recorder;
	size_t class;
	stack_word *word;
	void **top;
	void *object;
	uintptr_t area;
	size_t number;
	struct row *row;

	if (unlikely(size > LARGEST_CLASS_SIZE))
		return otherwise(size);
	class = class_of_size(size);
	word = (stack_word *)recorder->stacks->top + class;
	top = *word;
	object = top[-1];
	if (unlikely(object == NULL))
		return otherwise(size);
	*word = top - 1;
	area = record_area_of((uintptr_t)object);
	if (unlikely(area == 0))
		return without_area(object, size);
	number = row_of_exact(size);
	row = &recorder->rows[number];
	*record_in(area, (uintptr_t)object, class) = count_allocation(recorder, row, number, number << 3);
	if (needs_look_after_allocation(recorder, row))
		return look_after(recorder, row, object);
	return object;
}

void *recorded_malloc(size_t size)
{
	return allocate(size, door_malloc_uncounted);
}

void *recorded_malloc_to_resize(size_t size)
{
	stack_word *word;
	void *object;

	if (size > LARGEST_CLASS_SIZE)
		return door_malloc_uncounted(size);
	word = (stack_word *)thread_state.recorder->stacks->top + class_of_size(size);
	object = (*word)[-1];
	if (object == NULL)
		return door_malloc_uncounted(size);
	*word -= 1;
	return object;
}

static void *nothing(size_t size)
{
	(void)size;
	return NULL;
}

void *recorded_pop(size_t size)
{
	return allocate(size, nothing);
}

/* False: a matter for the rest of the door, and nothing has been counted. */
ALWAYS_INLINE bool free_counted(void *pointer)
{
	struct recorder *recorder = thread_state.recorder;
	uintptr_t address = (uintptr_t)pointer;
	size_t class;
	stack_word *word;
	void **top;
	uintptr_t area;
	uint64_t *record;
	uint64_t value;
	struct row *row;

	if (unlikely(!in_window(address)))
		return false;
	class = page_class(page_of(address));
	word = (stack_word *)recorder->stacks->top + class;
	top = *word;
	if (unlikely(top == *(stack_word *)((uintptr_t)word + LIMIT_DISTANCE)) || unlikely(top[-1] == pointer))
		return false;
	area = record_area_of(address);
	if (unlikely(area == 0))
		return false;
	record = record_in(area, address, class);
	value = *record;
	if (unlikely(value == 0) || unlikely(value & RECORD_RESIZED))
		return false;
	*record = 0;
	*top = pointer;
	*word = top + 1;
	row = &recorder->rows[RECORD_ROW(value)];
	count_free(recorder, row, value);
	if (needs_look_after_free(recorder, row))
		recording_look_at(recorder, row, -1);
	return true;
}

void recorded_free(void *pointer)
{
	if (unlikely(!free_counted(pointer)))
		door_free_uncounted(pointer);
}

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

ALWAYS_INLINE void *allocate(size_t size, struct recorder *recorder, void *(*otherwise)(size_t size))
{
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
	*record_in(area, (uintptr_t)object, &record_places[class]) =
		count_allocation(recorder, row, number, number << 3);
	if (needs_look_after_allocation(recorder, row))
		return look_after(recorder, row, object);
	return object;
}

void *recorded_malloc(size_t size, struct recorder *recorder)
{
	return allocate(size, recorder, door_malloc_uncounted);
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

void *recorded_pop(size_t size, struct recorder *recorder)
{
	return allocate(size, recorder, nothing);
}

_Static_assert(sizeof(struct record_place) == CLASS_OFFSET(1), "a class's offset is that of its place, too");

/*
 * False: a matter for the rest of the door, and nothing has been counted. Where the object is free already it has no record; so it
 * need not be compared with the one that was freed last.
 */
ALWAYS_INLINE bool free_counted(void *pointer, struct recorder *recorder)
{
	uintptr_t base = window.base;
	uintptr_t offset = (uintptr_t)pointer - base;
	uintptr_t class_offset;
	stack_word *word;
	void **top;
	uintptr_t area;
	uint64_t *record;
	uint64_t value;
	struct row *row;

	if (unlikely(offset >= load_folded(&window.extent)))
		return false;
	class_offset = ((uint16_t *)(base - CLASS_MAP_DISTANCE))[offset >> PAGE_SHIFT];
	word = (stack_word *)((uintptr_t)recorder->stacks + class_offset);
	top = *word;
	if (unlikely(top == *(stack_word *)((uintptr_t)word + LIMIT_DISTANCE)))
		return false;
	area = load_relaxed(&record_areas[offset >> HUGEPAGE_SHIFT]);
	if (unlikely(area == 0))
		return false;
	record = record_in(area, (uintptr_t)pointer,
			   (const struct record_place *)((uintptr_t)record_places + class_offset));
	value = *record;
	if (unlikely((value & RECORD_ORIGINAL) == 0))
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

void recorded_free(void *pointer, struct recorder *recorder)
{
	if (unlikely(!free_counted(pointer, recorder)))
		door_free_uncounted(pointer);
}

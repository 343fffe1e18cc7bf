/* Recording: blocks of every kind, as they are allocated, freed and resized behind the door. */
#include "central/central.h"
#include "fast_path.h"
#include "observe/histogram.h"

static unsigned class_at(const void *block)
{
	return page_class(page_of((uintptr_t)block));
}

/* Bytes of a block beyond what malloc would have given for its row's size; 0 for sizes that have no class. */
static int64_t room_of(const void *block, unsigned class, const struct row *row)
{
	unsigned natural = class_for((size_t)1 << row->alignment, row->size);
	size_t given;

	if (natural == 0)
		return 0;
	given = class != 0 ? size_classes[class].size : span_bytes(large_span_of((uintptr_t)block));
	return (int64_t)(given - size_classes[natural].size);
}

/* The block's record, in an area that is mapped if need be. NULL: no memory. */
static uint64_t *record_of(const void *block, unsigned class)
{
	uintptr_t address = (uintptr_t)block;

	if (record_area_of(address) == 0 && !records_map_area((address - window.base) >> HUGEPAGE_SHIFT))
		return NULL;
	return record_in(record_area_of(address), address, &record_places[class]);
}

static void count_block(struct recorder *recorder, uint64_t *record, size_t number, uint64_t without)
{
	struct row *row = &recorder->rows[number];
	uint64_t size = row->size;
	uint32_t alignment;

	if (size == 0)
		recording_row_key(number, &size, &alignment);
	*record = count_allocation(recorder, row, number, size) & ~without;
	if (needs_look_after_allocation(recorder, row))
		recording_look_at(recorder, row, 1);
}

void recording_allocated(void *block, size_t alignment, size_t size)
{
	uint64_t *record;

	if (thread_state.recorder->resizing)
		return;
	record = record_of(block, class_at(block));
	if (record != NULL)
		count_block(thread_state.recorder, record, recording_row_of(size, alignment), 0);
}

/* The block's record, which is taken away. 0: there is none. */
static uint64_t take_record(const void *block, unsigned class)
{
	uint64_t *record;
	uint64_t value;

	if (record_area_of((uintptr_t)block) == 0)
		return 0;
	record = record_in(record_area_of((uintptr_t)block), (uintptr_t)block, &record_places[class]);
	value = *record;
	*record = 0;
	return value;
}

static struct row *row_of(struct recorder *recorder, uint64_t record)
{
	return &recorder->rows[RECORD_ROW(record)];
}

static void end_block(struct recorder *recorder, uint64_t record, int64_t room)
{
	struct row *row = row_of(recorder, record);

	count_free(recorder, row, record);
	if (room != 0)
		__atomic_fetch_sub(&process_record.now.room, room, __ATOMIC_RELAXED);
	if (needs_look_after_free(recorder, row))
		recording_look_at(recorder, row, -1);
}

/* The room behind a block with this record. */
static int64_t recorded_room(struct recorder *recorder, const void *block, unsigned class, uint64_t record)
{
	struct row *row = row_of(recorder, record);

	if (record & RECORD_ORIGINAL)
		return 0;
	if (row->size == 0)
		recording_look_at(recorder, row, 0);
	return room_of(block, class, row);
}

void recording_freed(void *block)
{
	unsigned class = class_at(block);
	uint64_t record = take_record(block, class);

	if (record != 0)
		end_block(thread_state.recorder, record, recorded_room(thread_state.recorder, block, class, record));
}

struct recorded_block recording_begin_resize(void *block)
{
	unsigned class = class_at(block);
	struct recorded_block before = {.record = take_record(block, class)};

	if (before.record != 0)
		before.room = recorded_room(thread_state.recorder, block, class, before.record);
	thread_state.recorder->resizing = true;
	return before;
}

static void count_resized(struct recorder *recorder, void *block, unsigned class, size_t size)
{
	size_t number = recording_row_of(size, 1);
	uint64_t *record = record_of(block, class);

	if (record == NULL)
		return;
	count_block(recorder, record, number, RECORD_ORIGINAL);
	recorder->rows[number].reallocs++;
	__atomic_fetch_add(&process_record.now.room, room_of(block, class, &recorder->rows[number]), __ATOMIC_RELAXED);
}

void recording_end_resize(const struct recorded_block *before, void *block, void *resized, size_t size)
{
	struct recorder *recorder = thread_state.recorder;

	if (recorder != NULL)
		recorder->resizing = false;
	if (resized == NULL) {
		if (before->record != 0)
			*record_of(block, class_at(block)) = before->record;
		return;
	}
	if (recorder == NULL || !in_window((uintptr_t)resized))
		return;
	if (before->record != 0)
		end_block(recorder, before->record, before->room);
	count_resized(recorder, resized, class_at(resized), size);
}

/*
 * The central free list of each class: which objects of which span are free, in bitmaps out of band.
 *
 * A span that becomes empty goes back to the page heap. Those of a few objects each, and one of any other class, may
 * stay, within what the page heap would keep anyway (pageheap_spare): making and unmaking them costs more than all the
 * rest for a program that takes and frees large objects in turn.
 *
 * Return works in chunks: objects are mapped to spans and checked before the lock is taken (pieces.h), with the bitmaps'
 * cache lines on their way meanwhile; under the lock only bits are set. Empty spans leave after the lock.
 */
#include "base/os.h"
#include "central/central.h"
#include "central/free_list.h"
#include "central/pieces.h"
#include "central/transfer_cache.h"
#include "pageheap/pageheap.h"

struct free_list free_lists[CLASS_COUNT];

/*
 * All empty spans of at most so many objects are kept; of those of more, one for each class: a thread that takes one
 * object, frees it and ends would make and unmake a span each time (measured for eight sizes: 1456 and 915 ns a piece).
 */
#define KEPT_OBJECTS 16

static inline bool keep_empty(struct free_list *list, struct span *span)
{
	if ((span->objects > KEPT_OBJECTS && list->kept != 0) || !pageheap_spare_add(span->pages))
		return false;
	span->kept = true;
	list->kept++;
	return true;
}

/* A span that was kept is used again, or goes. */
static inline void end_keeping(struct free_list *list, struct span *span, bool reused)
{
	if (!span->kept)
		return;
	span->kept = false;
	list->kept--;
	pageheap_spare_remove(span->pages, reused);
}

/* What has been given back of a span is not known any more, or not of interest. */
static inline void forget_purged(struct free_list *list, struct span *span)
{
	size_t bytes = span->purged * os_page_size();

	if (likely(span->purged == 0))
		return;
	span->purged = 0;
	store_relaxed(&list->purged, list->purged - bytes);
	pageheap_purged_remove(bytes);
}

/* A span goes. */
static inline void leave(struct free_list *list, struct span *span)
{
	occupancy_remove(&list->occupancy, span);
	forget_purged(list, span);
	store_relaxed(&list->free, list->free - span->objects);
	store_relaxed(&list->spans, list->spans - 1);
}

/* The first of a piece's objects that are free already. */
static COLD _Noreturn void freed_twice(const struct piece *piece, const char *function)
{
	const struct span *span = piece->span;
	unsigned first = (unsigned)__builtin_ctzl(span->free_objects[piece->word] & piece->bits);

	wrong_object(span->class,
		     (void *)(span->start + (piece->word * 64 + first) * (uintptr_t)size_classes[span->class].size),
		     function, "object is already free (double free)");
}

static inline void mark_free(const struct piece *piece, const char *function)
{
	struct span *span = piece->span;
	uint64_t bits = span->free_objects[piece->word];

	if (unlikely(bits & piece->bits))
		freed_twice(piece, function);
	store_relaxed(&span->free_objects[piece->word], bits | piece->bits);
	if (piece->word < span->first_word)
		span->first_word = (uint16_t)piece->word;
}

/* A span has turned. Returns it if the last of its objects in use have been freed and it has left the list. */
static struct span *turn(struct free_list *list, struct span *span)
{
	if (span->turn == TURN_OF_FULL)
		occupancy_insert(&list->occupancy, span);
	else if (occupancy_bucket(span) != span->bucket)
		occupancy_move(&list->occupancy, span);
	else
		occupancy_set_turn(span);
	if (likely(span->free != span->objects) || keep_empty(list, span))
		return NULL;
	leave(list, span);
	return span;
}

/* Counts objects that have been marked free. Returns as turn(). */
static inline struct span *count_freed(struct free_list *list, struct span *span, size_t count)
{
	span->free = (uint16_t)(span->free + count);
	return likely(span->free < span->turn) ? NULL : turn(list, span);
}

/* Marks a piece's objects free. Returns `emptied`, the spans that have left the list, joined by `next`; with this one if it has. */
static inline struct span *put_piece(struct free_list *list, const struct piece *piece, struct span *emptied,
				     const char *function)
{
	struct span *empty;

	mark_free(piece, function);
	empty = count_freed(list, piece->span, piece->count);
	if (likely(empty == NULL))
		return emptied;
	empty->next = emptied;
	return empty;
}

/* The same for the objects of a chunk's pieces, and for objects one by one. */
static inline struct span *put(struct free_list *list, const struct piece *pieces, size_t count, const char *function)
{
	struct span *emptied = NULL;

	for (size_t i = 0; i < count; i++)
		emptied = put_piece(list, &pieces[i], emptied, function);
	return emptied;
}

static inline struct span *put_each(struct free_list *list, struct span **spans, const uint16_t *indices, size_t count,
				    const char *function)
{
	struct span *emptied = NULL;

	for (size_t i = 0; i < count; i++) {
		struct piece piece = {spans[i], UINT64_C(1) << (indices[i] % 64), indices[i] / 64u, 1};

		emptied = put_piece(list, &piece, emptied, function);
	}
	return emptied;
}

static void destroy_all(struct span *spans)
{
	while (spans != NULL) {
		struct span *next = spans->next;

		span_destroy(spans);
		spans = next;
	}
}

/* Objects that follow each other, or lie close together. `spans`: as gather() takes it. */
static struct span *return_orderly(unsigned class, void **objects, size_t count, struct span **spans,
				   const char *function)
{
	struct free_list *list = &free_lists[class];
	struct piece pieces[CHUNK + 1];
	size_t gathered = gather(class, objects, count, spans, pieces, function);
	struct span *emptied;

	lock_acquire(&list->lock);
	store_relaxed(&list->free, list->free + count);
	emptied = put(list, pieces + 1, gathered, function);
	lock_release(&list->lock);
	return emptied;
}

/*
 * Objects of which most lie in other spans than the ones before them: there is little to be joined. (100,000 objects of 64 bytes,
 * freed at random: 14.2 ns each, 15.1 as pieces.)
 */
static struct span *return_scattered(unsigned class, void **objects, size_t count, struct span **spans,
				     const char *function)
{
	struct free_list *list = &free_lists[class];
	uint16_t indices[CHUNK];
	struct span *emptied;

	locate(class, objects, count, spans, indices, function);
	lock_acquire(&list->lock);
	store_relaxed(&list->free, list->free + count);
	emptied = put_each(list, spans, indices, count, function);
	lock_release(&list->lock);
	return emptied;
}

static void return_chunk(unsigned class, void **objects, size_t count, const char *function)
{
	struct span *spans[CHUNK];
	size_t changes = fetch_spans(&size_classes[class], objects, count, spans);

	if (changes > count / 2)
		destroy_all(return_scattered(class, objects, count, spans, function));
	else
		destroy_all(return_orderly(class, objects, count, changes != 0 ? spans : NULL, function));
}

void central_return(unsigned class, void **objects, size_t count, const char *function)
{
	while (count != 0) {
		size_t part = minimum(count, CHUNK);

		return_chunk(class, objects, part, function);
		objects += part;
		count -= part;
	}
}

/* 64 objects in a row, as take_from_span does: most spans that are taken from are new, or have drained. */
static inline void **take_word(uintptr_t first, size_t size, void **end)
{
	for (size_t i = 0; i < 64; i++)
		*--end = (void *)(first + i * size);
	return end;
}

/* Takes up to `count` objects from one span, in address order, downward from `end`. */
static size_t take_from_span(struct span *span, uint32_t size, void **end, size_t count)
{
	size_t want = minimum(count, span->free);
	size_t left = want;
	size_t word = span->first_word;
	size_t last = 0;

	for (; left != 0; word++) {
		uint64_t bits = span->free_objects[word];

		if (bits == ~UINT64_C(0) && left >= 64) {
			end = take_word(span->start + word * 64 * size, size, end);
			last = word * 64 + 63;
			bits = 0;
			left -= 64;
		}
		while (bits != 0 && left != 0) {
			last = word * 64 + (size_t)__builtin_ctzl(bits);
			*--end = (void *)(span->start + last * size);
			bits &= bits - 1;
			left--;
		}
		store_relaxed(&span->free_objects[word], bits);
	}
	span->first_word = (uint16_t)(word - 1);
	if (last >= span->touched)
		span->touched = (uint16_t)(last + 1);
	span->free = (uint16_t)(span->free - want);
	return want;
}

/* Takes from the spans that the list has. */
static size_t take_listed(struct free_list *list, uint32_t size, void **end, size_t count)
{
	size_t taken = 0;

	while (taken < count) {
		struct span *span = occupancy_fullest(&list->occupancy);

		if (span == NULL)
			break;
		end_keeping(list, span, true);
		forget_purged(list, span);
		taken += take_from_span(span, size, end - taken, count - taken);
		if (span->free == 0)
			occupancy_remove(&list->occupancy, span);
		else if (occupancy_bucket(span) != span->bucket)
			occupancy_move(&list->occupancy, span);
	}
	store_relaxed(&list->free, list->free - taken);
	list->least_free = minimum(list->least_free, list->free);
	return taken;
}

/* A new span. */
static void enter(struct free_list *list, struct span *span)
{
	store_relaxed(&list->spans, list->spans + 1);
	store_relaxed(&list->free, list->free + span->objects);
	store_relaxed(&list->mark, list->spans * span->objects);
	occupancy_insert(&list->occupancy, span);
}

/*
 * A new span is not needed if another thread has returned objects while it was made: it stays as other empty ones do,
 * or leaves the list again. So does one that has become empty while it was out. Returns it then.
 */
static struct span *leave_unused(struct free_list *list, struct span *span)
{
	if (likely(span->free != span->objects) || keep_empty(list, span))
		return NULL;
	leave(list, span);
	span->next = NULL;
	return span;
}

struct span *free_list_reenter(struct free_list *list, struct span *span)
{
	occupancy_insert_last(&list->occupancy, span);
	return leave_unused(list, span);
}

/* Takes out an empty span that was kept. NULL if there is none. */
static struct span *leave_kept(struct free_list *list)
{
	struct span *span = list->occupancy.heads[OCCUPANCY_BUCKETS - 1];

	if (list->kept == 0)
		return NULL;
	while (!span->kept)
		span = span->next;
	end_keeping(list, span, false);
	leave(list, span);
	span->next = NULL;
	return span;
}

static void give_back_kept(struct free_list *list, bool all)
{
	struct span *span;

	do {
		lock_acquire(&list->lock);
		span = leave_kept(list);
		lock_release(&list->lock);
		destroy_all(span);
	} while (span != NULL && (all || !pageheap_spare_fits()));
}

void central_give_back_empty(bool all)
{
	for (unsigned class = CLASS_COUNT - 1; class > 0 && (all || !pageheap_spare_fits()); class --)
		give_back_kept(&free_lists[class], all);
}

size_t central_take(unsigned class, void **end, size_t count)
{
	struct free_list *list = &free_lists[class];
	uint32_t size = size_classes[class].size;
	struct span *unused = NULL;
	size_t taken;

	lock_acquire(&list->lock);
	taken = take_listed(list, size, end, count);
	while (taken < count) {
		struct span *span;

		lock_release(&list->lock);
		span = span_create(class);
		if (span == NULL)
			return taken;
		lock_acquire(&list->lock);
		enter(list, span);
		taken += take_listed(list, size, end - taken, count - taken);
		unused = leave_unused(list, span);
	}
	lock_release(&list->lock);
	destroy_all(unused);
	return taken;
}

/* The lowest free object of a span that the list has, and whether it was never handed out from zeroed pages. */
static void *take_listed_one(struct free_list *list, uint32_t size, bool *zeroed)
{
	struct span *span = occupancy_fullest(&list->occupancy);
	void *object = NULL;
	uint16_t touched;

	if (span == NULL)
		return NULL;
	touched = span->touched;
	take_listed(list, size, &object + 1, 1);
	*zeroed = span->zeroed && ((uintptr_t)object - span->start) / size >= touched;
	return object;
}

void *central_take_one(unsigned class, bool *zeroed)
{
	struct free_list *list = &free_lists[class];
	uint32_t size = size_classes[class].size;
	struct span *span;
	void *object;

	lock_acquire(&list->lock);
	object = take_listed_one(list, size, zeroed);
	lock_release(&list->lock);
	if (object != NULL)
		return object;
	span = span_create(class);
	if (span == NULL)
		return NULL;
	lock_acquire(&list->lock);
	enter(list, span);
	object = take_listed_one(list, size, zeroed);
	span = leave_unused(list, span);
	lock_release(&list->lock);
	destroy_all(span);
	return object;
}

void central_read_statistics(unsigned class, struct class_statistics *statistics)
{
	struct free_list *list = &free_lists[class];

	lock_acquire(&list->lock);
	statistics->spans = list->spans;
	statistics->pages = list->spans * size_classes[class].pages;
	statistics->objects = list->spans * size_classes[class].objects;
	statistics->central_free = list->free;
	statistics->purged = list->purged;
	lock_release(&list->lock);
	statistics->transfer_free = transfer_count(class);
}

struct sums {
	size_t free;
	size_t purged; /* pages of the kernel */
};

/* Checks the spans of one ring. Adds what they have. */
static const char *check_ring(unsigned class, unsigned bucket, struct sums *sums)
{
	const struct occupancy *occupancy = &free_lists[class].occupancy;
	const struct span *head = occupancy->heads[bucket];
	const struct span *span = head;
	size_t count = 0;

	do {
		if (span->class != class || span->bucket != bucket || occupancy_bucket(span) != bucket)
			return "a span is in the list of another class or occupancy";
		if (span->free == 0 || bits_count_range(span->free_objects, 0, span->objects) != span->free)
			return "a span's count of free objects is wrong";
		if (span->free == span->objects && !span->kept)
			return "an empty span is in the list that is not counted as kept";
		if (page_span(page_of(span->start)) != span || page_class(page_of(span->start)) != class)
			return "the page map does not name a span's class";
		sums->free += span->free;
		sums->purged += span->purged;
		count++;
		if (span->next->previous != span)
			return "a list of spans is broken";
		span = span->next;
	} while (span != head);
	return count == occupancy->counts[bucket] ? NULL : "the count of an occupancy list is wrong";
}

static const char *check_list(unsigned class)
{
	const struct free_list *list = &free_lists[class];
	struct sums sums = {0};

	for (unsigned bucket = 0; bucket < OCCUPANCY_BUCKETS; bucket++) {
		const struct span *head = list->occupancy.heads[bucket];
		const char *wrong = head != NULL ? check_ring(class, bucket, &sums) : NULL;

		if (wrong != NULL)
			return wrong;
		if ((head != NULL) != (list->occupancy.filled >> bucket & 1))
			return "the set of filled occupancy lists is wrong";
	}
	if (sums.free != list->free)
		return "a class's count of free objects is wrong";
	return sums.purged * os_page_size() == list->purged ? NULL : "a class's count of purged bytes is wrong";
}

const char *central_validate(void)
{
	const char *wrong = NULL;

	for (unsigned class = 1; class < CLASS_COUNT && wrong == NULL; class ++) {
		lock_acquire(&free_lists[class].lock);
		wrong = check_list(class);
		lock_release(&free_lists[class].lock);
	}
	return wrong;
}

struct lock *central_lock(size_t number)
{
	unsigned class = (unsigned)(number / 2);

	if (class >= CLASS_COUNT)
		return NULL;
	return number % 2 == 0 ? transfer_lock(class) : &free_lists[class].lock;
}

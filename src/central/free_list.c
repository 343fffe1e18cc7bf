/*
 * The central free list of each class: which objects of which span are free, in bitmaps out of band.
 *
 * A span that becomes empty goes back to the page heap. Those of a few objects each, and one of any other class, may
 * stay, within what the page heap would keep anyway (pageheap_spare): making and unmaking them costs more than all the
 * rest for a program that takes and frees large objects in turn.
 *
 * Return works in chunks: objects are mapped to spans and checked before the lock is taken, with the bitmaps' cache
 * lines on their way meanwhile; under the lock only bits are set. Empty spans leave after the lock.
 */
#include "base/message.h"
#include "base/os.h"
#include "central/central.h"
#include "central/free_list.h"
#include "central/transfer_cache.h"
#include "pageheap/pageheap.h"

/*
 * Objects per chunk of a return: 64 cache misses in flight are more than any processor overlaps, and the arrays
 * stay small on the stack.
 */
#define CHUNK 64

struct free_list free_lists[CLASS_COUNT];

/* Objects that follow each other in a chunk, and whose bits lie in the same word of the same span's bitmap. */
struct piece {
	struct span *span;
	uint64_t bits;
	uint32_t word;
	uint32_t count; /* of the bits */
};

static _Noreturn void wrong_object(unsigned class, void *object, const char *function, const char *what)
{
	struct wrong_use use = {
		.function = function, .pointer = object, .what = what, .class_size = size_classes[class].size};

	if (class == 0)
		use.large_size = span_bytes(large_span_of((uintptr_t)object));
	message_wrong_use(&use);
}

static COLD _Noreturn void wrong_class(unsigned class, void *object, const char *function)
{
	bool inside = in_window((uintptr_t)object);
	unsigned real = inside ? page_class(page_of((uintptr_t)object)) : 0;
	char what[96];
	struct text text = {.buffer = what, .capacity = sizeof(what)};

	if (real == 0 && (!inside || large_span_of((uintptr_t)object) == NULL))
		wrong_object(class, object, function,
			     "object is already free (double free), or a sized free of what was never allocated");
	text_string(&text, "size ");
	text_number(&text, size_classes[class].size);
	text_string(&text, " of a sized free does not fit the object's size");
	text_bytes(&text, "", 1);
	wrong_object(real, object, function, what);
}

/* The span of an object that is said to be of `class`. */
static inline struct span *span_of(unsigned class, void *object, const char *function)
{
	uintptr_t address = (uintptr_t)object;
	struct span *span = likely(in_window(address)) ? page_span(page_of(address)) : NULL;

	if (unlikely(span == NULL) || unlikely(span->class != class))
		wrong_class(class, object, function);
	return span;
}

/* How many of the next objects, `most` at most, lie one behind the other from the first one on, at this distance. */
static inline size_t count_neighbours(void **objects, size_t most, uintptr_t distance)
{
	uintptr_t next = (uintptr_t)objects[0] + distance;
	size_t count = 0;

	while (count < most && (uintptr_t)objects[count + 1] == next) {
		next += distance;
		count++;
	}
	return count;
}

static inline bool are_neighbours(const struct size_class *info, const void *one, const void *other)
{
	uintptr_t distance = (uintptr_t)other - (uintptr_t)one;

	return distance == info->size || distance == -(uintptr_t)info->size;
}

/*
 * Adds those of the next `left` objects to a piece that are neighbours of its first one, upward or downward within the same
 * word: what is freed in the order in which it was taken, or in reverse, is looked up once for each word (100,000 objects of 16
 * bytes, in order: 8.6 ns each with their allocation, 10.4 one by one).
 */
static inline void add_neighbours(const struct size_class *info, void **objects, size_t left, size_t index,
				  struct piece *piece)
{
	uintptr_t distance = (uintptr_t)objects[1] - (uintptr_t)objects[0];
	size_t place = index % 64;
	size_t more;

	if (distance == info->size) {
		more = count_neighbours(objects, minimum(minimum(63 - place, info->objects - 1 - index), left),
					distance);
	} else {
		more = count_neighbours(objects, minimum(place, left), distance);
		place -= more;
	}
	piece->bits = ((UINT64_C(2) << more) - 1) << place;
	piece->count += (uint32_t)more;
}

/*
 * Fetches the spans of objects that are not just neighbours: otherwise gather() would wait for one after the other, most of all
 * where another thread has them. (Two threads with 100,000 objects of 64 bytes each, freed at random: 15.5 ns instead of 16.8 each;
 * one thread 15.3 instead of 15.0.)
 */
static inline void fetch_spans(const struct size_class *info, void **objects, size_t count)
{
	uintptr_t bytes = (uintptr_t)info->pages << PAGE_SHIFT;

	if ((uintptr_t)objects[count - 1] - (uintptr_t)objects[0] + bytes < 2 * bytes)
		return;
	for (size_t i = 0; i < count; i++) {
		if (likely(in_window((uintptr_t)objects[i])))
			__builtin_prefetch(page_span(page_of((uintptr_t)objects[i])), 1);
	}
}

/*
 * Joins a piece to the one before, if both are of the same word. False: they are not, or an object is in both. (Every second of
 * 100,000 objects of 64 bytes freed, then the others: 10.0 ns each, 11.9 if they are marked one by one under the lock. All in random
 * order: 16.3 and 15.4.)
 */
static inline bool join(struct piece *last, const struct piece *piece)
{
	if (last->span != piece->span || last->word != piece->word || (last->bits & piece->bits) != 0)
		return false;
	last->bits |= piece->bits;
	last->count += piece->count;
	return true;
}

/*
 * Finds the bits of objects that are said to be of `class`, and fetches what put() will want of their spans. An object that
 * is there twice is in two pieces. Returns how many pieces there are, `count` at most.
 */
static inline size_t gather(unsigned class, void **objects, size_t count, struct piece *pieces, const char *function)
{
	const struct size_class *info = &size_classes[class];
	uint64_t bytes = (uint64_t)info->pages << PAGE_SHIFT;
	struct piece last = {0};
	struct span *span = NULL;
	size_t gathered = 0;
	uintptr_t start = 0;

	fetch_spans(info, objects, count);
	for (size_t i = 0; i < count;) {
		uint64_t offset = (uintptr_t)objects[i] - start;
		struct piece piece;
		uint64_t index;

		/* Objects of one span often come together. */
		if (offset >= bytes || span == NULL) {
			span = span_of(class, objects[i], function);
			start = span->start;
			offset = (uintptr_t)objects[i] - start;
		}
		index = offset * info->reciprocal >> 44;
		if (unlikely(index * info->size != offset) || unlikely(index >= info->objects))
			wrong_object(class, objects[i], function, "pointer is inside an object, not at its start");
		piece = (struct piece){span, UINT64_C(1) << (index % 64), (uint32_t)(index / 64), 1};
		if (i + 1 < count && are_neighbours(info, objects[i], objects[i + 1]))
			add_neighbours(info, objects + i, count - i - 1, index, &piece);
		i += piece.count;
		if (join(&last, &piece))
			continue;
		if (last.span != NULL)
			pieces[gathered++] = last;
		last = piece;
		__builtin_prefetch(&span->free_objects[piece.word], 1);
	}
	pieces[gathered++] = last;
	return gathered;
}

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

/* Marks the objects of a chunk's pieces free. Returns the spans that have left the list, joined by `next`. */
static inline struct span *put(struct free_list *list, const struct piece *pieces, size_t count, const char *function)
{
	struct span *emptied = NULL;

	for (size_t i = 0; i < count; i++) {
		struct span *empty;

		mark_free(&pieces[i], function);
		empty = count_freed(list, pieces[i].span, pieces[i].count);
		if (unlikely(empty != NULL)) {
			empty->next = emptied;
			emptied = empty;
		}
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

static void return_chunk(unsigned class, void **objects, size_t count, const char *function)
{
	struct free_list *list = &free_lists[class];
	struct piece pieces[CHUNK];
	size_t gathered = gather(class, objects, count, pieces, function);
	struct span *emptied;

	lock_acquire(&list->lock);
	store_relaxed(&list->free, list->free + count);
	emptied = put(list, pieces, gathered, function);
	lock_release(&list->lock);
	destroy_all(emptied);
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

/*
 * The central free lists against a model of every object that is out: nothing handed out twice, the lowest object of a span first, the
 * fullest span first, empty spans leave, counts that add up; and wrong objects stop the process.
 */
#include "heap_test.h"

#include "central/central.h"

#define MAXIMUM_OUT 3000
#define MAXIMUM_SPANS 1024

/* Spans of more objects never stay when they are empty: what free_list.c promises. */
#define KEPT_OBJECTS 16

struct model_span {
	uintptr_t start;
	size_t used;
	uint64_t *used_objects;
};

struct model {
	unsigned class;
	size_t limit; /* of objects out */
	uint64_t random;
	void *out[MAXIMUM_OUT];
	size_t count;
	struct model_span spans[MAXIMUM_SPANS]; /* those with used objects */
	size_t span_count;
};

static const struct size_class *info_of(const struct model *model)
{
	return &size_classes[model->class];
}

static struct model_span *find_span(struct model *model, uintptr_t address)
{
	for (size_t i = 0; i < model->span_count; i++) {
		if (address - model->spans[i].start < info_of(model)->span_bytes)
			return &model->spans[i];
	}
	return NULL;
}

/* A span that the model has not seen: where it begins is known from the page map, and must not touch another one. */
static struct model_span *add_span(struct model *model, uintptr_t address)
{
	const struct span *span = page_span(page_of(address));
	struct model_span *added = &model->spans[model->span_count];

	REQUIRE(model->span_count < MAXIMUM_SPANS, "more spans than expected");
	REQUIRE(span != NULL && address - span->start < info_of(model)->span_bytes, "%p is in no span", (void *)address);
	REQUIRE(find_span(model, span->start) == NULL && find_span(model, span->start + info_of(model)->span_bytes - 1) == NULL,
		"two spans overlap at %p", (void *)address);
	model->span_count++;
	*added = (struct model_span){.start = span->start};
	added->used_objects = calloc(WORDS_FOR_BITS((size_t)info_of(model)->objects), sizeof(uint64_t));
	REQUIRE(added->used_objects != NULL, "calloc");
	return added;
}

static void remove_span(struct model *model, struct model_span *span)
{
	free(span->used_objects);
	*span = model->spans[--model->span_count];
}

/* Free objects of the fullest span that has any; all of a span's if there is none. */
static size_t least_free(const struct model *model)
{
	size_t least = info_of(model)->objects;

	for (size_t i = 0; i < model->span_count; i++) {
		size_t free = info_of(model)->objects - model->spans[i].used;

		if (free != 0)
			least = minimum(least, free);
	}
	return least;
}

/* Occupancy is kept in eighths: the span may be emptier than the fullest one by that much. */
static void require_fullest(const struct model *model, size_t free)
{
	size_t objects = info_of(model)->objects;

	REQUIRE(free <= least_free(model) + objects / 8 + 1, "a span with %zu free objects of %zu was taken from before one with %zu",
		free, objects, least_free(model));
}

/* The model follows one object that was handed out. `previous`: the one before it in the same call, or NULL. */
static void note_taken(struct model *model, void *object, void *previous)
{
	struct model_span *span = find_span(model, (uintptr_t)object);
	size_t objects = info_of(model)->objects;
	bool changed = previous == NULL || span == NULL || span != find_span(model, (uintptr_t)previous);
	size_t index;

	if (changed)
		require_fullest(model, span != NULL ? objects - span->used : objects);
	if (span == NULL)
		span = add_span(model, (uintptr_t)object);
	REQUIRE(page_class(page_of((uintptr_t)object)) == model->class, "%p is not on a page of its class", object);
	index = ((uintptr_t)object - span->start) / info_of(model)->size;
	REQUIRE(span->start + index * info_of(model)->size == (uintptr_t)object && index < objects, "%p is no object's start", object);
	REQUIRE(index == bits_next_clear(span->used_objects, 0, objects), "%p is out already, or not the lowest of its span", object);
	bit_set(span->used_objects, index);
	span->used++;
	model->out[model->count++] = object;
}

static void note_returned(struct model *model, void *object)
{
	struct model_span *span = find_span(model, (uintptr_t)object);

	bit_clear(span->used_objects, ((uintptr_t)object - span->start) / info_of(model)->size);
	if (--span->used == 0)
		remove_span(model, span);
}

static void check_counts(const struct model *model)
{
	size_t objects = info_of(model)->objects;
	struct class_statistics statistics;
	struct pageheap_statistics pages;
	size_t kept;

	central_read_statistics(model->class, &statistics);
	REQUIRE(statistics.spans >= model->span_count, "%zu spans, but %zu have used objects", statistics.spans, model->span_count);
	kept = statistics.spans - model->span_count;
	REQUIRE(kept <= 1 || objects <= KEPT_OBJECTS, "%zu empty spans of %zu objects have stayed", kept, objects);
	REQUIRE(statistics.objects == statistics.spans * objects, "%zu objects in %zu spans", statistics.objects, statistics.spans);
	REQUIRE(statistics.central_free == statistics.objects - model->count, "%zu free objects, %zu out, %zu in all",
		statistics.central_free, model->count, statistics.objects);
	REQUIRE(statistics.transfer_free == 0, "the transfer cache is not empty");
	pageheap_read_statistics(&pages);
	REQUIRE(pages.used == statistics.pages << PAGE_SHIFT, "%zu bytes of pages for %zu pages of spans", pages.used,
		statistics.pages);
}

static void take(struct model *model, size_t count)
{
	void *objects[MAXIMUM_OUT];
	struct class_statistics before;
	struct class_statistics after;
	size_t missing;

	central_read_statistics(model->class, &before);
	REQUIRE(central_take(model->class, objects + count, count) == count, "fewer objects than asked for");
	central_read_statistics(model->class, &after);
	missing = count > before.central_free ? count - before.central_free : 0;
	REQUIRE(after.spans == before.spans + (missing + info_of(model)->objects - 1) / info_of(model)->objects,
		"%zu spans became %zu for %zu objects that were missing", before.spans, after.spans, missing);
	for (size_t i = count; i-- > 0;)
		note_taken(model, objects[i], i + 1 < count ? objects[i + 1] : NULL);
}

static int by_address(const void *one, const void *other)
{
	uintptr_t first = *(const uintptr_t *)one;
	uintptr_t second = *(const uintptr_t *)other;

	return (first > second) - (first < second);
}

/* As programs free: at random, in the order of the addresses, in reverse, or every n-th one and then the others. */
static void put_in_order(struct model *model, void **objects, size_t count)
{
	size_t step = 1 + random_below(&model->random, 3);
	bool reversed = random_below(&model->random, 2) == 0;
	void *sorted[MAXIMUM_OUT];
	size_t put = 0;

	if (random_below(&model->random, 3) == 0)
		return;
	memcpy(sorted, objects, count * sizeof(*objects));
	qsort(sorted, count, sizeof(*sorted), by_address);
	for (size_t first = 0; first < step; first++) {
		for (size_t i = first; i < count; i += step, put++)
			objects[reversed ? count - 1 - put : put] = sorted[i];
	}
}

static void give(struct model *model, size_t count)
{
	void *objects[MAXIMUM_OUT];

	for (size_t i = 0; i < count; i++) {
		size_t at = random_below(&model->random, model->count);

		objects[i] = model->out[at];
		model->out[at] = model->out[--model->count];
		note_returned(model, objects[i]);
	}
	put_in_order(model, objects, count);
	central_return(model->class, objects, count, "test");
}

static void operate(struct model *model)
{
	size_t part = 1 + random_below(&model->random, maximum(model->limit / 8, 1));

	if (random_below(&model->random, 2) == 0)
		take(model, minimum(part, model->limit - model->count));
	else
		give(model, minimum(part, model->count));
}

static void check_class(unsigned class, uint64_t seed)
{
	static struct model model;

	model = (struct model){.class = class, .random = seed + class};
	model.limit = minimum(MAXIMUM_OUT, (size_t)24 * size_classes[class].objects);
	for (int i = 0; i < (SANITIZED ? 200 : 600); i++) {
		/* Now and then everything goes. */
		if (random_below(&model.random, 100) == 0)
			give(&model, model.count);
		operate(&model);
		check_counts(&model);
		if (i % 16 == 0)
			REQUIRE_VALID(central_validate);
	}
	give(&model, model.count);
	check_counts(&model);
	central_give_back_empty(true);
	check_counts(&model);
	REQUIRE_VALID(central_validate);
	REQUIRE(model.span_count == 0, "the model still has spans");
}

static size_t spans_of(unsigned class)
{
	struct class_statistics statistics;

	central_read_statistics(class, &statistics);
	return statistics.spans;
}

static void test_random_operations(void **state)
{
	uint64_t seed = seed_of_run("test_random_operations");

	(void)state;
	for (unsigned class = 1; class < CLASS_COUNT; class++) {
		check_class(class, seed);
		assert_int_equal(spans_of(class), 0);
	}
	REQUIRE_VALID(pageheap_validate);
}

/* A class whose spans have enough objects to be told apart by occupancy; 0 if there is none. */
static unsigned class_of_many(void)
{
	unsigned class = class_near(64);

	while (class < CLASS_COUNT && size_classes[class].objects < 8)
		class++;
	return class < CLASS_COUNT ? class : 0;
}

/* A sparse span is left alone as long as a fuller one has something, and so drains and goes. */
static void test_sparse_span_drains(void **state)
{
	unsigned class = class_of_many();
	size_t objects = size_classes[class].objects;
	void **out = calloc(2 * objects + 1, sizeof(void *));
	void **sparse = out + objects;

	(void)state;
	if (class == 0) {
		free(out);
		not_tested("a sparse span drains", "no class of this profile has 8 objects in a span");
		return;
	}
	/* The one filled first is emptied to one object, the other loses two. */
	assert_int_equal(central_take(class, out + objects, objects), objects);
	assert_int_equal(central_take(class, out + 2 * objects, objects), objects);
	assert_int_equal(spans_of(class), 2);
	central_return(class, out, 2, "test");
	central_return(class, sparse, objects - 1, "test");
	assert_int_equal(central_take(class, out + 2, 2), 2);
	assert_ptr_equal(page_span(page_of((uintptr_t)out[0])), page_span(page_of((uintptr_t)out[2])));
	assert_ptr_equal(page_span(page_of((uintptr_t)out[1])), page_span(page_of((uintptr_t)out[2])));
	central_return(class, &sparse[objects - 1], 1, "test");
	/* Empty, and kept as the one of its class; the next one goes, unless it has few objects. */
	assert_int_equal(spans_of(class), 2);
	central_return(class, out, objects, "test");
	assert_int_equal(spans_of(class), objects > KEPT_OBJECTS ? 1 : 2);
	central_give_back_empty(true);
	assert_int_equal(spans_of(class), 0);
	free(out);
}

/* Large ones: those of few objects stay when they are empty, until they are asked for. */
static void test_kept_spans_are_used_again_and_given_back(void **state)
{
	unsigned class = class_near(LARGEST_CLASS_SIZE);
	void *first;
	void *second;

	(void)state;
	assert_true(size_classes[class].objects <= KEPT_OBJECTS);
	assert_int_equal(central_take(class, &first + 1, 1), 1);
	central_return(class, &first, 1, "test");
	assert_int_equal(spans_of(class), 1);
	assert_int_equal(central_take(class, &second + 1, 1), 1);
	assert_ptr_equal(first, second);
	assert_int_equal(spans_of(class), 1);
	central_return(class, &second, 1, "test");
	central_give_back_empty(true);
	assert_int_equal(spans_of(class), 0);
	REQUIRE_VALID(central_validate);
}

#define SINGLES 500

static void test_take_one_knows_what_is_zero(void **state)
{
	uint64_t random = seed_of_run("test_take_one_knows_what_is_zero");
	unsigned class = class_near(128);
	size_t size = size_classes[class].size;
	void *out[SINGLES];
	size_t count = 0;
	size_t zeroed_count = 0;

	(void)state;
	pageheap_release(0);
	for (int i = 0; i < 20 * SINGLES; i++) {
		bool zeroed;

		if (count == SINGLES || (count != 0 && random_below(&random, 5) < 2)) {
			size_t at = random_below(&random, count);

			central_return(class, &out[at], 1, "test");
			out[at] = out[--count];
			continue;
		}
		out[count] = central_take_one(class, &zeroed);
		assert_non_null(out[count]);
		if (zeroed) {
			require_zero(out[count], size);
			zeroed_count++;
		}
		memset(out[count++], 0xa5, size);
	}
	assert_true(zeroed_count != 0);
	central_return(class, out, count, "test");
	central_give_back_empty(true);
	assert_int_equal(spans_of(class), 0);
}

#define THREADS 4
#define HELD 200

static unsigned shared_class(void)
{
	return class_near(48);
}

/* Takes and gives back, and finds its own mark in everything it holds. */
static void *take_and_return(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	uint64_t mark = random;
	uint64_t *out[HELD];
	size_t count = 0;
	unsigned class = shared_class();

	for (int i = 0; i < (SANITIZED ? 2000 : 20000); i++) {
		size_t part = 1 + random_below(&random, 40);

		if (count + part <= HELD) {
			REQUIRE(central_take(class, (void **)out + count + part, part) == part, "out of memory");
			for (size_t j = 0; j < part; j++)
				*out[count++] = mark;
			continue;
		}
		for (size_t j = 0; j < part; j++)
			REQUIRE(*out[count - 1 - j] == mark, "%p was handed out twice", (void *)out[count - 1 - j]);
		count -= part;
		central_return(class, (void **)out + count, part, "test");
	}
	central_return(class, (void **)out, count, "test");
	return NULL;
}

static void test_threads(void **state)
{
	uint64_t seed = seed_of_run("test_threads");
	uint64_t seeds[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		seeds[i] = seed + (uint64_t)i;
		threads[i] = thread_start(take_and_return, &seeds[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	central_give_back_empty(true);
	assert_int_equal(spans_of(shared_class()), 0);
	REQUIRE_VALID(central_validate);
	REQUIRE_VALID(pageheap_validate);
}

/* What a child gives back wrongly. */
struct wrong_return {
	unsigned class;
	void *objects[4];
	size_t count;
};

static void return_wrongly(const void *context)
{
	struct wrong_return wrong = *(const struct wrong_return *)context;

	central_return(wrong.class, wrong.objects, wrong.count, "test");
}

static void expect_wrong_return(struct wrong_return wrong, const void *named, const char *format, ...)
{
	char what[160];
	char line[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	expect_stop(return_wrongly, &wrong, stop_line(line, sizeof(line), "test", named, what));
}

static bool has_tail(unsigned class)
{
	return (size_t)size_classes[class].objects * size_classes[class].size != size_classes[class].span_bytes;
}

/* One of 48 bytes, or else the smallest whose spans have a tail behind the last object; or any, if no class's have. */
static unsigned class_with_tail(void)
{
	unsigned class = class_near(48);

	if (has_tail(class))
		return class;
	for (unsigned other = 1; other < CLASS_COUNT; other++) {
		if (has_tail(other))
			return other;
	}
	return class;
}

/* Not at an object's start: inside of one, and behind a span's last one. */
static void check_pointers_inside(unsigned class, char *object)
{
	unsigned size = size_classes[class].size;
	char *behind = (char *)page_span(page_of((uintptr_t)object))->start + (size_t)size_classes[class].objects * size;

	expect_wrong_return((struct wrong_return){class, {object + 8}, 1}, object + 8,
			    "pointer is inside an object, not at its start; size class %u", size);
	if (has_tail(class))
		expect_wrong_return((struct wrong_return){class, {behind}, 1}, behind,
				    "pointer is inside an object, not at its start; size class %u", size);
	else
		not_tested("a pointer behind a span's last object", "no span of this profile has a tail");
}

/* Of another class, of none, and not the heap's. */
static void check_objects_of_others(unsigned class, char *object)
{
	const struct large_request request = {.pages = 200, .alignment = 1};
	struct span *large = span_create_large(&request);
	unsigned other = class + 1 < CLASS_COUNT ? class + 1 : class - 1;
	unsigned size = size_classes[class].size;
	char *foreign = (char *)&large;

	if (other != 0)
		expect_wrong_return((struct wrong_return){other, {object}, 1}, object,
				    "size %u of a sized free does not fit the object's size; size class %u", size_classes[other].size, size);
	else
		not_tested("an object of another class", "this profile has one class");
	expect_wrong_return((struct wrong_return){class, {(void *)large->start}, 1}, (void *)large->start,
			    "size %u of a sized free does not fit the object's size; size class large (%zu bytes)", size,
			    span_bytes(large));
	expect_wrong_return((struct wrong_return){class, {foreign}, 1}, foreign,
			    "object is already free (double free), or a sized free of what was never allocated; size class %u", size);
	span_destroy(large);
}

/* Among neighbours, which are looked up together: the wrong one is named, in whichever direction they follow each other. */
static void test_wrong_neighbours_stop_the_process(void **state)
{
	unsigned class = class_with_tail();
	unsigned size = size_classes[class].size;
	size_t objects = size_classes[class].objects;
	void **all;
	char *last;
	char *at;

	(void)state;
	if (objects < 5) {
		not_tested("wrong neighbours", "this profile's spans have few objects");
		return;
	}
	/* The whole of a new span; downward from the end. */
	all = calloc(objects, sizeof(*all));
	assert_non_null(all);
	central_give_back_empty(true);
	assert_int_equal(spans_of(class), 0);
	assert_int_equal(central_take(class, all + objects, objects), objects);
	last = all[0];
	at = last - (size_t)3 * size;
	expect_wrong_return((struct wrong_return){class, {at, at + size, at + 2 * size, at + size}, 4}, at + size,
			    "object is already free (double free); size class %u", size);
	expect_wrong_return((struct wrong_return){class, {at + 2 * size, at + size, at, at + size}, 4}, at + size,
			    "object is already free (double free); size class %u", size);
	expect_wrong_return((struct wrong_return){class, {at, at + size, at + size + 8, at + 2 * size}, 4}, at + size + 8,
			    "pointer is inside an object, not at its start; size class %u", size);
	if (has_tail(class))
		expect_wrong_return((struct wrong_return){class, {last - size, last, last + size}, 3}, last + size,
				    "pointer is inside an object, not at its start; size class %u", size);
	else
		not_tested("a neighbour behind a span's last object", "no span of this profile has a tail");
	central_return(class, (void **)&(char *){at + size}, 1, "test");
	expect_wrong_return((struct wrong_return){class, {at, at + size, at + 2 * size}, 3}, at + size,
			    "object is already free (double free); size class %u", size);
	expect_wrong_return((struct wrong_return){class, {at + 2 * size, at + size, at}, 3}, at + size,
			    "object is already free (double free); size class %u", size);
	for (size_t i = 0; i < objects; i++) {
		if (all[i] != at + size)
			central_return(class, &all[i], 1, "test");
	}
	free(all);
	central_give_back_empty(true);
	REQUIRE_VALID(central_validate);
}

/* Among objects of several spans in turn, which are looked up one by one. */
static void test_wrong_scattered_objects_stop_the_process(void **state)
{
	unsigned class = class_with_tail();
	unsigned size = size_classes[class].size;
	size_t objects = size_classes[class].objects;
	void **all;
	char *one, *other;

	(void)state;
	if (objects < 2) {
		not_tested("wrong objects among those of several spans", "this profile's spans have one object");
		return;
	}
	all = calloc(2 * objects, sizeof(*all));
	assert_non_null(all);
	central_give_back_empty(true);
	assert_int_equal(central_take(class, all + 2 * objects, 2 * objects), 2 * objects);
	/* The upper one last, so that they are not close together. */
	one = (char *)page_span(page_of((uintptr_t)all[2 * objects - 1]))->start;
	other = (char *)page_span(page_of((uintptr_t)all[0]))->start;
	assert_true(one + size_classes[class].span_bytes <= other);
	expect_wrong_return((struct wrong_return){class, {one, other, one, other + size}, 4}, one,
			    "object is already free (double free); size class %u", size);
	expect_wrong_return((struct wrong_return){class, {one, other, one + size + 8, other + size}, 4}, one + size + 8,
			    "pointer is inside an object, not at its start; size class %u", size);
	expect_wrong_return((struct wrong_return){class, {one, &all, one + size, other}, 4}, &all,
			    "object is already free (double free), or a sized free of what was never allocated; size class %u",
			    size);
	if (has_tail(class))
		expect_wrong_return((struct wrong_return){class, {one, other, one + objects * size, other + size}, 4},
				    one + objects * size, "pointer is inside an object, not at its start; size class %u", size);
	central_return(class, (void **)&(char *){one + size}, 1, "test");
	expect_wrong_return((struct wrong_return){class, {one, other, one + size, other + size}, 4}, one + size,
			    "object is already free (double free); size class %u", size);
	for (size_t i = 0; i < 2 * objects; i++) {
		if (all[i] != one + size)
			central_return(class, &all[i], 1, "test");
	}
	free(all);
	central_give_back_empty(true);
	REQUIRE_VALID(central_validate);
}

static void test_wrong_objects_stop_the_process(void **state)
{
	unsigned class = class_with_tail();
	unsigned size = size_classes[class].size;
	char *pair[2];

	(void)state;
	assert_int_equal(central_take(class, (void **)pair + 2, 2), 2);
	check_pointers_inside(class, pair[0]);
	check_objects_of_others(class, pair[0]);
	expect_wrong_return((struct wrong_return){class, {pair[0], pair[0]}, 2}, pair[0],
			    "object is already free (double free); size class %u", size);
	central_return(class, (void **)pair, 1, "test");
	expect_wrong_return((struct wrong_return){class, {pair[0]}, 1}, pair[0],
			    "object is already free (double free); size class %u", size);
	central_return(class, (void **)pair + 1, 1, "test");
	expect_wrong_return((struct wrong_return){class, {pair[1]}, 1}, pair[1],
			    "object is already free (double free); size class %u", size);
	/* With the span gone, too. */
	central_give_back_empty(true);
	expect_wrong_return((struct wrong_return){class, {pair[1]}, 1}, pair[1],
			    "object is already free (double free), or a sized free of what was never allocated; size class %u", size);
	REQUIRE_VALID(central_validate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_sparse_span_drains),
		cmocka_unit_test(test_kept_spans_are_used_again_and_given_back),
		cmocka_unit_test(test_take_one_knows_what_is_zero),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_wrong_objects_stop_the_process),
		cmocka_unit_test(test_wrong_neighbours_stop_the_process),
		cmocka_unit_test(test_wrong_scattered_objects_stop_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

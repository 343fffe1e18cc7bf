/*
 * The filler by itself, on hugepage records of the test's own: what it finds, against a search through all of
 * them. Relies on pageheap/hugepage.h and base/bits; the page heap is not used.
 */
#include "support.h"

#include "pageheap/hugepage.h"

/* Few enough that looking for an alignment goes through all of a list. */
#define RECORDS        16
#define FULLNESS_STEPS 8

static uint64_t state;
static struct hugepage records[RECORDS];
static bool listed[RECORDS];

static size_t longest(const struct hugepage *hugepage)
{
	return bits_longest_clear(hugepage->used, HUGEPAGE_PAGES);
}

static size_t fullness(const struct hugepage *hugepage)
{
	return hugepage->used_count * FULLNESS_STEPS / (HUGEPAGE_PAGES + 1);
}

static void take_out(size_t number)
{
	filler_remove(number);
	listed[number] = false;
	assert_int_equal(records[number].list, 0);
}

/* Whole runs are used and free, as in a heap; now and then all or none of it. */
static void change(size_t number)
{
	struct hugepage *hugepage = &records[number];
	size_t density = random_below(&state, 5);

	memset(hugepage, 0, sizeof(*hugepage));
	hugepage->state = HUGEPAGE_MAPPED;
	hugepage->kind = (uint8_t)random_below(&state, PAGE_KINDS);
	for (size_t at = 0; at < HUGEPAGE_PAGES;) {
		size_t run = minimum(1 + random_below(&state, 40), HUGEPAGE_PAGES - at);

		if (random_below(&state, 4) < density)
			bits_set_range(hugepage->used, at, run);
		else if (random_below(&state, 2) != 0)
			bits_set_range(hugepage->released, at, run);
		at += run;
	}
	hugepage->used_count = (uint16_t)bits_count_range(hugepage->used, 0, HUGEPAGE_PAGES);
	hugepage->released_count = (uint16_t)bits_count_range(hugepage->released, 0, HUGEPAGE_PAGES);
	hugepage->longest = (uint16_t)longest(hugepage);
}

static void put_in(size_t number)
{
	bool partly = records[number].used_count != 0 && records[number].used_count != HUGEPAGE_PAGES;

	filler_insert(number);
	listed[number] = partly;
	assert_int_equal(records[number].list != 0, partly);
}

/*
 * The list that a record belongs into, as the filler promises: shorter ranges first, of these the fuller
 * ones.
 */
static bool better(const struct hugepage *a, const struct hugepage *b)
{
	if (longest(a) != longest(b))
		return longest(a) < longest(b);
	return fullness(a) > fullness(b);
}

static bool fits(const struct hugepage *hugepage, enum page_kind kind, size_t pages, size_t alignment)
{
	return hugepage->kind == kind &&
	       bits_tightest_clear(hugepage->used, HUGEPAGE_PAGES, pages, alignment) != HUGEPAGE_PAGES;
}

/* The range that has to be found in this record: the tightest, and for small objects of backed pages if there is such a one. */
static size_t expected_range(const struct hugepage *hugepage, size_t pages, size_t alignment)
{
	uint64_t taken[HUGEPAGE_WORDS];
	size_t backed;

	for (size_t word = 0; word < HUGEPAGE_WORDS; word++)
		taken[word] = hugepage->used[word] | hugepage->released[word];
	backed = bits_tightest_clear(taken, HUGEPAGE_PAGES, pages, alignment);
	if (hugepage->kind == PAGES_MANY_OBJECTS && backed != HUGEPAGE_PAGES)
		return backed;
	return bits_tightest_clear(hugepage->used, HUGEPAGE_PAGES, pages, alignment);
}

static void check_find(enum page_kind kind, size_t pages, size_t alignment)
{
	size_t first = 12345;
	size_t found = filler_find(kind, pages, alignment, &first);

	for (size_t number = 0; number < RECORDS; number++) {
		if (!listed[number] || !fits(&records[number], kind, pages, alignment))
			continue;
		assert_int_not_equal(found, NO_HUGEPAGE);
		assert_false(better(&records[number], &records[found]));
	}
	if (found == NO_HUGEPAGE)
		return;
	assert_true(found < RECORDS && listed[found]);
	assert_int_equal(records[found].kind, kind);
	assert_int_equal(first % alignment, 0);
	assert_int_equal(first, expected_range(&records[found], pages, alignment));
	assert_int_equal(bits_count_range(records[found].used, first, pages), 0);
}

/*
 * Of each kind the record that is found for release is the one with the longest range of those with backed
 * free pages.
 */
static void check_emptiest(void)
{
	size_t found = filler_emptiest_backed();

	for (size_t number = 0; number < RECORDS; number++) {
		if (!listed[number] || hugepage_backed_free(&records[number]) == 0)
			continue;
		assert_int_not_equal(found, NO_HUGEPAGE);
		if (records[number].kind == records[found].kind)
			assert_true(longest(&records[number]) <= longest(&records[found]));
	}
	if (found != NO_HUGEPAGE) {
		assert_true(listed[found]);
		assert_int_not_equal(hugepage_backed_free(&records[found]), 0);
	}
}

static void random_records(void **unused)
{
	(void)unused;
	for (int step = 0; step < 8000; step++) {
		size_t number = random_below(&state, RECORDS);

		take_out(number);
		change(number);
		if (random_below(&state, 8) != 0)
			put_in(number);
		check_find((enum page_kind)random_below(&state, PAGE_KINDS), 1 + random_below(&state, 60), 1);
		check_find((enum page_kind)random_below(&state, PAGE_KINDS),
			   1 + random_below(&state, HUGEPAGE_PAGES - 1), (size_t)1 << random_below(&state, 9));
		check_emptiest();
	}
	for (size_t number = 0; number < RECORDS; number++)
		take_out(number);
	assert_int_equal(filler_emptiest_backed(), NO_HUGEPAGE);
	check_find(PAGES_MANY_OBJECTS, 1, 1);
	check_find(PAGES_FEW_OBJECTS, 1, 1);
}

/* A record with these pages used, beginning with the first. */
static void use_first(size_t number, enum page_kind kind, size_t pages)
{
	records[number] = (struct hugepage){.state = HUGEPAGE_MAPPED,
					    .kind = (uint8_t)kind,
					    .used_count = (uint16_t)pages,
					    .longest = (uint16_t)(HUGEPAGE_PAGES - pages)};
	bits_set_range(records[number].used, 0, pages);
	put_in(number);
}

static void tightest_first(void **unused)
{
	size_t first;

	(void)unused;
	use_first(0, PAGES_MANY_OBJECTS, HUGEPAGE_PAGES - 20);
	use_first(1, PAGES_MANY_OBJECTS, HUGEPAGE_PAGES - 5);
	use_first(2, PAGES_MANY_OBJECTS, HUGEPAGE_PAGES - 10);
	use_first(3, PAGES_FEW_OBJECTS, HUGEPAGE_PAGES - 6);
	assert_int_equal(filler_find(PAGES_MANY_OBJECTS, 5, 1, &first), 1);
	assert_int_equal(first, HUGEPAGE_PAGES - 5);
	assert_int_equal(filler_find(PAGES_MANY_OBJECTS, 6, 1, &first), 2);
	assert_int_equal(filler_find(PAGES_MANY_OBJECTS, 11, 1, &first), 0);
	assert_int_equal(filler_find(PAGES_MANY_OBJECTS, 21, 1, &first), NO_HUGEPAGE);
	assert_int_equal(filler_find(PAGES_FEW_OBJECTS, 1, 1, &first), 3);
	assert_int_equal(filler_find(PAGES_FEW_OBJECTS, 7, 1, &first), NO_HUGEPAGE);
	/*
	 * The tightest has no page at a multiple of 16 (its last 5 are not); the next one has none either,
	 * the one of 20 does.
	 */
	assert_int_equal(filler_find(PAGES_MANY_OBJECTS, 4, 16, &first), 0);
	assert_int_equal(first, HUGEPAGE_PAGES - 16);
	assert_int_equal(filler_emptiest_backed(), 0);
	for (size_t number = 0; number < 4; number++)
		take_out(number);
}

/* Equal ranges: the fuller hugepage is filled up first. */
static void fullest_first(void **unused)
{
	size_t first;

	(void)unused;
	use_first(0, PAGES_FEW_OBJECTS, HUGEPAGE_PAGES - 8);
	use_first(1, PAGES_FEW_OBJECTS, HUGEPAGE_PAGES - 8);
	filler_remove(1);
	/* As long a range, but many single free pages. */
	for (size_t at = 0; at < HUGEPAGE_PAGES - 8; at += 2)
		bit_clear(records[1].used, at);
	records[1].used_count = (uint16_t)bits_count_range(records[1].used, 0, HUGEPAGE_PAGES);
	for (int order = 0; order < 2; order++) {
		filler_remove(0);
		filler_remove(1);
		filler_insert((size_t)order);
		filler_insert((size_t)(1 - order));
		assert_int_equal(longest(&records[0]), longest(&records[1]));
		assert_int_equal(filler_find(PAGES_FEW_OBJECTS, 8, 1, &first), 0);
	}
	take_out(0);
	take_out(1);
}

/* Of hugepages in one list those with backed free pages come first, whatever happens to them there. */
static void backed_first(void **unused)
{
	size_t first;

	(void)unused;
	for (size_t number = 0; number < 3; number++)
		use_first(number, PAGES_FEW_OBJECTS, HUGEPAGE_PAGES - 8);
	for (size_t backed = 0; backed < 3; backed++) {
		for (size_t number = 0; number < 3; number++) {
			records[number].released_count = number == backed ? 0 : 8;
			filler_update(number);
		}
		assert_int_equal(filler_find(PAGES_FEW_OBJECTS, 8, 1, &first), backed);
		assert_int_equal(filler_emptiest_backed(), backed);
		/* Until something happens to it. */
		filler_pass_over(backed);
		assert_int_equal(filler_emptiest_backed(), NO_HUGEPAGE);
		assert_int_not_equal(filler_find(PAGES_FEW_OBJECTS, 8, 1, &first), NO_HUGEPAGE);
		filler_update(backed);
		assert_int_equal(filler_emptiest_backed(), backed);
		records[backed].released_count = 8;
		filler_update(backed);
		assert_int_equal(filler_emptiest_backed(), NO_HUGEPAGE);
	}
	for (size_t number = 0; number < 3; number++)
		take_out(number);
	/* One that is in no list stays out. */
	filler_update(0);
	assert_int_equal(filler_find(PAGES_FEW_OBJECTS, 1, 1, &first), NO_HUGEPAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_records),
		cmocka_unit_test(tightest_first),
		cmocka_unit_test(fullest_first),
		cmocka_unit_test(backed_first),
	};

	state = seed_of_run("filler");
	hugepage_records = records;
	return cmocka_run_group_tests_name("filler", tests, NULL, NULL);
}

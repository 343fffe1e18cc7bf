/*
 * Somebody else's mappings where the heap would go next: it goes round them and never touches them.
 * Relies on pageheap_model.h, and on the window's addresses being nobody's until they are used.
 */
#include "support.h"

#include "pageheap_model.h"

#define FOREIGN_BYTES maximum(8192, os_page_size())

struct foreign {
	uintptr_t address;
	unsigned char fill;
};

/* A small mapping in a hugepage of the window, at an offset in it. */
static struct foreign put(size_t hugepage, size_t offset)
{
	struct foreign foreign = {page_address(hugepage * HUGEPAGE_PAGES) + offset, (unsigned char)(0x11 + hugepage)};
	void *mapped = mmap((void *)foreign.address, FOREIGN_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_int_equal((uintptr_t)mapped, foreign.address);
	memset(mapped, foreign.fill, FOREIGN_BYTES);
	return foreign;
}

static void assert_untouched(const struct foreign *foreign)
{
	for (size_t at = 0; at < FOREIGN_BYTES; at++)
		assert_int_equal(((unsigned char *)foreign->address)[at], foreign->fill);
}

static void assert_beside(const struct run *run, const struct foreign *foreign)
{
	assert_true(run->address + (run->pages << PAGE_SHIFT) <= foreign->address ||
		    run->address >= foreign->address + FOREIGN_BYTES);
}

static void take(struct run *run, size_t pages, bool growing)
{
	const struct page_request request = {
		.pages = pages, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = growing};

	assert_true(model_allocate(run, &request));
	model_check_all();
}

/* So that the next hugepage is new. */
static void use_up_free(void)
{
	model_use_up_free(&model.runs[100]);
	assert_int_equal(heap_statistics().whole_free_hugepages, 0);
}

/* A reservation of somebody's, larger than the heap so far. */
static void large_reservation(void **unused)
{
	const size_t bytes = 300 * HUGEPAGE_SIZE;
	struct run *run = &model.runs[0];
	void *reserved;

	(void)unused;
	use_up_free();
	reserved = mmap((void *)page_address(heap.top * HUGEPAGE_PAGES), bytes, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	assert_int_equal((uintptr_t)reserved, page_address(heap.top * HUGEPAGE_PAGES));
	take(&run[0], 5, false);
	assert_int_equal(run[0].address, (uintptr_t)reserved + bytes);
	model_free_all();
	munmap(reserved, bytes);
}

/* At the begin, in the midst and at the end of the very next hugepages. */
static void next_hugepages(void **unused)
{
	struct run *run = &model.runs[0];
	struct foreign foreign[3];
	size_t top;

	(void)unused;
	use_up_free();
	top = heap.top;
	foreign[0] = put(top, 0);
	foreign[1] = put(top + 1, HUGEPAGE_SIZE / 2);
	foreign[2] = put(top + 3, HUGEPAGE_SIZE - FOREIGN_BYTES);
	take(&run[0], 5, false);
	assert_int_equal(page_of(run[0].address) / HUGEPAGE_PAGES, top + 2);
	take(&run[1], HUGEPAGE_PAGES, false);
	assert_int_equal(page_of(run[1].address) / HUGEPAGE_PAGES, top + 4);
	for (int i = 0; i < 3; i++) {
		assert_untouched(&foreign[i]);
		assert_int_equal(hugepage_records[page_of(foreign[i].address) / HUGEPAGE_PAGES].state,
				 HUGEPAGE_FOREIGN);
	}
	model_free(&run[0]);
	model_free(&run[1]);
	pageheap_release(0);
	for (int i = 0; i < 3; i++)
		assert_untouched(&foreign[i]);
	model_check_all();
}

/*
 * In the midst of what a large run would take: it lies above, and what is left free below serves smaller
 * ones.
 */
static void in_large_run(void **unused)
{
	struct run *run = &model.runs[0];
	struct foreign foreign;
	size_t top;

	(void)unused;
	use_up_free();
	top = heap.top;
	foreign = put(top + 5, 7 * os_page_size());
	take(&run[0], 9 * HUGEPAGE_PAGES, false);
	assert_int_equal(page_of(run[0].address) / HUGEPAGE_PAGES, top + 6);
	take(&run[1], 5 * HUGEPAGE_PAGES, false);
	assert_int_equal(page_of(run[1].address) / HUGEPAGE_PAGES, top);
	assert_untouched(&foreign);
	model_free(&run[0]);
	model_free(&run[1]);
}

static void growth_is_stopped(void **unused)
{
	struct run *run = &model.runs[0];
	struct foreign foreign;
	size_t pages;

	(void)unused;
	use_up_free();
	take(run, HUGEPAGE_PAGES, true);
	foreign = put(heap.top + 1, 0);
	pages = (foreign.address - run->address) >> PAGE_SHIFT;
	assert_false(model_grow(run, pages + 1));
	assert_false(model_grow(run, pages + 20 * HUGEPAGE_PAGES));
	model_check_all();
	assert_true(model_grow(run, pages));
	assert_false(model_grow(run, pages + 1));
	assert_untouched(&foreign);
	if (pages_are_moved()) {
		assert_true(model_move(run, pages + 1));
		assert_beside(run, &foreign);
	}
	assert_untouched(&foreign);
	model_free(run);
	model_check_all();
}

/* Each second hugepage is somebody's: nothing larger fits between, and goes above all of them. */
static void many_in_a_row(void **unused)
{
	struct foreign foreign[40];
	struct run *run = &model.runs[0];
	size_t top;

	(void)unused;
	use_up_free();
	top = heap.top;
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		foreign[i] = put(top + 2 * i + 1, i * os_page_size() % (HUGEPAGE_SIZE - FOREIGN_BYTES));
	take(&run[0], 2 * HUGEPAGE_PAGES, false);
	assert_true(page_of(run[0].address) / HUGEPAGE_PAGES >= top + 2 * COUNT_OF(foreign));
	/* Those between serve. */
	for (size_t i = 1; i <= COUNT_OF(foreign); i++) {
		take(&run[i], HUGEPAGE_PAGES, false);
		assert_true(page_of(run[i].address) / HUGEPAGE_PAGES < top + 2 * COUNT_OF(foreign));
	}
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		assert_untouched(&foreign[i]);
	model_free_all();
	pageheap_release(0);
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		assert_untouched(&foreign[i]);
}

/* Of a run far larger than what is in its way, all the same. */
static void far_larger_run(void **unused)
{
	struct foreign foreign[3];
	struct run *run = &model.runs[0];

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(foreign); i++)
		foreign[i] = put(heap.top + 17 * i + 3, 0);
	take(run, 30 * HUGEPAGE_PAGES, true);
	for (size_t i = 0; i < COUNT_OF(foreign); i++) {
		assert_beside(run, &foreign[i]);
		assert_untouched(&foreign[i]);
	}
	model_free(run);
	model_check_all();
}

/* Addresses that the heap has given back, and that somebody has taken since. */
static void given_back_and_taken(void **unused)
{
	struct run *run = &model.runs[0];
	struct foreign foreign;
	size_t number;

	(void)unused;
	use_up_free();
	take(run, 4 * HUGEPAGE_PAGES, false);
	number = page_of(run->address) / HUGEPAGE_PAGES;
	model_free(run);
	assert_true(make_addresses_scarce(true));
	pageheap_release(0);
	assert_true(make_addresses_scarce(false));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(hugepage_records[number + i].state, HUGEPAGE_UNMAPPED);
	foreign = put(number + 2, os_page_size());
	take(run, 4 * HUGEPAGE_PAGES, false);
	assert_beside(run, &foreign);
	assert_untouched(&foreign);
	model_free(run);
	model_free_all();
	assert_untouched(&foreign);
}

/*
 * In the way of the flat arrays: nothing is lost, what they cover already serves, and without it all is well
 * again.
 */
static void in_the_class_map(void **unused)
{
	struct pageheap_statistics before = heap_statistics();
	struct page_request request = {.pages = 1, .alignment = 1, .kind = PAGES_FEW_OBJECTS, .growing = true};
	struct page_run run;
	uintptr_t border;
	void *foreign;

	(void)unused;
	/* The first entry of the class map that is not mapped. */
	border = (uintptr_t)page_class_offset(heap.top * HUGEPAGE_PAGES) & ~(os_page_size() - 1);
	while (resident_pages(border, 1) != SIZE_MAX)
		border += os_page_size();
	foreign = mmap((void *)border, os_page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       0);
	assert_int_equal((uintptr_t)foreign, border);
	/* Reaches beyond what is covered; not touched, so that it costs nothing. */
	request.pages = ((border - (uintptr_t)page_class_offset(0)) / sizeof(uint16_t)) + 1;
	assert_false(pageheap_allocate(&request, &run));
	assert_int_equal(heap_statistics().mapped, before.mapped);
	assert_int_equal(heap_statistics().map_bytes, before.map_bytes);
	assert_int_equal(resident_pages(page_address(heap.top * HUGEPAGE_PAGES), os_page_size()), SIZE_MAX);
	model_check_all();
	take(&model.runs[0], 20, false);
	model_free_all();
	munmap(foreign, os_page_size());
	assert_true(pageheap_allocate(&request, &run));
	assert_true(heap_statistics().map_bytes > before.map_bytes);
	pageheap_free(run.address, request.pages);
	model_check_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_hugepages),       cmocka_unit_test(large_reservation),
		cmocka_unit_test(in_large_run),         cmocka_unit_test(growth_is_stopped),
		cmocka_unit_test(many_in_a_row),        cmocka_unit_test(far_larger_run),
		cmocka_unit_test(given_back_and_taken), cmocka_unit_test(in_the_class_map),
	};

	return cmocka_run_group_tests_name("pageheap foreign", tests, NULL, NULL);
}

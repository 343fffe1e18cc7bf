/*
 * Out of memory by injection: a workload that uses every kind of allocation runs again and again, each time in a child with a fresh heap,
 * with one call to the system failing, or all from one on, or all of one kind. Each failure has to be a clean NULL with ENOMEM
 * that leaves the heap in order and all blocks with their contents; afterwards normal work goes on, and nothing is lost.
 *
 * The tests themselves allocate nothing from the heap, so that each child begins with an empty one.
 */
#include "heap_test.h"

#include "address_limit.h"
#include "base/os.h"
#include "pageheap/pageheap.h"

#define BLOCKS 400

/* Powers of two from 16 on. */
#define SMALL_SIZES 12

static struct {
	size_t calls;	/* so far */
	size_t first;	/* the first one to fail, from 1 on */
	size_t last;
	int kind;	/* enum os_call, or ANY_KIND */
	bool scarce;	/* address space is: whole hugepages are unmapped then */
	size_t hard;	/* bytes that the workload is limited to; 0: it is not */
	size_t failed;
} fault;

#define ANY_KIND (-1)

static bool inject(enum os_call call)
{
	bool fails;

	if (fault.kind != ANY_KIND && fault.kind != (int)call)
		return false;
	fault.calls++;
	fails = fault.calls >= fault.first && fault.calls <= fault.last;
	fault.failed += fails;
	return fails;
}

struct workload {
	uint64_t random;
	struct block blocks[BLOCKS];
	size_t refused;
};

/* Every failed call ends here. */
static void note_refused(struct workload *workload, int error)
{
	REQUIRE(error == ENOMEM, "a failed allocation has set errno to %d", error);
	REQUIRE_VALID(heap_validate);
	workload->refused++;
}

static void *allocate_somehow(struct workload *workload, size_t size)
{
	void *start = NULL;
	int error = 0;

	errno = 0;
	switch (random_below(&workload->random, 4)) {
	case 0:
		start = tm_calloc(1, size);
		if (start != NULL)
			require_zero(start, size);
		break;
	case 1:
		error = tm_posix_memalign(&start, (size_t)1 << (4 + random_below(&workload->random, 18)), size);
		REQUIRE((error == 0) == (start != NULL), "posix_memalign has returned %d and set %p", error, start);
		errno = error;
		break;
	default:
		start = tm_malloc(size);
	}
	if (start == NULL)
		note_refused(workload, errno);
	return start;
}

static size_t random_size(struct workload *workload)
{
	size_t kind = random_below(&workload->random, 50);

	if (kind < 3)
		return 1 + random_below(&workload->random, 5 * MIB);
	if (kind < 8)
		return 1 + random_below(&workload->random, 300 * KIB);
	return 1 + random_below(&workload->random, (size_t)16 << random_below(&workload->random, SMALL_SIZES));
}

static void create(struct workload *workload, struct block *block)
{
	size_t size = random_size(workload);

	block->start = allocate_somehow(workload, size);
	if (block->start == NULL)
		return;
	block->size = size;
	block->key = random_next(&workload->random);
	block_fill(block);
}

/* A block that can't be resized is unchanged. Large ones grow, by moving their pages as a rule. */
static void resize(struct workload *workload, struct block *block)
{
	size_t size = block->size > MIB && block->size < 20 * MIB ? block->size + 3 * MIB : random_size(workload);
	void *resized;

	errno = 0;
	resized = tm_realloc(block->start, size);
	if (resized == NULL) {
		note_refused(workload, errno);
		block_check(block);
		return;
	}
	block->start = resized;
	block_check_below(block, size);
	block->size = size;
	block_fill(block);
}

static void destroy(struct block *block)
{
	block_check(block);
	tm_free(block->start);
	block->start = NULL;
}

static void operate(struct workload *workload)
{
	struct block *block = &workload->blocks[random_below(&workload->random, BLOCKS)];
	size_t kind = random_below(&workload->random, 100);

	if (kind == 0)
		tm_malloc_trim(0);
	else if (block->start == NULL)
		create(workload, block);
	else if (kind < 40)
		resize(workload, block);
	else
		destroy(block);
}

static void require_accounted(const struct workload *workload)
{
	size_t sum = 0;

	for (size_t i = 0; i < BLOCKS; i++)
		sum += workload->blocks[i].start != NULL ? tm_malloc_usable_size(workload->blocks[i].start) : 0;
	REQUIRE(bytes_in_use() == sum, "%zu bytes are in use, but the live blocks have %zu", bytes_in_use(), sum);
	REQUIRE_VALID(heap_validate);
}

/* The same operations each time: the seed is fixed, so that the k-th call to the system is the same one in every run. */
static void run(struct workload *workload, int operations)
{
	for (int i = 0; i < operations; i++)
		operate(workload);
	require_accounted(workload);
}

/* After the fault is lifted: everything can be had again, and all is given back in the end. */
static void recover(struct workload *workload)
{
	size_t refused = workload->refused;
	struct block large;

	os_fault = NULL;
	run(workload, 500);
	large = (struct block){tm_malloc(10 * MIB), 10 * MIB, 1};
	REQUIRE(large.start != NULL, "10 MiB can't be had after the fault is lifted");
	block_fill(&large);
	destroy(&large);
	REQUIRE(workload->refused == refused, "allocations fail after the fault is lifted");
	for (size_t i = 0; i < BLOCKS; i++) {
		if (workload->blocks[i].start != NULL)
			destroy(&workload->blocks[i]);
	}
	require_all_given_back();
}

#define OPERATIONS 1000

static void work_with_faults(struct workload *workload)
{
	/* As on a kernel that gives huge pages unasked: it is told of each hugepage that it shall be none. */
	pageheap_set_huge_pages(HUGE_PAGES_NEVER, OS_HUGE_ALWAYS);
	os_fault = inject;
	run(workload, OPERATIONS);
}

/* What metadata may take beyond the hard limit, which only pages are refused for. */
#define METADATA_BESIDE (256 * KIB)

/* What the child tells its parent. */
struct outcome {
	size_t calls;
	size_t failed;
	size_t refused;
};

static void child(int result)
{
	static struct workload workload = {.random = 12345};
	struct outcome outcome;

	if (fault.scarce)
		REQUIRE(make_addresses_scarce(true), "the limit on address space is not noticed");
	REQUIRE(tm_tiermalloc_hard_limit(fault.hard), "no limit of %zu bytes", fault.hard);
	work_with_faults(&workload);
	REQUIRE(fault.hard == 0 || tm_tiermalloc_counted_bytes() <= fault.hard + METADATA_BESIDE, "%zu bytes count",
		tm_tiermalloc_counted_bytes());
	REQUIRE(tm_tiermalloc_hard_limit(0), "the limit stays");
	outcome = (struct outcome){fault.calls, fault.failed, workload.refused};
	recover(&workload);
	REQUIRE(write(result, &outcome, sizeof(outcome)) == sizeof(outcome), "write");
}

/* Runs all of it in a child, where calls `first` to `last` of this kind fail. */
static struct outcome run_child(int kind, size_t first, size_t last)
{
	struct outcome outcome = {0};
	int ends[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fault.kind = kind;
		fault.first = first;
		fault.last = last;
		child(ends[1]);
		_exit(0);
	}
	close(ends[1]);
	assert_true(read(ends[0], &outcome, sizeof(outcome)) >= 0);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("status %#x with calls %zu to %zu of kind %d failing", (unsigned)status, first, last, kind);
	return outcome;
}

#define NEVER SIZE_MAX

/*
 * Tries about so many of the calls, others in each run, the first ones and the last one always; or, with TIERMALLOC_TEST_EVERY_CALL
 * (make soak), every one.
 */
#define TRIED (SANITIZED ? 6 : 10)

static uint64_t random_calls; /* which ones */

static size_t next_tried(size_t call, size_t calls)
{
	bool every = call < 8 || getenv("TIERMALLOC_TEST_EVERY_CALL") != NULL;
	size_t step = every ? 1 : 1 + random_below(&random_calls, maximum(2 * calls / TRIED, 1));

	return call < calls && call + step > calls ? calls : call + step;
}

/* Classes whose pages are populated ahead. */
static size_t small_classes(void)
{
	size_t count = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class++)
		count += size_classes[class].size <= 512;
	return count;
}

static void test_without_faults(void **state)
{
	(void)state;
	for (int kind = 0; kind < OS_CALLS; kind++) {
		struct outcome outcome;

		fault.scarce = kind == OS_UNMAP;
		outcome = run_child(kind, NEVER, NEVER);
		assert_int_equal(outcome.refused, 0);
		/* Or the other tests would not test much. */
		if (kind == OS_POPULATE && small_classes() < 16)
			not_tested("pages that can't be populated", "this profile has few classes of small objects, whose pages are");
		else if (kind == OS_MOVE && os_page_size() > PAGE_SIZE)
			not_tested("pages that can't be moved", "the kernel's pages are larger than this profile's: most blocks are copied");
		else
			REQUIRE(outcome.calls >= 4, "%zu calls of kind %d", outcome.calls, kind);
	}
	fault.scarce = false;
}

static void fail_one_call(bool scarce)
{
	size_t calls;
	size_t failed = 0;

	fault.scarce = scarce;
	calls = run_child(ANY_KIND, NEVER, NEVER).calls;
	for (size_t call = 1; call <= calls; call = next_tried(call, calls))
		failed += run_child(ANY_KIND, call, call).failed;
	printf("# %zu calls to the system\n", calls);
	assert_true(failed >= minimum(calls, TRIED));
	fault.scarce = false;
}

static void test_one_call_fails(void **state)
{
	(void)state;
	fail_one_call(false);
}

static void test_one_call_fails_where_addresses_are_scarce(void **state)
{
	(void)state;
	fail_one_call(true);
}

static void test_all_calls_fail_from_one_on(void **state)
{
	size_t calls = run_child(ANY_KIND, NEVER, NEVER).calls;
	size_t refused = 0;

	(void)state;
	for (size_t call = 1; call <= calls; call = next_tried(call, calls))
		refused += run_child(ANY_KIND, call, NEVER).refused;
	assert_true(refused != 0);
	/* Without a single page, nothing can be had. */
	assert_true(run_child(ANY_KIND, 1, NEVER).refused > 100);
}

/* No memory for a while, several calls long: what was refused is asked for again, and had. */
static void test_some_calls_fail(void **state)
{
	size_t calls = run_child(OS_MAP, NEVER, NEVER).calls;

	(void)state;
	for (size_t call = 1; call <= calls; call = next_tried(call, calls))
		run_child(OS_MAP, call, call + 5);
}

/* Without these calls memory is kept, or copied; nobody notices. */
static void test_calls_that_can_be_done_without(void **state)
{
	static const enum os_call kinds[] = {OS_UNMAP, OS_RELEASE, OS_MOVE};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		struct outcome outcome;

		fault.scarce = kinds[i] == OS_UNMAP;
		outcome = run_child(kinds[i], 1, NEVER);
		assert_true(outcome.failed != 0);
		assert_int_equal(outcome.refused, 0);
	}
	fault.scarce = false;
}

/* Half of what the workload would have: it goes on below, whatever else fails. */
static void test_under_a_hard_limit(void **state)
{
	size_t calls;

	(void)state;
	fault.hard = 24 * MIB;
	calls = run_child(ANY_KIND, NEVER, NEVER).calls;
	assert_true(run_child(ANY_KIND, NEVER, NEVER).refused > 10);
	for (size_t call = 1; call <= calls; call = next_tried(call, calls))
		run_child(ANY_KIND, call, call);
	run_child(OS_RELEASE, 1, NEVER);
	fault.hard = 0;
}

/* A thread that gets no cache is served by the central tier. */
static void *work_in_thread(void *workload)
{
	run(workload, 500);
	return NULL;
}

static void thread_without_memory(const void *unused)
{
	static struct workload workload = {.random = 54321};

	(void)unused;
	fault.kind = ANY_KIND;
	fault.first = 1;
	fault.last = NEVER;
	os_fault = inject;
	run_in_thread(work_in_thread, &workload);
	child_check(workload.refused > 100);
	os_fault = NULL;
	run_in_thread(work_in_thread, &workload);
	recover(&workload);
}

static void test_thread_without_memory(void **state)
{
	struct captured captured;

	(void)state;
	capture_child(thread_without_memory, NULL, &captured);
	assert_string_equal(captured.text, "");
	assert_true(WIFEXITED(captured.status));
	assert_int_equal(WEXITSTATUS(captured.status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_faults),
		cmocka_unit_test(test_one_call_fails),
		cmocka_unit_test(test_one_call_fails_where_addresses_are_scarce),
		cmocka_unit_test(test_all_calls_fail_from_one_on),
		cmocka_unit_test(test_some_calls_fail),
		cmocka_unit_test(test_calls_that_can_be_done_without),
		cmocka_unit_test(test_under_a_hard_limit),
		cmocka_unit_test(test_thread_without_memory),
	};

	random_calls = seed_of_run("test_out_of_memory");
	return cmocka_run_group_tests(tests, NULL, NULL);
}

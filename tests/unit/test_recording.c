/*
 * Recording: rows, what is counted, and the file. Random operations are held against a model in test_recording_model.c.
 *
 * What needs a process that has never recorded, or leaves traces, runs in children, and comes first.
 */
#include "recording_test.h"

#include <sys/resource.h>

static void assert_row(size_t size, uint64_t size_of_row, uint32_t alignment_of_row, size_t alignment)
{
	uint64_t found_size;
	uint32_t found_alignment;

	recording_row_key(recording_row_of(size, alignment), &found_size, &found_alignment);
	assert_int_equal(found_size, size_of_row);
	assert_int_equal(found_alignment, alignment_of_row);
}

static void test_sizes_to_a_mebibyte(void **unused)
{
	(void)unused;
	for (size_t size = 0; size <= MIB; size++) {
		size_t row = recording_row_of(size, 1);

		assert_true(row < EXACT_ROWS);
		assert_int_equal(row, row_of_exact(size));
		assert_row(size, size_of_row(size), 0, 1);
	}
}

static void test_larger_sizes(void **unused)
{
	uint64_t seed = seed_of_run("test_larger_sizes");
	uint64_t before = MIB;
	uint32_t alignment;

	(void)unused;
	for (size_t row = EXACT_ROWS; row < UNALIGNED_ROWS; row++) {
		uint64_t size;

		recording_row_key(row, &size, &alignment);
		assert_int_equal(size - before, ((size_t)1 << log2_floor(before)) / 16);
		assert_int_equal(recording_row_of(before + 1, 1), row);
		assert_int_equal(recording_row_of(size, 1), row);
		before = size;
	}
	assert_int_equal(before, (size_t)1 << 47);
	assert_int_equal(recording_row_of(before + 1, 1), UNALIGNED_ROWS - 1);
	assert_int_equal(recording_row_of(PTRDIFF_MAX, 1), UNALIGNED_ROWS - 1);
	for (int i = 0; i < 100000; i++) {
		size_t size = (random_next(&seed) >> (17 + random_below(&seed, 27))) + MIB;

		assert_row(size, size_of_row(size), 0, 1);
	}
}

static void test_alignments(void **unused)
{
	(void)unused;
	for (size_t alignment = 1; alignment < 16; alignment *= 2)
		assert_int_equal(recording_row_of(100, alignment), recording_row_of(100, 1));
	for (uint32_t shift = 4; shift <= 40; shift++) {
		size_t alignment = (size_t)1 << shift;

		assert_row(100, 104, shift, alignment);
		assert_row(3 * MIB + 1, 3 * MIB + MIB / 8, shift, alignment);
		assert_int_equal(recording_row_of(97, alignment), recording_row_of(104, alignment));
		assert_true(recording_row_of(96, alignment) != recording_row_of(104, alignment));
		assert_true(recording_row_of(97, alignment) != recording_row_of(97, 2 * alignment));
		assert_true(recording_row_of(97, alignment) >= UNALIGNED_ROWS);
		assert_true(recording_row_of(97, alignment) < ROWS);
	}
}

static void fill_table_of_pairs(const void *unused)
{
	static bool taken[ALIGNED_ROWS];

	(void)unused;
	for (size_t i = 0; i < ALIGNED_ROWS; i++) {
		size_t row = recording_row_of(8 * (i / 4 + 1), (size_t)16 << i % 4);

		child_check(row >= UNALIGNED_ROWS && row < ROWS && !taken[row - UNALIGNED_ROWS]);
		taken[row - UNALIGNED_ROWS] = true;
	}
	child_check(recording_row_of(8, 256) == 1);
	child_check(recording_row_of(2 * MIB, 16) == recording_row_of(2 * MIB, 1));
	child_check(recording_row_of(8, 16) >= UNALIGNED_ROWS);
	child_check(recording_row_of(8 * (ALIGNED_ROWS / 4), 128) >= UNALIGNED_ROWS);
}

static void in_child(void (*call)(const void *unused))
{
	struct captured captured;

	capture_child(call, NULL, &captured);
	assert_string_equal(captured.text, "");
	assert_int_equal(captured.status, 0);
}

static void test_table_of_pairs_is_full(void **unused)
{
	(void)unused;
	in_child(fill_table_of_pairs);
}

static void test_lifetime_columns(void **unused)
{
	(void)unused;
	for (uint64_t units = 0; units < 10000; units++)
		assert_int_equal(lifetime_of(units), (units >= 1) + (units >= 16) + (units >= 256) + (units >= 4096));
	assert_int_equal(lifetime_of(UINT64_MAX >> RECORD_TIME_SHIFT), LIFETIMES - 1);
}

static void never_started(const void *unused)
{
	struct recording_statistics statistics;
	char too_long[5000];

	(void)unused;
	child_check(tm_tiermalloc_record_write(path) == EINVAL);
	child_check(tm_tiermalloc_record_write(NULL) == EINVAL);
	child_check(tm_tiermalloc_record_stop() == EALREADY);
	recording_read_statistics(&statistics);
	child_check(!statistics.on);
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	child_check(tm_tiermalloc_record_start("") == ENAMETOOLONG);
	child_check(tm_tiermalloc_record_start(too_long) == ENAMETOOLONG);
	child_check(!recording_is_on());
	tm_free(tm_malloc(10));
	child_check(thread_state.recorder == NULL);
	child_check(tm_tiermalloc_record_start(path) == 0);
	child_check(tm_tiermalloc_record_start(path) == EALREADY);
	child_check(tm_tiermalloc_record_stop() == 0);
	child_check(tm_tiermalloc_record_stop() == EALREADY);
	child_check(access(path, F_OK) != 0);
}

static void test_never_started(void **unused)
{
	(void)unused;
	in_child(never_started);
}

static bool fail_to_map(enum os_call call)
{
	return call == OS_MAP;
}

static bool fail_to_release(enum os_call call)
{
	return call == OS_RELEASE;
}

/* A block, so that one hugepage of the heap is there and this thread has objects of the class in its cache. */
static void *prepare_heap(void)
{
	void *kept = tm_malloc(100);

	tm_free(tm_malloc(100));
	return kept;
}

static void no_memory_to_start(const void *unused)
{
	void *kept = prepare_heap();

	(void)unused;
	os_fault = fail_to_map;
	child_check(tm_tiermalloc_record_start(path) == ENOMEM);
	child_check(!recording_is_on());
	tm_free(tm_malloc(100));
	tm_free(kept);
	os_fault = NULL;
	child_check(tm_tiermalloc_record_start(path) == 0);
}

/* All that row 104 has, over all recorders. */
static uint64_t allocations_of_104(void)
{
	uint64_t sum = 0;

	for (const struct recorder *recorder = process_record.recorders; recorder != NULL; recorder = recorder->next) {
		const struct row *row = &recorder->rows[row_of_exact(104)];

		sum += (uint64_t)row->live;
		for (size_t i = 0; i < LIFETIMES; i++)
			sum += row->lifetimes[i];
	}
	return sum;
}

static void no_memory_for_a_recorder(const void *unused)
{
	void *kept = prepare_heap();

	(void)unused;
	child_check(tm_tiermalloc_record_start(path) == 0);
	os_fault = fail_to_map;
	for (int i = 0; i < 10; i++)
		tm_free(tm_malloc(100));
	tm_free(tm_realloc(tm_malloc(100), 50));
	child_check(thread_state.recorder == NULL);
	os_fault = NULL;
	tm_free(kept);
	for (int i = 0; i < 10; i++)
		tm_free(tm_malloc(100));
	child_check(allocations_of_104() == 10);
}

static void no_memory_for_records(const void *unused)
{
	void *blocks[10];

	(void)unused;
	tm_free(prepare_heap());
	child_check(tm_tiermalloc_record_start(path) == 0);
	/* To the door and no further: a recorder, and no record yet. */
	tm_tiermalloc_thread_idle();
	for (int i = 0; i < 10; i++)
		blocks[i] = NULL;
	child_check(thread_state.recorder != NULL);
	os_fault = fail_to_map;
	for (int i = 0; i < 10; i++)
		child_check((blocks[i] = tm_malloc(100)) != NULL);
	blocks[0] = tm_realloc(blocks[0], 102);
	blocks[1] = tm_realloc(blocks[1], 30);
	tm_free(blocks[2]);
	tm_free_sized(blocks[3], 100);
	os_fault = NULL;
	child_check(allocations_of_104() == 0);
	/* The record's place is there now; those without one are freed beside it. */
	tm_free(tm_malloc(100));
	for (int i = 0; i < 10; i++) {
		if (i != 2 && i != 3)
			tm_free(blocks[i]);
	}
	child_check(allocations_of_104() == 1);
}

/* What can't be given back to the system is wiped all the same. */
static void no_release(const void *unused)
{
	(void)unused;
	child_check(tm_tiermalloc_record_start(path) == 0);
	tm_free(tm_malloc(100));
	(void)!tm_malloc(100);
	child_check(tm_tiermalloc_record_stop() == 0);
	os_fault = fail_to_release;
	child_check(tm_tiermalloc_record_start(path) == 0);
	os_fault = NULL;
	child_check(allocations_of_104() == 0);
}

static void test_out_of_memory(void **unused)
{
	(void)unused;
	in_child(no_memory_to_start);
	in_child(no_memory_for_a_recorder);
	in_child(no_memory_for_records);
	in_child(no_release);
}

/* Sizes that can't be had are not counted either. */
static void test_refused_sizes(void **unused)
{
	const struct histogram_file *file;

	(void)unused;
	start();
	assert_null(tm_malloc(SIZE_MAX));
	assert_null(tm_malloc(PTRDIFF_MAX));
	assert_null(tm_calloc(SIZE_MAX / 2, 3));
	assert_null(tm_aligned_alloc((size_t)1 << 62, 8));
	file = written();
	assert_int_equal(file->count, 0);
	assert_int_equal(file->totals[ALLOCATED_BYTES], 0);
	stop();
}

/* Everything that allocates or frees, once. */
static void test_each_function(void **unused)
{
	const struct histogram_file *file;
	void *block;

	(void)unused;
	start();
	tm_free(tm_malloc(0));
	tm_free_sized(tm_malloc(100), 100);
	tm_free(tm_calloc(5, 40));
	tm_free(tm_calloc(2, MIB));
	tm_free_aligned_sized(tm_aligned_alloc(64, 300), 64, 300);
	tm_free(tm_memalign(32, 5 * MIB));
	assert_int_equal(tm_posix_memalign(&block, 4096, 1000), 0);
	block = tm_realloc(block, 1008);
	tm_free(block);
	tm_free(tm_realloc(NULL, 500));
	assert_null(tm_realloc(tm_malloc(600), 0));
	tm_free(tm_reallocarray(tm_malloc(700), 7, 110));
	tm_free(NULL);
	file = written();
	assert_int_equal(file->count, 12);
	assert_string_equal(row_text(file, 8, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 104, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 200, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 304, 64), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 504, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 600, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 704, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 776, 1), "1 0 0 1 0 1 1 0 0 0 0");
	assert_string_equal(row_text(file, 1000, 4096), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 1008, 1), "1 0 0 1 0 1 1 0 0 0 0");
	assert_string_equal(row_text(file, 2 * MIB, 1), "1 0 0 1 0 0 1 0 0 0 0");
	assert_string_equal(row_text(file, 5 * MIB, 32), "1 0 1 1 0 0 1 0 0 0 0");
	stop();
}

/* Lets so many bytes of lifetime pass. */
static void pass_time(size_t bytes)
{
	for (; bytes >= MIB; bytes -= MIB)
		tm_free(tm_malloc(MIB));
	for (; bytes != 0; bytes -= 4 * KIB)
		tm_free(tm_malloc(4 * KIB));
}

/* Times of allocation are kept to 64 KiB: so near the borders both columns will do, and nowhere else. */
static void test_lifetimes(void **unused)
{
	static const size_t borders[] = {64 * KIB, MIB, 16 * MIB, 256 * MIB};

	(void)unused;
	start();
	for (size_t i = 0; i < COUNT_OF(borders); i++) {
		for (size_t kind = 0; kind < 2; kind++) {
			const uint64_t *row;
			void *block = tm_malloc(100 + 16 * i + 8 * kind);

			pass_time(borders[i] + (kind == 0 ? -(64 * KIB) : 64 * KIB));
			tm_free(block);
			row = find_row(written(), size_of_row(100 + 16 * i + 8 * kind), 1);
			assert_int_equal(row[ALLOCATIONS], 1);
			assert_int_equal(row[FREED + i + kind], 1);
		}
	}
	stop();
}

static void *free_it(void *block)
{
	tm_free(block);
	return NULL;
}

static void *allocate_200(void *unused)
{
	(void)unused;
	return tm_malloc(200);
}

static void test_remote_frees(void **unused)
{
	const struct histogram_file *file;
	pthread_t thread;
	void *block;

	(void)unused;
	start();
	tm_free(tm_malloc(200));
	run_in_thread(free_it, tm_malloc(200));
	thread = thread_start(allocate_200, NULL);
	assert_int_equal(pthread_join(thread, &block), 0);
	tm_free(block);
	file = written();
	assert_string_equal(row_text(file, 200, 1), "3 0 1 1 2 0 3 0 0 0 0");
	/* One that only frees a block or two is not counted. */
	assert_int_equal(file->totals[THREADS_SEEN], 2);
	stop();
}

static void test_start_is_from_nothing(void **unused)
{
	const struct histogram_file *file;
	void *kept;
	void *resized;
	void *later;

	(void)unused;
	start();
	kept = tm_malloc(100);
	resized = tm_realloc(tm_malloc(30), 3000);
	assert_int_equal(written()->totals[THREADS_SEEN], 1);
	stop();
	start();
	file = written();
	assert_int_equal(file->count, 0);
	for (size_t total = ALLOCATED_BYTES; total < TOTALS; total++)
		assert_int_equal(file->totals[total], 0);
	/* Blocks of before are unknown, whatever happens to them. */
	tm_free(kept);
	tm_free(resized);
	later = tm_malloc(100);
	file = written();
	assert_int_equal(file->count, 1);
	assert_string_equal(row_text(file, 104, 1), "1 1 1 1 0 0 0 0 0 0 0");
	assert_int_equal(file->totals[ALLOCATED_BYTES], 104);
	assert_int_equal(file->totals[PEAK_BYTES], 104);
	assert_int_equal(file->totals[THREADS_SEEN], 1);
	tm_free(later);
	stop();
}

static void test_realloc_of_an_unknown_block(void **unused)
{
	const struct histogram_file *file;
	void *block = tm_malloc(100);

	(void)unused;
	start();
	/* The thread joins. */
	tm_free(tm_malloc(0));
	block = tm_realloc(block, 2000);
	file = written();
	assert_int_equal(file->count, 2);
	assert_string_equal(row_text(file, 2000, 1), "1 1 1 1 0 1 0 0 0 0 0");
	tm_free(block);
	stop();
}

static void test_stop(void **unused)
{
	void *kept;
	struct recording_statistics statistics;

	(void)unused;
	start();
	kept = tm_malloc(100);
	recording_read_statistics(&statistics);
	assert_true(statistics.on);
	assert_int_equal(statistics.requested, 104);
	assert_int_equal(statistics.given, size_classes[class_for(1, 100)].size);
	stop();
	for (int i = 0; i < 10; i++)
		tm_free(tm_malloc(100));
	tm_free(kept);
	assert_null(thread_state.recorder);
	/* The fast paths are open again, if no memory waits for its time. */
	tm_malloc_trim(0);
	if (thread_state.area != NULL)
		assert_true(thread_state.rseq_offset != 0 && rseq_process.open_numbers != 0);
	else if (!pageheap_waits() && !central_waits())
		assert_ptr_equal((void *)thread_state.free_cache, thread_state.cache);
	else
		not_tested("that the fast paths are open again", "this profile's spans are so long that memory waits");
	recording_read_statistics(&statistics);
	assert_false(statistics.on);
	assert_string_equal(row_text(written(), 104, 1), "1 1 1 1 0 0 0 0 0 0 0");
}

/* The file's name as the pattern says, in the folder. */
static void assert_written_as(const char *pattern, const char *name)
{
	char full[200];
	char expected[200];

	snprintf(full, sizeof(full), "%s/%s", folder, pattern);
	snprintf(expected, sizeof(expected), "%s/%s", folder, name);
	assert_int_equal(tm_tiermalloc_record_write(full), 0);
	read_histogram(expected);
	assert_int_equal(unlink(expected), 0);
}

static void test_names(void **unused)
{
	char name[100];

	(void)unused;
	start();
	assert_written_as("plain", "plain");
	snprintf(name, sizeof(name), "%d", (int)getpid());
	assert_written_as("%p", name);
	snprintf(name, sizeof(name), "a-%s.%d-b", program_invocation_short_name, (int)getpid());
	assert_written_as("a-%e.%p-b", name);
	assert_written_as("%%p%%%%e", "%p%%e");
	assert_written_as("%x%", "%x%");
	assert_written_as("100%", "100%");
	stop();
}

/* How many files there are in the folder. */
static size_t count_files(void)
{
	char command[100];
	FILE *list;
	size_t count = 0;

	snprintf(command, sizeof(command), "ls -A %s", folder);
	list = popen(command, "r");
	for (int letter; (letter = fgetc(list)) != EOF;)
		count += letter == '\n';
	pclose(list);
	return count;
}

static void test_cannot_be_written(void **unused)
{
	char target[6000];
	size_t before = count_files();

	(void)unused;
	start();
	errno = 4242;
	assert_int_equal(tm_tiermalloc_record_write("/nowhere/at/all"), ENOENT);
	assert_int_equal(tm_tiermalloc_record_write(folder), EISDIR);
	assert_int_equal(tm_tiermalloc_record_write("/dev/null/file"), ENOTDIR);
	assert_int_equal(tm_tiermalloc_record_write("/dev/null"), EEXIST);
	memset(target, '/', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(tm_tiermalloc_record_write(target), ENAMETOOLONG);
	target[4090] = '\0';
	assert_int_equal(tm_tiermalloc_record_write(target), ENAMETOOLONG);
	assert_int_equal(errno, 4242);
	assert_int_equal(count_files(), before);
	stop();
}

/* The old file stays as it is, and nothing else is left. */
static void test_no_room_on_the_disk(void **unused)
{
	struct rlimit limit;
	void *blocks[1000];
	size_t before;

	(void)unused;
	start();
	written();
	before = count_files();
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		blocks[i] = tm_malloc(8 * i);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(tm_tiermalloc_record_write(NULL), EFBIG);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(count_files(), before);
	assert_int_equal(read_histogram(path)->count, 0);
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		tm_free(blocks[i]);
	stop();
}

static void *allocate_and_free(void *unused)
{
	for (int i = 0; i < 10; i++)
		tm_free(tm_malloc(1000));
	return unused;
}

/* Threads that come and go share a recorder. */
static void test_recorders_are_reused(void **unused)
{
	size_t recorders = 0;
	const struct histogram_file *file;

	(void)unused;
	start();
	for (int i = 0; i < 200; i++)
		run_in_thread(allocate_and_free, NULL);
	file = written();
	assert_int_equal(file->totals[THREADS_SEEN], 200);
	assert_string_equal(row_text(file, 1000, 1), "2000 0 1 1 0 0 2000 0 0 0 0");
	for (const struct recorder *recorder = process_record.recorders; recorder != NULL; recorder = recorder->next)
		recorders++;
	assert_in_range(recorders, 1, 4);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_to_a_mebibyte),
		cmocka_unit_test(test_larger_sizes),
		cmocka_unit_test(test_table_of_pairs_is_full),
		cmocka_unit_test(test_alignments),
		cmocka_unit_test(test_lifetime_columns),
		cmocka_unit_test(test_never_started),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_refused_sizes),
		cmocka_unit_test(test_each_function),
		cmocka_unit_test(test_lifetimes),
		cmocka_unit_test(test_remote_frees),
		cmocka_unit_test(test_start_is_from_nothing),
		cmocka_unit_test(test_realloc_of_an_unknown_block),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_cannot_be_written),
		cmocka_unit_test(test_no_room_on_the_disk),
		cmocka_unit_test(test_recorders_are_reused),
	};

	return cmocka_run_group_tests_name("recording", tests, make_folder, remove_folder);
}

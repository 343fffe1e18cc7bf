/*
 * Recording: rows, what is counted, and the file. Directed tests first; then random operations, by one thread and by several,
 * held against a model that counts the same in its own way.
 *
 * The state of recording is the process's: each test starts it from nothing and leaves it off. What needs a process that has
 * never recorded, or leaves traces, runs in children, and comes first.
 */
#include "heap_test.h"
#include "histogram_file.h"

#include <sys/resource.h>

#include "base/os.h"
#include "fast_path.h"
#include "observe/histogram.h"

void tm_free_sized(void *pointer, size_t size);
void tm_free_aligned_sized(void *pointer, size_t alignment, size_t size);

static char folder[] = "/tmp/tiermalloc-recording-XXXXXX";
static char path[sizeof(folder) + 20];

static const struct histogram_file *written(void)
{
	assert_int_equal(tm_tiermalloc_record_write(NULL), 0);
	return read_histogram(path);
}

/* After a test that has failed it may still be on. */
static void start(void)
{
	tm_tiermalloc_record_stop();
	assert_int_equal(tm_tiermalloc_record_start(path), 0);
}

static void stop(void)
{
	assert_int_equal(tm_tiermalloc_record_stop(), 0);
}

/* The row's numbers in the file's order, as a string: a difference is seen at once. */
static const char *row_text(const struct histogram_file *file, uint64_t size, uint64_t alignment)
{
	static char text[400];
	const uint64_t *row = find_row(file, size, alignment);
	size_t length = 0;

	for (size_t column = ALLOCATIONS; column < COLUMNS_OF_FILE; column++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   column == ALLOCATIONS ? "%llu" : " %llu", (unsigned long long)row[column]);
	return text;
}

static void assert_row(size_t size, uint64_t size_of_row, uint32_t alignment_of_row, size_t alignment)
{
	uint64_t found_size;
	uint32_t found_alignment;

	recording_row_key(recording_row_of(size, alignment), &found_size, &found_alignment);
	assert_int_equal(found_size, size_of_row);
	assert_int_equal(found_alignment, alignment_of_row);
}

/* What docs/recording.md says: steps of 8 up to 1 MiB, then 16 per doubling; each with its upper bound. */
static uint64_t size_of_row(size_t size)
{
	size_t step = 8;

	if (size > MIB)
		step = ((size_t)1 << log2_floor(size - 1)) / 16;
	return round_up(maximum(size, 1), step);
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
	assert_int_equal(file->totals[THREADS_SEEN], 3);
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
	/* The fast paths are open again. */
	assert_ptr_equal((void *)thread_state.free_cache, thread_state.cache);
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

/* ---- The model: what the file must say, counted in another way. ---- */

#define MODEL_ROWS 65536
#define HELD       400

struct model_row {
	uint64_t size; /* 0: not used */
	uint64_t alignment;
	uint64_t allocations;
	uint64_t frees;
	uint64_t reallocs;
	uint64_t remote_frees;
	int64_t live;
	int64_t most;
	/* By column: frees that belong there, and those that may as the clock is as coarse as it is. */
	uint64_t certain[LIFETIMES];
	uint64_t possible[LIFETIMES];
};

struct model_block {
	void *start;
	struct model_row *row;
	uint64_t clock;
	unsigned owner;
};

/* A change of a row by one. */
struct change {
	uint16_t row;
	int8_t by;
};

struct model {
	struct model_row rows[MODEL_ROWS];
	uint64_t random;
	uint64_t clock;
	int64_t live;
	int64_t peak;
	struct change *changes; /* NULL: not kept */
	size_t change_count;
	unsigned owner;
};

static struct model_row *model_row(struct model *model, size_t size, size_t alignment)
{
	uint64_t key_size = size_of_row(size);
	uint64_t key_alignment = alignment < 16 ? 1 : alignment;
	size_t at = (key_size * 31 + key_alignment) * 2654435761u % MODEL_ROWS;

	while (model->rows[at].size != 0 &&
	       (model->rows[at].size != key_size || model->rows[at].alignment != key_alignment))
		at = (at + 1) % MODEL_ROWS;
	/* Not written again: other threads read the keys of blocks that they have been given. */
	if (model->rows[at].size == 0) {
		model->rows[at].size = key_size;
		model->rows[at].alignment = key_alignment;
	}
	return &model->rows[at];
}

static void note_change(struct model *model, const struct model_row *row, int by)
{
	if (model->changes != NULL)
		model->changes[model->change_count++] = (struct change){(uint16_t)(row - model->rows), (int8_t)by};
}

static void model_allocated(struct model *model, struct model_block *block, size_t size, size_t alignment)
{
	struct model_row *row = model_row(model, size, alignment);

	row->allocations++;
	row->live++;
	row->most = row->live > row->most ? row->live : row->most;
	model->clock += row->size;
	model->live += (int64_t)row->size;
	model->peak = model->live > model->peak ? model->live : model->peak;
	block->row = row;
	block->clock = model->clock;
	block->owner = model->owner;
	note_change(model, row, 1);
}

static size_t column_of(uint64_t bytes)
{
	return (bytes >= 64 * KIB) + (bytes >= MIB) + (bytes >= 16 * MIB) + (bytes >= 256 * MIB);
}

/* The row may be another thread's model's: the key counts. */
static void model_freed(struct model *model, const struct model_block *block)
{
	struct model_row *row = model_row(model, block->row->size, block->row->alignment);
	uint64_t age = model->clock - block->clock;
	size_t first = column_of(age < 64 * KIB ? 0 : age - 64 * KIB + 1);
	size_t last = column_of(age + 64 * KIB - 1);

	row->frees++;
	row->live--;
	row->remote_frees += block->owner != model->owner;
	row->certain[first] += first == last;
	for (size_t column = first; column <= last; column++)
		row->possible[column]++;
	model->live -= (int64_t)row->size;
	note_change(model, row, -1);
}

static size_t random_size(uint64_t *random)
{
	switch (random_below(random, 20)) {
	case 0:
		return MIB + random_below(random, 100) * 40000;
	case 1:
	case 2:
		return random_below(random, 100) * 12000 + 7;
	case 3:
	case 4:
	case 5:
		return random_below(random, 100) * 320;
	default:
		return random_below(random, 600);
	}
}

static void allocate_one(struct model *model, struct model_block *block)
{
	size_t size = random_size(&model->random);
	size_t alignment = 1;

	switch (random_below(&model->random, 8)) {
	case 0:
		block->start = tm_calloc(1, size);
		break;
	case 1:
		alignment = (size_t)8 << random_below(&model->random, 14);
		REQUIRE(tm_posix_memalign(&block->start, alignment, size) == 0, "%zu, %zu", alignment, size);
		break;
	case 2:
		/* The fast path for aligned blocks. */
		alignment = 64;
		block->start = tm_aligned_alloc(alignment, size);
		break;
	default:
		block->start = tm_malloc(size);
	}
	REQUIRE(block->start != NULL, "%zu bytes", size);
	model_allocated(model, block, size, alignment);
}

static void resize_one(struct model *model, struct model_block *block)
{
	size_t size = random_size(&model->random);
	struct model_block old = *block;

	if (random_below(&model->random, 2) == 0)
		size = block->row->size + random_below(&model->random, 200) - 100;
	if (size == 0 || size > 8 * MIB)
		size = 1;
	block->start = tm_realloc(block->start, size);
	REQUIRE(block->start != NULL, "%zu bytes", size);
	model_freed(model, &old);
	model_allocated(model, block, size, 1);
	block->row->reallocs++;
}

static void free_one(struct model *model, struct model_block *block)
{
	uint64_t size = block->row->size;

	model_freed(model, block);
	/* The rounded size will do where the class is the same; what realloc has left is free_sized's to know. */
	if (block->row->alignment == 1 && size <= MIB && random_below(&model->random, 3) == 0)
		tm_free_sized(block->start, size);
	else
		tm_free(block->start);
	block->start = NULL;
}

static void operate(struct model *model, struct model_block *block)
{
	if (block->start == NULL)
		allocate_one(model, block);
	else if (random_below(&model->random, 4) == 0)
		resize_one(model, block);
	else
		free_one(model, block);
}

/* What a test that has failed may have left. */
static size_t in_use_before;

/* Bytes of the blocks that are live. */
struct model_bytes {
	int64_t given; /* by the classes, to those that have one */
	int64_t room;  /* what these have beyond it: also less, as realloc may have put them on pages of their own */
	size_t without_class; /* in the others */
};

static void add_bytes(struct model_bytes *bytes, const struct model_block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t usable = tm_malloc_usable_size(blocks[i].start);
		unsigned class = blocks[i].start == NULL ? 0 : class_for(blocks[i].row->alignment, blocks[i].row->size);

		if (class == 0) {
			bytes->without_class += usable;
			continue;
		}
		bytes->given += (int64_t)size_classes[class].size;
		bytes->room += (int64_t)usable - (int64_t)size_classes[class].size;
	}
}

/* What holds for any number of threads. */
static void compare_sums(const struct histogram_file *file, const struct model *model)
{
	size_t count = 0;

	for (size_t i = 0; i < MODEL_ROWS; i++) {
		const struct model_row *expected = &model->rows[i];
		const uint64_t *row = find_row(file, expected->size, expected->alignment);

		if (expected->allocations == 0)
			continue;
		count++;
		assert_int_equal(row[ALLOCATIONS], expected->allocations);
		assert_int_equal(row[LIVE], expected->live);
		assert_int_equal(frees_of(row), expected->frees);
		assert_int_equal(row[REALLOCS], expected->reallocs);
		assert_int_equal(row[REMOTE_FREES], expected->remote_frees);
	}
	assert_int_equal(file->count, count);
}

/* What one thread's clock makes exact, or nearly so. */
static void compare_rows(const struct histogram_file *file, const struct model *model)
{
	for (size_t i = 0; i < MODEL_ROWS; i++) {
		const struct model_row *expected = &model->rows[i];
		const uint64_t *row = find_row(file, expected->size, expected->alignment);

		for (size_t column = 0; column < LIFETIMES; column++)
			assert_in_range(row[FREED + column], expected->certain[column], expected->possible[column]);
		assert_in_range(row[MOST_LIVE] + minimum(row[MOST_LIVE] / 16, 32), expected->most, INT64_MAX);
		assert_in_range(row[MOST_LIVE], 0, expected->most);
		if (expected->most <= 16)
			assert_int_equal(row[MOST_LIVE], expected->most);
	}
}

/* Objects of each row of the model that the file says were live at the peak; their bytes. */
static int64_t peak_of_file(const struct histogram_file *file, const struct model *model, int64_t *peak_live)
{
	int64_t bytes = 0;

	for (size_t i = 0; i < MODEL_ROWS; i++) {
		peak_live[i] = (int64_t)find_row(file, model->rows[i].size, model->rows[i].alignment)[PEAK_LIVE];
		bytes += peak_live[i] * (int64_t)model->rows[i].size;
	}
	return bytes;
}

/* There must have been a moment at which exactly these were live, and near the peak. */
static void compare_peak(const struct histogram_file *file, const struct model *model)
{
	static int64_t expected[MODEL_ROWS];
	static int64_t live[MODEL_ROWS];
	int64_t peak = (int64_t)file->totals[PEAK_BYTES];
	int64_t bytes = 0;
	bool found = false;

	assert_int_equal(peak_of_file(file, model, expected), peak);
	assert_in_range(peak + (peak / 256 > 1024 ? peak / 256 : 1024), model->peak, INT64_MAX);
	assert_in_range(peak, 0, model->peak);
	memset(live, 0, sizeof(live));
	for (size_t i = 0; i < model->change_count && !found; i++) {
		const struct change *change = &model->changes[i];

		live[change->row] += change->by;
		bytes += change->by * (int64_t)model->rows[change->row].size;
		found = bytes == peak && memcmp(live, expected, sizeof(live)) == 0;
	}
	assert_true(found);
}

/* In the file the room is nothing where it is less. */
static void compare_bytes(const struct histogram_file *file, const struct model_bytes *bytes)
{
	struct recording_statistics statistics;

	assert_int_equal(file->totals[LIVE_SMALL_GIVEN], bytes->given);
	assert_int_equal(file->totals[LIVE_SMALL_ROOM], bytes->room > 0 ? bytes->room : 0);
	assert_int_equal((size_t)(bytes->given + bytes->room) + bytes->without_class + in_use_before, bytes_in_use());
	recording_read_statistics(&statistics);
	assert_int_equal(statistics.requested, file->totals[LIVE_SMALL_REQUESTED]);
	assert_int_equal(statistics.given, file->totals[LIVE_SMALL_GIVEN]);
	assert_int_equal(statistics.room, file->totals[LIVE_SMALL_ROOM]);
}

static void compare_all(const struct model *model, const struct model_block *blocks)
{
	const struct histogram_file *file = written();
	struct model_bytes bytes = {0};

	compare_sums(file, model);
	compare_rows(file, model);
	compare_peak(file, model);
	add_bytes(&bytes, blocks, HELD);
	compare_bytes(file, &bytes);
	assert_int_equal(file->totals[ALLOCATED_BYTES], model->clock);
	assert_int_equal(file->totals[THREADS_SEEN], 1);
	assert_int_equal(file->totals[PROCESSES], 1);
}

static void test_one_thread_and_the_model(void **unused)
{
	static struct model model;
	static struct model_block blocks[HELD];
	static struct change changes[1000000];
	size_t held = HELD;

	(void)unused;
	in_use_before = bytes_in_use();
	model = (struct model){.random = seed_of_run("test_one_thread_and_the_model"), .changes = changes};
	start();
	for (int round = 0; round < (SANITIZED ? 5 : 20); round++) {
		/* Now many blocks, now few. */
		held = 1 + random_below(&model.random, HELD);
		for (int i = 0; i < 10000; i++)
			operate(&model, &blocks[random_below(&model.random, held)]);
		compare_all(&model, blocks);
	}
	for (size_t i = 0; i < HELD; i++) {
		if (blocks[i].start != NULL)
			free_one(&model, &blocks[i]);
	}
	compare_all(&model, blocks);
	stop();
	assert_int_equal(bytes_in_use(), in_use_before);
	REQUIRE_VALID(heap_validate);
}

/* One row growing and shrinking: its own peak, and the process's, at every step. */
static void test_peaks_of_one_size(void **unused)
{
	static void *blocks[3000];
	size_t most = 0;
	size_t count = 0;
	uint64_t random = seed_of_run("test_peaks_of_one_size");

	(void)unused;
	start();
	for (int round = 0; round < 100; round++) {
		size_t target = random_below(&random, round * 30 + 30);
		const struct histogram_file *file;
		const uint64_t *row;

		for (; count < target; count++)
			blocks[count] = tm_malloc(48);
		most = maximum(most, count);
		while (count > target)
			tm_free(blocks[--count]);
		file = written();
		row = find_row(file, 48, 1);
		assert_int_equal(row[LIVE], count);
		assert_in_range(row[MOST_LIVE], most - minimum(most / 16, 32), most);
		assert_in_range(file->totals[PEAK_BYTES] + maximum(file->totals[PEAK_BYTES] / 256, 1024), most * 48,
				INT64_MAX);
		assert_in_range(file->totals[PEAK_BYTES], 0, most * 48);
		assert_int_equal(row[PEAK_LIVE] * 48, file->totals[PEAK_BYTES]);
	}
	while (count > 0)
		tm_free(blocks[--count]);
	stop();
}

#define WORKERS   4
#define EXCHANGED 64

struct worker {
	struct model model;
	struct model_block blocks[HELD];
};

static struct {
	struct worker workers[WORKERS];
	pthread_mutex_t lock;
	pthread_barrier_t barrier;
	struct model_block exchanged[EXCHANGED];
} team = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void exchange(struct model *model, struct model_block *block)
{
	struct model_block *other = &team.exchanged[random_below(&model->random, EXCHANGED)];
	struct model_block taken;

	pthread_mutex_lock(&team.lock);
	taken = *other;
	*other = *block;
	pthread_mutex_unlock(&team.lock);
	*block = taken;
}

/* All begin and end together: no thread gets another's recorder. */
static void *work(void *argument)
{
	struct worker *worker = argument;

	tm_free(tm_malloc(1));
	model_freed(&worker->model,
		    &(struct model_block){.row = model_row(&worker->model, 1, 1), .owner = worker->model.owner});
	model_row(&worker->model, 1, 1)->live++;
	model_row(&worker->model, 1, 1)->allocations++;
	pthread_barrier_wait(&team.barrier);
	for (int i = 0; i < (SANITIZED ? 10000 : 100000); i++) {
		struct model_block *block = &worker->blocks[random_below(&worker->model.random, HELD)];

		if (random_below(&worker->model.random, 3) == 0)
			exchange(&worker->model, block);
		else
			operate(&worker->model, block);
	}
	pthread_barrier_wait(&team.barrier);
	return NULL;
}

static void add_model(struct model *sum, const struct model *part)
{
	for (size_t i = 0; i < MODEL_ROWS; i++) {
		const struct model_row *row = &part->rows[i];
		struct model_row *total;

		if (row->size == 0)
			continue;
		total = model_row(sum, row->size, row->alignment);
		total->allocations += row->allocations;
		total->frees += row->frees;
		total->reallocs += row->reallocs;
		total->remote_frees += row->remote_frees;
		total->live += row->live;
	}
}

static void compare_team(void)
{
	static struct model sum;
	const struct histogram_file *file = written();
	struct model_bytes bytes = {0};
	uint64_t sum_at_peak = 0;

	sum = (struct model){0};
	for (size_t i = 0; i < WORKERS; i++) {
		add_model(&sum, &team.workers[i].model);
		add_bytes(&bytes, team.workers[i].blocks, HELD);
	}
	compare_sums(file, &sum);
	add_bytes(&bytes, team.exchanged, EXCHANGED);
	compare_bytes(file, &bytes);
	assert_int_equal(file->totals[THREADS_SEEN], WORKERS);
	/* Each of the threads may be ahead by a 256th of the peak, or 64 KiB, and by the block that it is at. */
	for (size_t i = 0; i < file->count; i++)
		sum_at_peak += file->rows[i][SIZE] * file->rows[i][PEAK_LIVE];
	assert_in_range(sum_at_peak, file->totals[PEAK_BYTES] - WORKERS * (file->totals[PEAK_BYTES] / 256 + 9 * MIB),
			file->totals[PEAK_BYTES] + WORKERS * (file->totals[PEAK_BYTES] / 256 + 9 * MIB));
}

static void free_all(struct model_block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		tm_free(blocks[i].start);
		blocks[i].start = NULL;
	}
}

static void test_threads_and_their_models(void **unused)
{
	uint64_t seed = seed_of_run("test_threads_and_their_models");
	pthread_t threads[WORKERS];
	const struct histogram_file *file;

	(void)unused;
	in_use_before = bytes_in_use();
	pthread_barrier_init(&team.barrier, NULL, WORKERS);
	start();
	for (unsigned i = 0; i < WORKERS; i++) {
		team.workers[i].model.random = seed + i;
		team.workers[i].model.owner = i + 1;
		threads[i] = thread_start(work, &team.workers[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	compare_team();
	for (unsigned i = 0; i < WORKERS; i++)
		free_all(team.workers[i].blocks, HELD);
	free_all(team.exchanged, EXCHANGED);
	file = written();
	for (size_t i = 0; i < file->count; i++)
		assert_int_equal(file->rows[i][LIVE], 0);
	stop();
	assert_int_equal(bytes_in_use(), in_use_before);
	REQUIRE_VALID(heap_validate);
}

#if defined(__SANITIZE_THREAD__)
#define SANITIZED_THREADS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED_THREADS 1
#endif
#endif
#ifndef SANITIZED_THREADS
#define SANITIZED_THREADS 0
#endif

static bool enough; /* atomic */

static void *churn(void *argument)
{
	uint64_t random = *(uint64_t *)argument;
	void *blocks[100] = {0};

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		void **block = &blocks[random_below(&random, COUNT_OF(blocks))];

		if (*block != NULL && random_below(&random, 2) == 0) {
			tm_free(*block);
			*block = NULL;
		} else {
			*block = tm_realloc(*block, 1 + random_below(&random, 20000));
		}
	}
	for (size_t i = 0; i < COUNT_OF(blocks); i++)
		tm_free(blocks[i]);
	return NULL;
}

/* Files are well-formed at any time; recording may also be ended and started again under the threads' feet. */
static void test_written_while_threads_run(void **unused)
{
	uint64_t seed = seed_of_run("test_written_while_threads_run");
	uint64_t seeds[3];
	pthread_t threads[3];

	(void)unused;
	if (SANITIZED_THREADS) {
		not_tested("a file that is written while threads run",
			   "what they count is read without synchronisation");
		return;
	}
	in_use_before = bytes_in_use();
	enough = false;
	start();
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		seeds[i] = seed + i;
		threads[i] = thread_start(churn, &seeds[i]);
	}
	for (int round = 0; round < (SANITIZED ? 20 : 100); round++) {
		written();
		if (round % 10 == 9) {
			stop();
			start();
		}
	}
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
	written();
	stop();
	assert_int_equal(bytes_in_use(), in_use_before);
	REQUIRE_VALID(heap_validate);
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
	assert_in_range(recorders, 1, WORKERS + 2);
	stop();
}

static int make_folder(void **unused)
{
	(void)unused;
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/histogram", folder);
	return 0;
}

static int remove_folder(void **unused)
{
	(void)unused;
	unlink(path);
	return rmdir(folder);
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
		cmocka_unit_test(test_peaks_of_one_size),
		cmocka_unit_test(test_one_thread_and_the_model),
		cmocka_unit_test(test_threads_and_their_models),
		cmocka_unit_test(test_written_while_threads_run),
		cmocka_unit_test(test_recorders_are_reused),
	};

	return cmocka_run_group_tests_name("recording", tests, make_folder, remove_folder);
}

/*
 * Recording: random operations, by one thread and by several, held against a model that counts the same in its own way.
 */
#include "recording_test.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peaks_of_one_size),
		cmocka_unit_test(test_one_thread_and_the_model),
		cmocka_unit_test(test_threads_and_their_models),
		cmocka_unit_test(test_written_while_threads_run),
	};

	return cmocka_run_group_tests_name("recording_model", tests, make_folder, remove_folder);
}

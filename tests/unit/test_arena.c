/*
 * The metadata arena: random blocks against a model, reuse, what the statistics say, and what happens when
 * the system has no memory or somebody else the next addresses. The last tests move the arena to a place of
 * their own.
 */
#include "support.h"

#include "base/arena.h"
#include "base/os.h"

#define STEP ((size_t)256 << 10) /* what arena.c maps at a time */

struct block {
	unsigned char *start; /* NULL: none */
	size_t bytes;
	unsigned char fill;
};

static uint64_t state;

/* What a request takes: units of 64 up to 4096 bytes, powers of two above. */
static size_t taken_by(size_t bytes)
{
	size_t taken = ARENA_UNIT;

	if (bytes <= 4096)
		return bytes == 0 ? ARENA_UNIT : (bytes + ARENA_UNIT - 1) / ARENA_UNIT * ARENA_UNIT;
	while (taken < bytes)
		taken *= 2;
	return taken;
}

static struct arena_statistics statistics(void)
{
	struct arena_statistics now;

	arena_read_statistics(&now);
	return now;
}

static void assert_zero(const unsigned char *start, size_t bytes)
{
	for (size_t at = 0; at < bytes; at++)
		assert_int_equal(start[at], 0);
}

static size_t random_size(void)
{
	switch (random_below(&state, 8)) {
	case 0:
		return random_below(&state, 70000);
	case 1:
		return 4096 - 2 + random_below(&state, 5);
	case 2:
		return ARENA_UNIT * random_below(&state, 20) + random_below(&state, 3);
	default:
		return random_below(&state, 1000);
	}
}

static void make(struct block *block)
{
	block->bytes = random_size();
	block->fill = (unsigned char)(1 + random_below(&state, 255));
	block->start = arena_allocate(block->bytes);
	assert_non_null(block->start);
	assert_int_equal((uintptr_t)block->start % ARENA_UNIT, 0);
	assert_int_not_equal(arena_reference(block->start), 0);
	assert_ptr_equal(arena_block(arena_reference(block->start)), block->start);
	/* All that a block takes is the caller's: the rounding is in it, too. */
	assert_zero(block->start, taken_by(block->bytes));
	memset(block->start, block->fill, taken_by(block->bytes));
}

static void give_up(struct block *block)
{
	for (size_t at = 0; at < taken_by(block->bytes); at++)
		assert_int_equal(block->start[at], block->fill);
	arena_free(block->start, block->bytes);
	block->start = NULL;
}

static void random_blocks(void **unused)
{
	static struct block blocks[400];
	const struct arena_statistics before = statistics();
	size_t used = before.used;

	(void)unused;
	for (int step = 0; step < 20000; step++) {
		struct block *block = &blocks[random_below(&state, COUNT_OF(blocks))];
		struct arena_statistics now;

		if (block->start == NULL) {
			make(block);
			used += taken_by(block->bytes);
		} else {
			used -= taken_by(block->bytes);
			give_up(block);
		}
		now = statistics();
		assert_int_equal(now.used, used);
		assert_true(now.used + now.free <= now.mapped);
	}
	for (size_t i = 0; i < COUNT_OF(blocks); i++) {
		if (blocks[i].start != NULL)
			give_up(&blocks[i]);
	}
	assert_int_equal(statistics().used, before.used);
}

/* The block freed last comes back for a request of its size, without new memory. */
static void reuse(void **unused)
{
	static const size_t sizes[] = {1, 64, 65, 200, 4096, 4097, 5000, 100000};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		unsigned char *first = arena_allocate(sizes[i]);
		struct arena_statistics before;
		struct arena_statistics after;

		memset(first, 0xff, sizes[i]);
		arena_free(first, sizes[i]);
		before = statistics();
		assert_ptr_equal(arena_allocate(taken_by(sizes[i])), first);
		after = statistics();
		assert_zero(first, taken_by(sizes[i]));
		assert_int_equal(after.mapped, before.mapped);
		assert_int_equal(after.used, before.used + taken_by(sizes[i]));
		assert_int_equal(after.free, before.free - taken_by(sizes[i]));
		arena_free(first, sizes[i]);
	}
}

static bool no_maps(enum os_call call)
{
	return call == OS_MAP;
}

static void no_memory(void **unused)
{
	const size_t large = 3 * STEP;
	void *small = arena_allocate(777);
	struct arena_statistics before;
	void *block;

	(void)unused;
	arena_free(small, 777);
	before = statistics();
	os_fault = no_maps;
	assert_null(arena_allocate(large));
	/* What has been given back is there all the same. */
	assert_ptr_equal(arena_allocate(777), small);
	os_fault = NULL;
	arena_free(small, 777);
	assert_int_equal(statistics().used, before.used);
	assert_int_equal(statistics().free, before.free);
	assert_int_equal(statistics().mapped, before.mapped);
	block = arena_allocate(large);
	assert_non_null(block);
	memset(block, 1, large);
	arena_free(block, large);
}

/* A stretch of addresses that nobody has, for an arena of the test's own. */
static uintptr_t empty_stretch(size_t bytes)
{
	void *found = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(found, MAP_FAILED);
	munmap(found, bytes);
	return (uintptr_t)found;
}

/* Takes all blocks of a size that wait for reuse, so that the next one is new memory. */
static void use_up_freed(size_t size)
{
	size_t waiting;

	do {
		waiting = statistics().free;
		arena_allocate(size);
	} while (statistics().free < waiting);
}

/* Takes new blocks until the arena ends. Returns how many there were. */
static size_t fill_up(uintptr_t base, size_t length, size_t size, uintptr_t hole)
{
	unsigned char *last = (unsigned char *)base;
	unsigned char *block;
	size_t count = 0;

	while ((block = arena_allocate(size)) != NULL) {
		uintptr_t start = (uintptr_t)block;

		assert_true(block > last);
		assert_true(start >= base + ARENA_UNIT && start + size <= base + length);
		assert_true(hole == 0 || start + size <= hole || start >= hole + STEP);
		memset(block, 0xee, size);
		last = block;
		count++;
	}
	return count;
}

/* The arena ends where it was told to; the request after that fails, and keeps failing. */
static void end_of_arena(void **unused)
{
	const size_t length = 4 * STEP;
	uintptr_t base = empty_stretch(length);
	struct arena_statistics before;
	size_t count;

	(void)unused;
	use_up_freed(3008);
	before = statistics();
	arena_initialise(base, length);
	assert_int_equal(arena_reference((void *)base), 0);
	count = fill_up(base, length, 3008, 0);
	assert_int_equal(count, (length - ARENA_UNIT) / 3008);
	assert_null(arena_allocate(3008));
	assert_int_equal(statistics().used, before.used + count * 3008);
	assert_int_equal(statistics().mapped, before.mapped + length);
}

/* A foreign mapping in the next step is passed over and left alone; blocks lie on both sides of it. */
static void foreign_mapping(void **unused)
{
	const size_t length = 6 * STEP;
	uintptr_t base = empty_stretch(length);
	uintptr_t hole = base + 2 * STEP;
	unsigned char *foreign;
	struct arena_statistics before;
	size_t count;

	(void)unused;
	use_up_freed(2944);
	before = statistics();
	foreign = mmap((void *)(hole + STEP / 2), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		       -1, 0);
	assert_int_equal((uintptr_t)foreign, hole + STEP / 2);
	memset(foreign, 0x77, 4096);
	arena_initialise(base, length);
	count = fill_up(base, length, 2944, hole);
	assert_int_equal(count, (2 * STEP - ARENA_UNIT) / 2944 + 3 * STEP / 2944);
	for (size_t at = 0; at < 4096; at++)
		assert_int_equal(foreign[at], 0x77);
	assert_int_equal(statistics().mapped, before.mapped + length - STEP);
}

/* A block larger than a step, with a foreign mapping where it would lie, lies behind it in one piece. */
static void large_behind_foreign(void **unused)
{
	const size_t length = 40 * STEP;
	uintptr_t base = empty_stretch(length);
	unsigned char *foreign;
	unsigned char *block;

	(void)unused;
	foreign = mmap((void *)(base + 3 * STEP), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_int_equal((uintptr_t)foreign, base + 3 * STEP);
	arena_initialise(base, length);
	assert_non_null(arena_allocate(2880));
	block = arena_allocate(8 * STEP);
	assert_non_null(block);
	assert_true(block > foreign);
	assert_zero(block, 8 * STEP);
	memset(block, 1, 8 * STEP);
	assert_null(arena_allocate(64 * STEP));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_blocks),   cmocka_unit_test(reuse),
		cmocka_unit_test(no_memory),       cmocka_unit_test(end_of_arena),
		cmocka_unit_test(foreign_mapping), cmocka_unit_test(large_behind_foreign),
	};

	state = seed_of_run("arena");
	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}

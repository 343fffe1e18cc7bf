/*
 * The frontend per CPU and what happens to a whole process: fork while slabs are away from their CPUs, signal handlers that interrupt
 * the slow part, and recording, which closes the fast paths of all threads.
 */
#include "slab_test.h"

#include <sched.h>

#include "base/closed_cache.h"
#include "observe/recording.h"
#include "reentrant.h"

#define MAXIMUM_OBJECTS 3000
#define SIZES           6

static const size_t sizes[SIZES] = {8, 64, 100, 512, 2000, 10000};
static void *objects[MAXIMUM_OBJECTS];

static size_t size_of_object(size_t index)
{
	return sizes[index % SIZES];
}

static struct block block_of(size_t index, uint64_t key)
{
	return (struct block){objects[index], size_of_object(index), key + index};
}

/* Each with contents of its own: what is handed out twice is seen. */
static void take_all(uint64_t key)
{
	for (size_t i = 0; i < MAXIMUM_OBJECTS; i++) {
		struct block block;

		objects[i] = tm_malloc(size_of_object(i));
		REQUIRE(objects[i] != NULL && in_window((uintptr_t)objects[i]), "not served by the heap");
		block = block_of(i, key);
		block_fill(&block);
	}
}

static void check_all(uint64_t key)
{
	for (size_t i = 0; i < MAXIMUM_OBJECTS; i++) {
		struct block block = block_of(i, key);

		block_check(&block);
	}
}

static void give_all(void)
{
	for (size_t i = 0; i < MAXIMUM_OBJECTS; i++)
		tm_free(objects[i]);
}

static void *fill_slabs(void *unused)
{
	static __thread void *filling[MAXIMUM_OBJECTS];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < MAXIMUM_OBJECTS; i++)
			filling[i] = tm_malloc(size_of_object(i));
		for (size_t i = 0; i < MAXIMUM_OBJECTS; i++)
			tm_free(filling[i]);
	}
	return unused;
}

/* Pages on their way to a thread that is gone are lost in a child: without the sums then. */
static void validate(void)
{
	REQUIRE_VALID(frontend_validate);
	REQUIRE_VALID(central_validate);
	REQUIRE_VALID(pageheap_validate);
}

/* What was the parent's stays as it is, and nothing of it is handed out again. */
static void live_on(void)
{
	static void *kept[MAXIMUM_OBJECTS];

	validate();
	check_all(1);
	memcpy(kept, objects, sizeof(objects));
	take_all(2);
	take_all(3);
	check_all(3);
	memcpy(objects, kept, sizeof(objects));
	check_all(1);
	give_all();
	fill_slabs(NULL);
	tm_malloc_trim(0);
	REQUIRE(held_in_slabs() == 0, "%zu objects in slabs after a trim", held_in_slabs());
	validate();
}

static void live_on_in_child(const void *unused)
{
	(void)unused;
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		child_check(slab_is_there(slab));
	live_on();
}

static void live_on_with_sums(const void *unused)
{
	REQUIRE_VALID(heap_validate);
	live_on_in_child(unused);
	REQUIRE_VALID(heap_validate);
}

static void expect_good_child(void (*call)(const void *))
{
	struct captured captured;

	capture_child(call, NULL, &captured);
	assert_string_equal(captured.text, "");
	assert_int_equal(captured.status, 0);
}

static pthread_barrier_t barrier;

/* Charged for what they were about to get, too. */
static void *hold_all_slabs(void *unused)
{
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		REQUIRE(slab_take_away(slab), "not to be taken");
		REQUIRE(slab_charge(slab, 64, 64) == 64, "cannot be charged");
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab)) {
		slab_discharge(slab, 64);
		slab_put_back(slab);
	}
	return unused;
}

static void fork_while_slabs_are_away(void **unused)
{
	pthread_t holder;

	(void)unused;
	fill_slabs(NULL);
	assert_true(held_in_slabs() != 0);
	take_all(1);
	pthread_barrier_init(&barrier, NULL, 2);
	holder = thread_start(hold_all_slabs, NULL);
	pthread_barrier_wait(&barrier);
	expect_good_child(live_on_with_sums);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		assert_false(slab_is_there(slab));
	pthread_barrier_wait(&barrier);
	pthread_join(holder, NULL);
	pthread_barrier_destroy(&barrier);
	check_all(1);
	give_all();
	require_all_given_back();
}

static bool enough;

static void *drain_on(void *unused)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		tm_malloc_trim(0);
	return unused;
}

static void *fill_on(void *unused)
{
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		fill_slabs(NULL);
	return unused;
}

/* Forks wherever two other threads are at the moment. */
static void fork_while_slabs_are_drained(void **unused)
{
	pthread_t drainer;
	pthread_t filler;

	(void)unused;
	enough = false;
	take_all(1);
	drainer = thread_start(drain_on, NULL);
	filler = thread_start(fill_on, NULL);
	for (int i = 0; i < (SANITIZED ? 20 : 50); i++)
		expect_good_child(live_on_in_child);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	pthread_join(drainer, NULL);
	pthread_join(filler, NULL);
	check_all(1);
	give_all();
	require_all_given_back();
}

/* A handler that forks has interrupted this thread in the middle of a drain. In the child, the drain goes on. */
static void go_on_behind_the_door(const void *unused)
{
	(void)unused;
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		child_check(!slab_is_there(slab));
	fill_slabs(NULL);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		slab_put_back(slab);
	door_leave();
	live_on();
}

static void fork_behind_the_door(void **unused)
{
	(void)unused;
	fill_slabs(NULL);
	take_all(1);
	assert_true(door_enter());
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		assert_true(slab_take_away(slab));
	expect_good_child(go_on_behind_the_door);
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		slab_put_back(slab);
	door_leave();
	check_all(1);
	give_all();
	require_all_given_back();
}

static int handled;
static bool from_heap;

static void allocate_in_handler(int signal)
{
	struct block block = {tm_malloc(100), 100, 7};

	(void)signal;
	REQUIRE(block.start != NULL, "out of memory");
	from_heap = in_window((uintptr_t)block.start);
	block_fill(&block);
	block_check(&block);
	tm_free(block.start);
	handled++;
}

static void handler_behind_the_door(void **unused)
{
	struct sigaction action = {.sa_handler = allocate_in_handler};
	struct statistics before;
	struct statistics after;

	(void)unused;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	handled = 0;
	/* On every slab, as the kernel may move this thread: or else it would be served by mappings, now and then. */
	for (struct slab *slab = next_slab(NULL); slab != NULL; slab = next_slab(slab))
		assert_true(slab_is_there(slab));
	for (int i = 0; i < 100; i++) {
		fill_slabs(NULL);
		statistics_read(&before);
		assert_true(door_enter());
		raise(SIGUSR1);
		statistics_read(&after);
		door_leave();
		assert_int_equal(handled, i + 1);
		assert_int_equal(after.cached, before.cached);
		assert_int_equal(after.in_use, before.in_use);
		if (from_heap)
			break;
	}
	assert_true(from_heap);
	/* With nothing there, behind the door it is a mapping. */
	tm_malloc_trim(0);
	assert_true(door_enter());
	raise(SIGUSR1);
	door_leave();
	assert_false(from_heap);
	raise(SIGUSR1);
	assert_true(from_heap);
	require_all_given_back();
}

int tm_tiermalloc_record_start(const char *path);
int tm_tiermalloc_record_stop(void);

static void *use_door(void *unused)
{
	/* Too large for any fast path. */
	tm_free(tm_malloc(LARGEST_CLASS_SIZE + 1));
	return unused;
}

static void *find_closed(void *unused)
{
	void *object = tm_malloc(64);

	REQUIRE(thread_state.recorder != NULL, "a thread goes on unrecorded");
	tm_free(object);
	return unused;
}

static void recording_closes_the_fast_paths(void **unused)
{
	(void)unused;
	for (int i = 0; i < 3; i++) {
		fill_slabs(NULL);
		assert_int_equal(rseq_process.open_numbers, rseq_process.numbers);
		assert_int_equal(tm_tiermalloc_record_start("/dev/null/nothing"), 0);
		assert_int_equal(rseq_process.open_numbers, 0);
		find_closed(NULL);
		run_in_thread(find_closed, NULL);
		fill_slabs(NULL);
		assert_int_equal(rseq_process.open_numbers, 0);
		/* Slabs serve as before, behind the door. */
		assert_true(held_in_slabs() != 0);
		assert_int_equal(tm_tiermalloc_record_stop(), 0);
		use_door(NULL);
		assert_null(thread_state.recorder);
		assert_int_equal(rseq_process.open_numbers, rseq_process.numbers);
	}
	require_all_given_back();
}

/* Who was leaving the door when recording began may have opened them, for all. */
static void recording_closes_what_was_opened_late(void **unused)
{
	(void)unused;
	use_door(NULL);
	assert_int_equal(tm_tiermalloc_record_start("/dev/null/nothing"), 0);
	frontend_open_fast_paths();
	assert_int_equal(rseq_process.open_numbers, rseq_process.numbers);
	run_in_thread(use_door, NULL);
	assert_int_equal(rseq_process.open_numbers, 0);
	assert_int_equal(tm_tiermalloc_record_stop(), 0);
	use_door(NULL);
	require_all_given_back();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork_while_slabs_are_away),
		cmocka_unit_test(fork_while_slabs_are_drained),
		cmocka_unit_test(fork_behind_the_door),
		cmocka_unit_test(handler_behind_the_door),
		cmocka_unit_test(recording_closes_the_fast_paths),
		cmocka_unit_test(recording_closes_what_was_opened_late),
	};

	if (reason_to_skip() != NULL)
		return skip_all(reason_to_skip());
#ifdef __SANITIZE_THREAD__
	return skip_all("the thread sanitizer does not see how objects change hands in sections");
#endif
	return cmocka_run_group_tests_name("cpu process", tests, NULL, NULL);
}

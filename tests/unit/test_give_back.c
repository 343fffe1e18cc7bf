/*
 * Giving back outside of the lock: what others can do in the middle of it, where the system refuses, and in a child that was
 * forked in the middle. The call to the system is where all of this happens.
 */
#include "support.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/lock.h"
#include "pageheap_model.h"

#define MEBIBYTE ((size_t)1 << 20)
#define RUNS     128

static const struct page_request quarter = {
	.pages = (MEBIBYTE / 4) >> PAGE_SHIFT, .alignment = 1, .kind = PAGES_FEW_OBJECTS};

static unsigned calls;
static bool refuse;

static void check_heap(void)
{
	struct pageheap_statistics now = heap_statistics();
	const char *wrong = pageheap_validate();

	assert_null(wrong);
	assert_int_equal(now.used + now.free + now.released, now.mapped);
}

/* Nothing in use, nothing backed; then runs with holes of every length, and free hugepages. */
static int prepare(void **unused)
{
	(void)unused;
	memset(&model, 0, sizeof(model));
	calls = 0;
	refuse = false;
	pageheap_set_retain((size_t)1 << 40);
	pageheap_release(0);
	for (size_t i = 0; i < RUNS; i++) {
		if (!model_allocate(&model.runs[i], &quarter))
			return -1;
		memset((void *)model.runs[i].address, 0x5a, MEBIBYTE / 4);
		model_mark(&model.runs[i], 0);
	}
	for (size_t i = 0; i < RUNS; i++) {
		if (i % 3 != 0 || (i > 40 && i < 80))
			model_free(&model.runs[i]);
	}
	return 0;
}

static int clean_up(void **unused)
{
	(void)unused;
	os_fault = NULL;
	model_free_all();
	pageheap_release(0);
	return heap_statistics().free == 0 ? 0 : -1;
}

/* Takes, writes to and gives back all that there is room for in the runs. */
static void work(void)
{
	bool ours[RUNS];

	for (size_t i = 0; i < RUNS; i++) {
		ours[i] = model.runs[i].address == 0;
		if (ours[i]) {
			assert_true(model_allocate(&model.runs[i], &quarter));
			memset((void *)model.runs[i].address, 0x77, MEBIBYTE / 4);
			model_mark(&model.runs[i], 0);
		}
	}
	check_heap();
	for (size_t i = 0; i < RUNS; i++) {
		if (ours[i])
			model_free(&model.runs[i]);
	}
	check_heap();
	model_check_all();
}

static bool work_in_call(enum os_call call)
{
	if (call != OS_RELEASE)
		return false;
	if (calls++ < 20) {
		check_heap();
		work();
	}
	return refuse;
}

static void others_work_meanwhile(void **unused)
{
	(void)unused;
	os_fault = work_in_call;
	assert_true(pageheap_release(0) > 0);
	os_fault = NULL;
	assert_true(calls > 4);
	check_heap();
	pageheap_release(0);
	assert_int_equal(heap_statistics().free, 0);
	model_check_all();
}

static void refused(void **unused)
{
	struct pageheap_statistics before = heap_statistics();

	(void)unused;
	refuse = true;
	os_fault = work_in_call;
	assert_int_equal(pageheap_release(0), 0);
	os_fault = NULL;
	assert_true(calls > 0);
	assert_int_equal(heap_statistics().released_total, before.released_total);
	check_heap();
	model_check_all();
}

/* The kinds of exits of a child: an assertion that fails in it exits with 1. */
static void expect_good_child(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static pid_t forked;

static bool fork_in_call(enum os_call call)
{
	if (call != OS_RELEASE || calls++ != 0)
		return false;
	forked = fork();
	if (forked == 0)
		pageheap_adopt_in_child();
	return false;
}

/* As from a signal handler: the child finishes what it was about. */
static void forked_by_the_thread_itself(void **unused)
{
	(void)unused;
	os_fault = fork_in_call;
	pageheap_release(0);
	os_fault = NULL;
	check_heap();
	assert_int_equal(heap_statistics().free, 0);
	work();
	if (forked == 0)
		_exit(0);
	expect_good_child(forked);
}

static sem_t in_call;
static sem_t go_on;

static bool wait_in_call(enum os_call call)
{
	if (call == OS_RELEASE && calls++ == 0) {
		sem_post(&in_call);
		sem_wait(&go_on);
	}
	return false;
}

static void *give_back(void *unused)
{
	pageheap_release(0);
	return unused;
}

static void forked_by_another_thread(void **unused)
{
	struct pageheap_statistics before = heap_statistics();
	pthread_t thread;
	pid_t child;

	(void)unused;
	sem_init(&in_call, 0, 0);
	sem_init(&go_on, 0, 0);
	os_fault = wait_in_call;
	assert_int_equal(pthread_create(&thread, NULL, give_back, NULL), 0);
	sem_wait(&in_call);
	lock_acquire(pageheap_lock());
	child = fork();
	if (child == 0) {
		lock_adopt_in_child(pageheap_lock());
		pageheap_adopt_in_child();
		lock_release(pageheap_lock());
		check_heap();
		assert_int_equal(heap_statistics().free, before.free);
		assert_int_equal(heap_statistics().used, before.used);
		work();
		pageheap_release(0);
		assert_int_equal(heap_statistics().free, 0);
		check_heap();
		_exit(0);
	}
	lock_release(pageheap_lock());
	expect_good_child(child);
	check_heap();
	work();
	sem_post(&go_on);
	pthread_join(thread, NULL);
	os_fault = NULL;
	pageheap_release(0);
	check_heap();
	assert_int_equal(heap_statistics().free, 0);
}

#define GIVE_BACK_TEST(name) cmocka_unit_test_setup_teardown(name, prepare, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GIVE_BACK_TEST(others_work_meanwhile),
		GIVE_BACK_TEST(refused),
		GIVE_BACK_TEST(forked_by_the_thread_itself),
		GIVE_BACK_TEST(forked_by_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The kernel's side of restartable sequences: the list of CPUs, the C library's area, the number, the barrier; and areas of our own,
 * for which the program runs itself again with the C library's registration switched off. What the kernel refuses is refused by a
 * filter of the test's.
 */
#include "slab_test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/arena.h"
#include "reentrant.h"

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

#define WITHOUT_C_LIBRARY "GLIBC_TUNABLES=glibc.pthread.rseq=0"

/* Argument of the second run: nothing is refused there, or rseq. */
#define OWN     "own"
#define REFUSED "refused"

/* Threads that come and go. */
#define TURNOVER (SANITIZED ? 1000 : 10000)

static void check_list(const char *text, uint32_t expected)
{
	uint32_t numbers = rseq_numbers_in_list(text, strlen(text));

	if (numbers != expected)
		fail_msg("\"%s\": %u numbers, not %u", text, numbers, expected);
}

static void lists_of_cpus(void **unused)
{
	(void)unused;
	check_list("0\n", 1);
	check_list("0", 1);
	check_list("0-3\n", 4);
	check_list("0-3", 4);
	check_list("0,4-7,63\n", 64);
	check_list("63,0-3\n", 64);
	check_list("0-127,8191", 8192);
	check_list("0-8191\n", 8192);
	check_list("007", 8);
	/* Without a number, or with more than there can be. */
	check_list("", 0);
	check_list("\n", 0);
	check_list("-", 0);
	check_list("0-8192\n", 0);
	check_list("0-4294967295", 0);
	check_list("0-4294967296", 0);
	check_list("18446744073709551617", 0);
	/* Something else. */
	check_list("none", 0);
	check_list("0-3 CPUs", 0);
	check_list("0x10", 0);
	check_list("+1", 0);
	/* Not beyond its length. */
	assert_int_equal(rseq_numbers_in_list("0-15", 3), 2);
	assert_int_equal(rseq_numbers_in_list("0-15", 0), 0);
}

static struct rseq_area *area_of_c_library(void)
{
	if (&__rseq_size == NULL || __rseq_size == 0)
		return NULL;
	return (struct rseq_area *)((uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset);
}

static void use_heap(void)
{
	tm_free(tm_malloc(64));
}

static void *check_area_of_c_library(void *unused)
{
	use_heap();
	REQUIRE(thread_state.area == area_of_c_library(), "another area than the C library's");
	REQUIRE(rseq_number(thread_state.area) < rseq_process.numbers, "number %u", rseq_number(thread_state.area));
	return unused;
}

static void area_is_the_c_librarys(void **unused)
{
	if (area_of_c_library() == NULL) {
		not_tested("the C library's area", "it has none");
		return;
	}
	check_area_of_c_library(NULL);
	run_in_thread(check_area_of_c_library, *unused);
}

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

/* The concurrency id, if the kernel says that its area has it, whatever the C library has been told. */
static void which_number(void **unused)
{
	bool has_id = getauxval(AT_RSEQ_FEATURE_SIZE) >= 28;

	(void)unused;
	assert_int_equal(rseq_process.number_field, has_id ? 24 : 4);
	assert_int_equal(rseq_number_is_concurrency_id(), has_id);
	assert_true(rseq_process.numbers >= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(rseq_process.open_numbers, rseq_process.numbers);
	assert_true(closed_rseq_area.cpu_id >= RSEQ_NUMBERS && closed_rseq_area.mm_cid >= RSEQ_NUMBERS);
}

/* Returns false where there is nothing to filter with. */
static bool refuse(uint32_t call)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {COUNT_OF(code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

#define NOTHING_TO_FILTER_WITH 77

static void use_fence(const void *refused)
{
	struct slab *slab;
	void *object = tm_malloc(64);
	size_t held;

	tm_free(object);
	errno = 1234;
	child_check(rseq_fence());
	if (refused == NULL)
		return;
	if (!refuse(SYS_membarrier))
		_exit(NOTHING_TO_FILTER_WITH);
	slab = next_slab(NULL);
	held = held_in_slabs();
	errno = 1234;
	child_check(!rseq_fence());
	child_check(!slab_take_away(slab));
	child_check(errno == 1234);
	/* It is there as before, and would be somebody else's to take. */
	child_check(slab_is_there(slab));
	child_check(slab->taker == NULL);
	/* Nothing can be drained, and all goes on. */
	tm_malloc_trim(0);
	child_check(held_in_slabs() == held);
	for (int i = 0; i < 1000; i++)
		use_heap();
	child_check(heap_validate() == NULL);
}

static void fence(void **unused)
{
	struct captured captured;

	(void)unused;
	errno = 1234;
	assert_true(rseq_fence());
	assert_int_equal(errno, 1234);
	capture_child(use_fence, NULL, &captured);
	assert_string_equal(captured.text, "");
	assert_int_equal(captured.status, 0);
}

static void fence_is_refused(void **unused)
{
	struct captured captured;

	(void)unused;
	capture_child(use_fence, "refused", &captured);
	assert_string_equal(captured.text, "");
	if (WIFEXITED(captured.status) && WEXITSTATUS(captured.status) == NOTHING_TO_FILTER_WITH)
		not_tested("a refused barrier", "there are no filters for system calls");
	else
		assert_int_equal(captured.status, 0);
}

/* From here to second_run: in a process where the C library has registered nothing. */

static cpu_set_t allowed; /* CPUs that the process may run on */

/* Lets this thread run on one of them only. */
static void pin(size_t index)
{
	cpu_set_t one;
	int cpu = 0;

	while (!CPU_ISSET(cpu, &allowed) || index-- != 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
}

static uint32_t numbers_seen[2]; /* by two threads, plus one */
static bool different;

/* As soon as both run, each on its CPU, they see different numbers. If they never do, this does not end. */
static void *see_number(void *argument)
{
	size_t index = (size_t)argument;
	int tries = 0;

	pin(index);
	use_heap();
	REQUIRE(thread_state.area != NULL, "not registered");
	while (!load_relaxed(&different)) {
		uint32_t own = rseq_number(thread_state.area) + 1;
		uint32_t other;

		__atomic_store_n(&numbers_seen[index], own, __ATOMIC_SEQ_CST);
		other = __atomic_load_n(&numbers_seen[1 - index], __ATOMIC_SEQ_CST);
		if (other != 0 && other != own)
			store_relaxed(&different, true);
		if (++tries % 1000 == 0)
			sched_yield();
		REQUIRE(own - 1 < rseq_process.numbers, "number %u", own - 1);
		REQUIRE(load_relaxed(&thread_state.area->cpu_id) == (uint32_t)sched_getcpu(), "CPU %u",
			thread_state.area->cpu_id);
	}
	return NULL;
}

static struct rseq_area *last_area;

static void *leave_area_behind(void *unused)
{
	use_heap();
	REQUIRE(thread_state.area != NULL, "not registered");
	REQUIRE((int32_t)load_relaxed(&thread_state.area->cpu_id) >= 0, "the kernel writes nothing there");
	last_area = thread_state.area;
	return unused;
}

static void count_areas(void)
{
	struct arena_statistics before;
	struct arena_statistics after;

	/* Slabs that are made on the way are no leak. */
	for (uint32_t number = 0; number < rseq_process.numbers; number++)
		REQUIRE(slab_of(number) != NULL, "no slab");
	arena_read_statistics(&before);
	for (int i = 0; i < TURNOVER; i++) {
		run_in_thread(leave_area_behind, NULL);
		/* The kernel says so when it forgets an area. */
		REQUIRE(last_area->cpu_id == UINT32_MAX, "still registered");
	}
	arena_read_statistics(&after);
	REQUIRE(after.used == before.used && after.mapped == before.mapped, "%zu bytes of metadata in use after %zu",
		after.used, before.used);
}

static void *close_with_a_handler(void *unused)
{
	use_heap();
	/* As a signal handler would find it at the end of the thread: no area, and the slabs are out of reach. */
	REQUIRE(door_enter(), "behind the door");
	frontend_close_thread();
	REQUIRE(thread_state.area == NULL && thread_state.rseq_offset == 0, "it has still an area");
	door_leave();
	use_heap();
	return unused;
}

static int own_registration(void)
{
	if (area_of_c_library() != NULL) {
		not_tested("areas of our own", "this C library registers its own in any case");
		return 0;
	}
	REQUIRE(slabs_serve(), "served by %s", frontend_kind());
	use_heap();
	leave_area_behind(NULL);
	REQUIRE(thread_state.phase == THREAD_OPEN && thread_state.cache == NULL, "it has a cache");
	count_areas();
	run_in_thread(close_with_a_handler, NULL);
	REQUIRE(sched_getaffinity(0, sizeof(allowed), &allowed) == 0, "sched_getaffinity");
	if (CPU_COUNT(&allowed) > 1) {
		pthread_t other = thread_start(see_number, (void *)1);

		see_number((void *)0);
		pthread_join(other, NULL);
	} else {
		not_tested("numbers of two CPUs", "there is one");
	}
	REQUIRE_VALID(heap_validate);
	return 0;
}

static int refused_registration(void)
{
	REQUIRE(area_of_c_library() == NULL, "the C library has registered all the same");
	REQUIRE(!slabs_serve(), "served by %s", frontend_kind());
	use_heap();
	REQUIRE(thread_state.cache != NULL && thread_state.area == NULL, "no cache");
	REQUIRE_VALID(heap_validate);
	return 0;
}

static void second_run(const void *how)
{
	char *environment[] = {WITHOUT_C_LIBRARY, "TIERMALLOC_CONF=frontend:cpu", NULL};
	char *arguments[] = {"test_rseq", (char *)(uintptr_t)how, NULL};

	if (strcmp(how, REFUSED) == 0 && !refuse(SYS_rseq))
		_exit(NOTHING_TO_FILTER_WITH);
	execve("/proc/self/exe", arguments, environment);
	_exit(127);
}

static void run_again(const char *how)
{
	struct captured captured;

	capture_child(second_run, how, &captured);
	assert_string_equal(captured.text, "");
	if (WIFEXITED(captured.status) && WEXITSTATUS(captured.status) == NOTHING_TO_FILTER_WITH)
		not_tested(how, "there are no filters for system calls");
	else
		assert_int_equal(captured.status, 0);
}

static void areas_of_our_own(void **unused)
{
	(void)unused;
	run_again(OWN);
}

static void registration_is_refused(void **unused)
{
	(void)unused;
	run_again(REFUSED);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_cpus),
		cmocka_unit_test(area_is_the_c_librarys),
		cmocka_unit_test(which_number),
		cmocka_unit_test(fence),
		cmocka_unit_test(fence_is_refused),
		cmocka_unit_test(areas_of_our_own),
		cmocka_unit_test(registration_is_refused),
	};

	if (count > 1)
		return strcmp(arguments[1], OWN) == 0 ? own_registration() : refused_registration();
	if (reason_to_skip() != NULL)
		return skip_all(reason_to_skip());
	return cmocka_run_group_tests_name("rseq", tests, NULL, NULL);
}

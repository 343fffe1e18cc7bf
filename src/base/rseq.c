/* Registration of restartable sequences, and membarrier. */
#define _GNU_SOURCE
#include "base/rseq.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"

/* Not in the headers of older kernels. */
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN        28
#endif

/* The first registration that the kernel knew, and still takes; mm_cid lies inside. */
#define FIRST_AREA_SIZE 32

#define UNREGISTER 1

/* What stands before each abort handler. It has to be the C library's: the kernel knows one per thread. */
#if defined(__x86_64__)
#define SIGNATURE 0x53053053
#else
#define SIGNATURE 0xd428bc00
#endif

/* glibc's since 2.35. The size is 0 if it has registered nothing. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

CACHE_ALIGNED struct rseq_area closed_rseq_area = {
	.cpu_id_start = UINT32_MAX, .cpu_id = UINT32_MAX, .mm_cid = UINT32_MAX};
CACHE_ALIGNED struct rseq_process rseq_process = {.number_field = offsetof(struct rseq_area, cpu_id)};

uint32_t rseq_numbers_in_list(const char *text, size_t length)
{
	uint32_t number = 0;
	uint32_t end = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == ',' || text[i] == '-' || text[i] == '\n') {
			number = 0;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			return 0;
		number = number * 10 + (uint32_t)(text[i] - '0');
		if (number >= RSEQ_NUMBERS)
			return 0;
		end = (uint32_t)maximum(end, number + 1);
	}
	return end;
}

/* Of all CPUs that can ever be there. Without /sys, as many as the kernel's masks have bits. */
static uint32_t possible_numbers(void)
{
	char text[4096];
	uint32_t numbers = 0;
	int file = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (file >= 0) {
		length = read(file, text, sizeof(text));
		close(file);
		if (length > 0 && (size_t)length < sizeof(text))
			numbers = rseq_numbers_in_list(text, (size_t)length);
	}
	if (numbers == 0) {
		length = syscall(SYS_sched_getaffinity, 0, sizeof(text), text);
		if (length > 0)
			numbers = (uint32_t)minimum((size_t)length * 8, RSEQ_NUMBERS);
	}
	return numbers;
}

static bool has_mm_cid(void)
{
	return getauxval(AT_RSEQ_FEATURE_SIZE) >= offsetof(struct rseq_area, padding);
}

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

bool rseq_begin(void)
{
	int saved = errno;
	uint32_t numbers = possible_numbers();
	long commands = membarrier(MEMBARRIER_CMD_QUERY);
	bool possible = numbers != 0 && commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) != 0 &&
			membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ) == 0;

	if (possible) {
		if (has_mm_cid())
			rseq_process.number_field = offsetof(struct rseq_area, mm_cid);
		rseq_process.numbers = numbers;
	}
	errno = saved;
	return possible;
}

static bool registers_itself(void)
{
	return &__rseq_size != NULL && __rseq_size != 0;
}

/* The kernel wants to be told the size that it has said, where that is more than the first one. */
static uint32_t size_to_register(void)
{
	return (uint32_t)maximum(getauxval(AT_RSEQ_FEATURE_SIZE), FIRST_AREA_SIZE);
}

static bool call(struct rseq_area *area, int flags)
{
	int saved = errno;
	bool done = syscall(SYS_rseq, area, size_to_register(), flags, SIGNATURE) == 0;

	errno = saved;
	return done;
}

static struct rseq_area *register_own(void)
{
	struct rseq_area *area;

	if (size_to_register() > ARENA_UNIT || getauxval(AT_RSEQ_ALIGN) > ARENA_UNIT)
		return NULL;
	area = arena_allocate(ARENA_UNIT);
	if (area == NULL)
		return NULL;
	area->cpu_id_start = area->cpu_id = UINT32_MAX;
	if (call(area, 0))
		return area;
	arena_free(area, ARENA_UNIT);
	return NULL;
}

struct rseq_area *rseq_enter_thread(void)
{
	struct rseq_area *area;

	if (!registers_itself())
		return register_own();
	area = (struct rseq_area *)((uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset);
	/* Negative: this thread has not been registered. */
	return (int32_t)load_relaxed(&area->cpu_id) >= 0 ? area : NULL;
}

bool rseq_leave_thread(struct rseq_area *area)
{
	if (registers_itself())
		return false;
	/* Not ours to reuse if the kernel goes on writing to it. */
	if (call(area, UNREGISTER))
		arena_free(area, ARENA_UNIT);
	return true;
}

bool rseq_fence(void)
{
	int saved = errno;
	bool done = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) == 0;

	/* A forked child may have to register anew. */
	if (!done && errno == EPERM && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ) == 0)
		done = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) == 0;
	errno = saved;
	return done;
}

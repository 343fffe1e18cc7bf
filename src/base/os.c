/* OS calls of Linux. */
#define _GNU_SOURCE
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MAP_HEAP       (MAP_PRIVATE | MAP_ANONYMOUS)
#define HUGEPAGE_BYTES ((size_t)2 << 20)

bool (*os_fault)(enum os_call call);
uint64_t (*os_clock)(void);

static bool fault(enum os_call call)
{
	return unlikely(os_fault != NULL) && os_fault(call);
}

enum os_result os_map(uintptr_t address, size_t bytes)
{
	int saved = errno;
	enum os_result result = OS_DONE;
	void *mapped;

	if (fault(OS_MAP))
		return OS_FAILED;
	mapped = mmap((void *)address, bytes, PROT_READ | PROT_WRITE, MAP_HEAP | MAP_FIXED_NOREPLACE, -1, 0);
	if (mapped == MAP_FAILED) {
		result = errno == EEXIST ? OS_TAKEN : OS_FAILED;
	} else if ((uintptr_t)mapped != address) {
		/* Before Linux 4.17 the flag is unknown and the address a hint. */
		munmap(mapped, bytes);
		result = OS_TAKEN;
	}
	errno = saved;
	return result;
}

uintptr_t os_map_anywhere(size_t bytes)
{
	int saved = errno;
	void *mapped;

	if (fault(OS_MAP))
		return 0;
	mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_HEAP, -1, 0);
	errno = saved;
	return mapped == MAP_FAILED ? 0 : (uintptr_t)mapped;
}

enum os_result os_map_over(uintptr_t address, size_t bytes)
{
	int saved = errno;
	void *mapped;

	if (fault(OS_MAP))
		return OS_FAILED;
	mapped = mmap((void *)address, bytes, PROT_READ | PROT_WRITE, MAP_HEAP | MAP_FIXED, -1, 0);
	errno = saved;
	return mapped == MAP_FAILED ? OS_FAILED : OS_DONE;
}

enum os_result os_unmap(uintptr_t address, size_t bytes)
{
	int saved = errno;
	int failed;

	if (fault(OS_UNMAP))
		return OS_FAILED;
	failed = munmap((void *)address, bytes);
	errno = saved;
	return failed ? OS_FAILED : OS_DONE;
}

enum os_result os_release(uintptr_t address, size_t bytes)
{
	int saved = errno;
	int failed;

	if (fault(OS_RELEASE))
		return OS_FAILED;
	/* Fails for memory that the program has locked (mlockall): it stays, and keeps its contents. */
	failed = madvise((void *)address, bytes, MADV_DONTNEED);
	errno = saved;
	return failed ? OS_FAILED : OS_DONE;
}

void os_populate(uintptr_t address, size_t bytes)
{
	int saved = errno;

	if (!fault(OS_POPULATE))
		madvise((void *)address, bytes, MADV_POPULATE_WRITE);
	errno = saved;
}

/* Reads the start of a file into a string; empty if it can't be read. */
static void read_start(const char *path, char *text, size_t capacity)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = 0;

	if (file >= 0) {
		length = read(file, text, capacity - 1);
		close(file);
	}
	text[length > 0 ? length : 0] = '\0';
}

enum os_huge_pages os_huge_pages(void)
{
	int saved = errno;
	char size[24];
	char choices[64];
	enum os_huge_pages result = OS_HUGE_NEVER;

	read_start("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", size, sizeof(size));
	read_start("/sys/kernel/mm/transparent_hugepage/enabled", choices, sizeof(choices));
	if (strcmp(size, "2097152\n") == 0) {
		if (strstr(choices, "[always]") != NULL)
			result = OS_HUGE_ALWAYS;
		else if (strstr(choices, "[madvise]") != NULL)
			result = OS_HUGE_ADVISED;
	}
	errno = saved;
	return result;
}

enum os_result os_advise_huge(uintptr_t address, size_t bytes, bool huge)
{
	int saved = errno;
	int failed;

	if (fault(OS_ADVISE))
		return OS_FAILED;
	failed = madvise((void *)address, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	errno = saved;
	return failed ? OS_FAILED : OS_DONE;
}

size_t os_resident(uintptr_t address, size_t bytes)
{
	unsigned char in_core[HUGEPAGE_BYTES / 4096];
	size_t pages = bytes / os_page_size();
	int saved = errno;
	size_t resident = 0;

	if (mincore((void *)address, bytes, in_core) != 0)
		pages = 0;
	for (size_t page = 0; page < pages; page++)
		resident += in_core[page] & 1;
	errno = saved;
	return resident * os_page_size();
}

/* Puts fresh memory where there is a mapping of ours, or where mremap has just removed one. */
static bool map_fresh(uintptr_t address, size_t bytes)
{
	return mmap((void *)address, bytes, PROT_READ | PROT_WRITE, MAP_HEAP | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/*
 * One mremap of pages that lie in one mapping of the kernel. Before Linux 6.17 it removes the target before it
 * looks at the source: if it fails, the target is mapped anew. errno is mremap's.
 */
static enum os_result move_mapping(uintptr_t from, uintptr_t to, size_t bytes)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	int error;

	if (mremap((void *)from, bytes, bytes, flags | MREMAP_DONTUNMAP, (void *)to) != MAP_FAILED)
		return OS_DONE;
	/* Since Linux 5.7 only; EFAULT says that there is more than one mapping. */
	if (errno == EINVAL && mremap((void *)from, bytes, bytes, flags, (void *)to) != MAP_FAILED)
		return os_map(from, bytes) == OS_DONE ? OS_DONE : OS_TAKEN;
	error = errno;
	map_fresh(to, bytes);
	errno = error;
	return OS_FAILED;
}

/*
 * An extent that has been moved and has grown since consists of several mappings, which one mremap does not take
 * (before Linux 6.17). They meet within few hugepages: these are copied, the others moved.
 */
static enum os_result move_by_hugepage(uintptr_t from, uintptr_t to, size_t bytes)
{
	enum os_result result = OS_DONE;

	for (size_t at = 0; at < bytes; at += HUGEPAGE_BYTES) {
		size_t part = minimum(HUGEPAGE_BYTES, bytes - at);
		enum os_result moved = move_mapping(from + at, to + at, part);

		if (moved == OS_TAKEN) {
			result = OS_TAKEN;
		} else if (moved == OS_FAILED) {
			memcpy((void *)(to + at), (void *)(from + at), part);
			/* Not madvise, which refuses locked memory: the caller counts on zeros. */
			if (!map_fresh(from + at, part))
				memset((void *)(from + at), 0, part);
		}
	}
	return result;
}

/* What a trial has shown. */
enum moving {
	MOVING_UNKNOWN, /* nothing: no memory, memory is locked, or another thread came in between */
	MOVING_WORKS,
	MOVING_DIFFERS,
};

/*
 * Moves a page, as a trial: the old one must still be there, and the new one's memory must go. Unmaps both, but for an old
 * one that is not this function's any more: another thread may have got its address.
 */
static enum moving try_moving(uintptr_t from, size_t bytes)
{
	uintptr_t to = from + bytes;
	unsigned char in_core;
	enum moving shown = MOVING_UNKNOWN;
	enum os_result result;
	bool left;

	*(char *)from = 1;
	result = move_mapping(from, to, bytes);
	/* Where mincore is forbidden the page is taken to be there. */
	left = result != OS_TAKEN && (mincore((void *)from, 1, &in_core) == 0 || errno != ENOMEM);
	if (result == OS_DONE && !left)
		shown = MOVING_DIFFERS;
	else if (result == OS_DONE && madvise((void *)to, bytes, MADV_DONTNEED) == 0)
		shown = *(volatile char *)to == 0 ? MOVING_WORKS : MOVING_DIFFERS;
	munmap((void *)(left ? from : to), left ? 2 * bytes : bytes);
	return shown;
}

/*
 * Either answer holds for the whole process. A trial does harm where the answer is no: an emulator that takes the old page for
 * unmapped gives its address to another thread, and then the trial unmaps what that thread has there. (Tried again at each move,
 * qemu 7.2 with a bound on addresses ended one in 12 to 20 runs of four threads.)
 */
bool os_can_move(void)
{
	static uint32_t known; /* enum moving */
	int saved = errno;
	size_t bytes = os_page_size();
	void *pages;

	if (likely(load_relaxed(&known) != MOVING_UNKNOWN))
		return load_relaxed(&known) == MOVING_WORKS;
	pages = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_HEAP, -1, 0);
	if (pages != MAP_FAILED)
		store_relaxed(&known, (uint32_t)try_moving((uintptr_t)pages, bytes));
	errno = saved;
	return load_relaxed(&known) == MOVING_WORKS;
}

enum os_result os_move(uintptr_t from, uintptr_t to, size_t bytes)
{
	int saved = errno;
	enum os_result result;

	if (fault(OS_MOVE) || !os_can_move())
		return OS_FAILED;
	result = move_mapping(from, to, bytes);
	if (result == OS_FAILED && errno == EFAULT)
		result = move_by_hugepage(from, to, bytes);
	errno = saved;
	return result;
}

size_t os_page_size(void)
{
	static size_t page_size;

	if (unlikely(page_size == 0))
		page_size = (size_t)getauxval(AT_PAGESZ);
	return page_size;
}

static bool overcommit_forbidden(void)
{
	char mode = '0';
	int file = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return false;
	if (read(file, &mode, 1) != 1)
		mode = '0';
	close(file);
	return mode == '2';
}

bool os_addresses_are_scarce(void)
{
	struct rlimit limit;
	int saved = errno;
	bool scarce = (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) ||
		      (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY);
	static int forbidden = -1;

	if (load_relaxed(&forbidden) < 0)
		store_relaxed(&forbidden, overcommit_forbidden());
	errno = saved;
	return scarce || load_relaxed(&forbidden) > 0;
}

uint64_t os_random(void)
{
	int saved = errno;
	uint64_t bits;

	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits)) {
		const void *seed = (const void *)getauxval(AT_RANDOM);

		bits = os_milliseconds() * UINT64_C(0x9e3779b97f4a7c15);
		if (seed != NULL)
			memcpy(&bits, (const char *)seed + 8, sizeof(bits));
		/* The same bytes seed the C library's stack protector: show no more of them than a product does. */
		bits *= UINT64_C(0xd6e8feb86659fd93);
	}
	errno = saved;
	return bits;
}

uint64_t os_milliseconds(void)
{
	struct timespec now;

	if (unlikely(os_clock != NULL))
		return os_clock();
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void os_sleep(uint32_t nanoseconds)
{
	struct timespec time = {.tv_nsec = nanoseconds};
	int saved = errno;

	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, NULL);
	errno = saved;
}

uint64_t os_thread_nanoseconds(void)
{
	struct timespec now;
	int saved = errno;
	int failed = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);

	errno = saved;
	return failed ? 0 : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

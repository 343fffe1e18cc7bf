/*
 * The calls to the system: what they leave alone, how they fail, and moving pages: also as kernels did it
 * before mremap took several mappings at once (6.17) and could leave the old addresses mapped (5.7), and not
 * where it is done as by qemu.
 *
 * The library's mremap and madvise are this file's: they ask the kernel, after doing what another one would have done.
 */
#include "support.h"

#include <sys/syscall.h>

#include "base/os.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PART ((size_t)2 << 20) /* what os_move takes at a time if it has to */

static bool one_mapping_at_a_time; /* before 6.17 */
static bool no_dontunmap;          /* before 5.7 */
static bool dontunmap_unheeded;    /* as if by qemu */
static bool release_unheeded;
static void *stolen;
static bool thief; /* another thread maps the old addresses as soon as they are free */

/* Whether one line of the process's list of mappings covers the range. */
static bool in_one_mapping(uintptr_t start, size_t bytes)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	bool inside = false;

	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned long from;
		unsigned long to;

		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= start && start + bytes <= to)
			inside = true;
	}
	fclose(maps);
	return inside;
}

int madvise(void *start, size_t bytes, int advice)
{
	return release_unheeded && advice == MADV_DONTNEED ? 0 : (int)syscall(SYS_madvise, start, bytes, advice);
}

void *mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...)
{
	va_list arguments;
	void *to;
	void *result;

	va_start(arguments, flags);
	to = va_arg(arguments, void *);
	va_end(arguments);
	if (no_dontunmap && (flags & MREMAP_DONTUNMAP)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	if (one_mapping_at_a_time && !in_one_mapping((uintptr_t)from, old_bytes)) {
		/* In this order: the target is gone by the time the source is looked at. */
		munmap(to, bytes);
		errno = EFAULT;
		return MAP_FAILED;
	}
	if (dontunmap_unheeded)
		flags &= ~MREMAP_DONTUNMAP;
	result = (void *)syscall(SYS_mremap, from, old_bytes, bytes, flags, to);
	if (thief && result != MAP_FAILED)
		stolen = mmap(from, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			      0);
	return result;
}

/* Addresses that nobody has. */
static uintptr_t stretch(size_t bytes)
{
	void *found = mmap(NULL, bytes + PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(found, MAP_FAILED);
	munmap(found, bytes + PART);
	return round_up((uintptr_t)found, PART);
}

static void fill(uintptr_t start, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 512)
		*(uint64_t *)(start + at) = at * 31 + 7;
}

static void assert_filled(uintptr_t start, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 512)
		assert_int_equal(*(uint64_t *)(start + at), at * 31 + 7);
}

static void assert_zero(uintptr_t start, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 8)
		assert_int_equal(*(uint64_t *)(start + at), 0);
}

/* Otherwise the address is a hint: before 4.17, and under qemu. */
static bool noreplace_is_known(uintptr_t taken)
{
	void *found = mmap((void *)taken, PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (found != MAP_FAILED)
		munmap(found, PART);
	return found == MAP_FAILED;
}

static void maps_and_unmaps(void **unused)
{
	uintptr_t place = stretch(PART);
	bool noreplace;

	(void)unused;
	errno = EXDEV;
	assert_int_equal(os_map(place, PART), OS_DONE);
	assert_int_equal(errno, EXDEV);
	assert_zero(place, PART);
	fill(place, PART);
	noreplace = noreplace_is_known(place);
	errno = EXDEV;
	assert_int_equal(os_map(place, PART), OS_TAKEN);
	assert_int_equal(os_map(place + PART / 2, PART), OS_TAKEN);
	assert_filled(place, PART);
	assert_int_equal(os_map_over(place, PART / 2), OS_DONE);
	assert_zero(place, PART / 2);
	assert_int_equal(*(uint64_t *)(place + PART / 2), PART / 2 * 31 + 7);
	assert_int_equal(os_release(place, PART), OS_DONE);
	assert_zero(place, PART);
	assert_int_equal(os_unmap(place, PART), OS_DONE);
	assert_int_equal(resident_pages(place, PART), SIZE_MAX);
	assert_int_equal(errno, ENOMEM); /* of mincore, just now */
	errno = EXDEV;
	/* Not in this address space, and not at all. */
#ifdef __SANITIZE_THREAD__
	(void)noreplace;
	not_tested("mapping at an impossible address", "this sanitizer takes it for a wish for address 0");
#else
	if (noreplace)
		assert_int_equal(os_map(UINTPTR_MAX - 2 * PART + 1, PART), OS_FAILED);
	else
		not_tested("mapping at an impossible address",
			   "no MAP_FIXED_NOREPLACE before Linux 4.17, and under qemu");
#endif
	assert_int_equal(os_map(place, SIZE_MAX / 2 / PART * PART), OS_FAILED);
	assert_int_equal(errno, EXDEV);
	if (madvise((void *)place, PART, MADV_DONTNEED) != 0) {
		errno = EXDEV;
		assert_int_equal(os_release(place, PART), OS_FAILED);
	} else {
		not_tested("giving back what is not mapped", "the system finds nothing wrong with it, as qemu does");
		errno = EXDEV;
	}
	assert_int_equal(os_map_anywhere(SIZE_MAX / 2 / PART * PART), 0);
	assert_int_equal(errno, EXDEV);
}

static void anywhere(void **unused)
{
	uintptr_t place = os_map_anywhere(3 * 4096);

	(void)unused;
	assert_int_not_equal(place, 0);
	assert_zero(place, 3 * 4096);
	assert_int_equal(os_unmap(place, 3 * 4096), OS_DONE);
}

static enum os_call failing;

static bool fail_kind(enum os_call call)
{
	return call == failing;
}

static void faults(void **unused)
{
	uintptr_t place = stretch(2 * PART);

	(void)unused;
	assert_int_equal(os_map(place, PART), OS_DONE);
	fill(place, PART);
	os_fault = fail_kind;
	failing = OS_MAP;
	assert_int_equal(os_map(place + PART, PART), OS_FAILED);
	assert_int_equal(os_map_over(place, PART), OS_FAILED);
	assert_int_equal(os_map_anywhere(PART), 0);
	failing = OS_UNMAP;
	assert_int_equal(os_unmap(place, PART), OS_FAILED);
	failing = OS_RELEASE;
	assert_int_equal(os_release(place, PART), OS_FAILED);
	failing = OS_ADVISE;
	assert_int_equal(os_advise_huge(place, PART, true), OS_FAILED);
	failing = OS_MOVE;
	assert_int_equal(os_move(place, place + PART, PART), OS_FAILED);
	os_fault = NULL;
	assert_filled(place, PART);
	assert_int_equal(os_unmap(place, PART), OS_DONE);
}

/* What is resident, and the kernel's setting as its file says it. */
static void huge_pages(void **unused)
{
	static const char *const words[] = {"[never]", "[madvise]", "[always]"};
	uintptr_t place = stretch(PART);
	enum os_huge_pages setting = os_huge_pages();
	char line[100] = "";
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

	(void)unused;
	if (file != NULL) {
		assert_non_null(fgets(line, sizeof(line), file));
		fclose(file);
	}
	if (setting != OS_HUGE_NEVER)
		assert_non_null(strstr(line, words[setting]));
	else
		assert_true(file == NULL || strstr(line, words[0]) != NULL || os_page_size() != 4096);
	assert_int_equal(os_map(place, PART), OS_DONE);
	errno = EXDEV;
	assert_int_equal(os_resident(place, PART), 0);
	*(char *)(place + PART / 2) = 1;
	if (under_emulator() && os_page_size() > 4096)
		not_tested("what is resident", "qemu, when it shows its program large pages, does not tell");
	else
		assert_in_range(os_resident(place, PART), 1, PART);
	if (setting == OS_HUGE_ADVISED)
		assert_int_equal(os_advise_huge(place, PART, true), OS_DONE);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(os_unmap(place, PART), OS_DONE);
	errno = EXDEV;
	assert_int_equal(os_resident(place, PART), 0);
	if (under_emulator())
		not_tested("advice on what is not mapped", "qemu ignores advice");
	else
		assert_int_equal(os_advise_huge(place, PART, true), OS_FAILED);
	assert_int_equal(errno, EXDEV);
}

/*
 * What may already have been moved once lies in mappings of its own: here three, whose borders are in the
 * midst of parts.
 */
static uintptr_t several_mappings(size_t bytes)
{
	uintptr_t place = stretch(bytes);
	uintptr_t elsewhere;

	assert_int_equal(os_map(place, bytes), OS_DONE);
	elsewhere = stretch(PART);
	assert_int_equal(os_map(elsewhere, PART), OS_DONE);
	memset((void *)elsewhere, 1, PART);
	assert_int_equal(syscall(SYS_mremap, elsewhere, PART, PART, MREMAP_MAYMOVE | MREMAP_FIXED, place + PART / 2),
			 place + PART / 2);
	fill(place, bytes);
	assert_false(in_one_mapping(place, bytes));
	return place;
}

static void move(uintptr_t from, size_t bytes)
{
	uintptr_t to = stretch(2 * bytes);

	assert_int_equal(os_map(to, 2 * bytes), OS_DONE);
	memset((void *)to, 0xff, 2 * bytes);
	errno = EXDEV;
	assert_int_equal(os_move(from, to, bytes), OS_DONE);
	assert_int_equal(errno, EXDEV);
	assert_filled(to, bytes);
	assert_zero(from, bytes);
	/* Both can be written to, and what follows the target is as before. */
	fill(from, bytes);
	assert_filled(to, bytes);
	assert_int_equal(*(unsigned char *)(to + bytes), 0xff);
	os_unmap(from, bytes);
	os_unmap(to, 2 * bytes);
}

static bool moving; /* works here, as it is */

static bool can_move(void)
{
	if (moving)
		return true;
	not_tested("moving", "it is not done here as Linux does it");
	return false;
}

static void move_every_way(void)
{
	const size_t bytes = 3 * PART + maximum(8192, os_page_size());
	uintptr_t place = stretch(bytes);

	if (!can_move())
		return;
	assert_int_equal(os_map(place, bytes), OS_DONE);
	fill(place, bytes);
	move(place, bytes);
	move(several_mappings(bytes), bytes);
}

/* Whether os_move has done anything at all. */
static bool is_moved(uintptr_t place, uintptr_t to)
{
	errno = EXDEV;
	if (os_move(place, to, PART) == OS_DONE)
		return true;
	return errno != EXDEV || *(unsigned char *)place != 0xff;
}

/* In a child, which remembers it. `unheeded`: what the emulator there does not heed. */
static void move_in_emulator(const void *unheeded)
{
	uintptr_t place = stretch(2 * PART);

	if (os_map(place, 2 * PART) != OS_DONE)
		abort();
	memset((void *)place, 0xff, PART);
	*(bool *)(uintptr_t)unheeded = true;
	if (os_can_move() || is_moved(place, place + PART))
		abort();
	/* The first answer counts: another trial could do harm. */
	*(bool *)(uintptr_t)unheeded = false;
	if (os_can_move() || is_moved(place, place + PART))
		abort();
}

static void not_as_an_emulator(void **unused)
{
	bool *unheeded[] = {&dontunmap_unheeded, &release_unheeded};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(unheeded); i++) {
		struct captured captured;

		capture_child(move_in_emulator, unheeded[i], &captured);
		assert_true(WIFEXITED(captured.status) && WEXITSTATUS(captured.status) == 0);
	}
}

/* Before the other tests of moving: once it is known whether it works, that is not asked again. */
static void what_another_thread_has_got_stays(void **unused)
{
	(void)unused;
	no_dontunmap = true;
	thief = true;
	if (!os_can_move() && stolen != MAP_FAILED && !under_emulator()) {
		unsigned char in_core;

		assert_int_equal(mincore(stolen, 1, &in_core), 0);
	}
	assert_non_null(stolen);
	thief = false;
	no_dontunmap = false;
	moving = os_can_move();
	assert_true(moving || under_emulator());
}

static void moves(void **unused)
{
	(void)unused;
	move_every_way();
}

static void moves_without_dontunmap(void **unused)
{
	(void)unused;
	no_dontunmap = true;
	move_every_way();
	no_dontunmap = false;
}

static void moves_one_mapping_at_a_time(void **unused)
{
	(void)unused;
	one_mapping_at_a_time = true;
	move_every_way();
	no_dontunmap = true;
	move_every_way();
	one_mapping_at_a_time = false;
	no_dontunmap = false;
}

/*
 * The old addresses are lost to somebody else in the only moment in which that can be: the pages are at their
 * new place.
 */
static void moved_and_robbed(void **unused)
{
	uintptr_t place = stretch(4 * PART);

	(void)unused;
	if (!can_move())
		return;
	assert_int_equal(os_map(place, PART), OS_DONE);
	assert_int_equal(os_map(place + 2 * PART, PART), OS_DONE);
	fill(place, PART);
	no_dontunmap = true;
	thief = true;
	assert_int_equal(os_move(place, place + 2 * PART, PART), OS_TAKEN);
	thief = false;
	no_dontunmap = false;
	assert_filled(place + 2 * PART, PART);
	os_unmap(place, 4096);
	os_unmap(place + 2 * PART, PART);
}

/* The same if it can only be done piece by piece. */
static void moved_and_robbed_in_pieces(void **unused)
{
	const size_t bytes = 3 * PART;
	uintptr_t place = several_mappings(bytes);
	uintptr_t to = stretch(bytes);

	(void)unused;
	if (!can_move())
		return;
	assert_int_equal(os_map(to, bytes), OS_DONE);
	one_mapping_at_a_time = true;
	no_dontunmap = true;
	thief = true;
	assert_int_equal(os_move(place, to, bytes), OS_TAKEN);
	one_mapping_at_a_time = false;
	no_dontunmap = false;
	thief = false;
	assert_filled(to, bytes);
	os_unmap(place, bytes);
	os_unmap(to, bytes);
}

/* Locked memory can't be given back: it keeps its contents, and a move leaves zeros all the same. */
static void locked(void **unused)
{
	const size_t bytes = PART + PART / 2;
	uintptr_t place = several_mappings(bytes);

	(void)unused;
	if (!can_move())
		return;
	/* Sanitizers make the C library's do nothing. */
	if (syscall(SYS_mlock, place, bytes) != 0) {
		not_tested("locked memory", strerror(errno));
		return;
	}
	assert_int_equal(os_release(place, bytes), OS_FAILED);
	assert_filled(place, bytes);
	one_mapping_at_a_time = true;
	move(place, bytes);
	one_mapping_at_a_time = false;
}

static uint64_t standing_clock(void)
{
	return 12345;
}

static void clocks(void **unused)
{
	uint64_t before = os_milliseconds();

	(void)unused;
	assert_true(before != 0);
	assert_true(os_milliseconds() >= before);
	os_clock = standing_clock;
	assert_int_equal(os_milliseconds(), 12345);
	os_clock = NULL;
	assert_true(os_milliseconds() >= before);
	assert_int_equal(os_page_size(), sysconf(_SC_PAGESIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_and_unmaps),
		cmocka_unit_test(anywhere),
		cmocka_unit_test(faults),
		cmocka_unit_test(huge_pages),
		cmocka_unit_test(not_as_an_emulator),
		cmocka_unit_test(what_another_thread_has_got_stays),
		cmocka_unit_test(moves),
		cmocka_unit_test(moves_without_dontunmap),
		cmocka_unit_test(moves_one_mapping_at_a_time),
		cmocka_unit_test(moved_and_robbed),
		cmocka_unit_test(moved_and_robbed_in_pieces),
		cmocka_unit_test(locked),
		cmocka_unit_test(clocks),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}

/*
 * The operating system as an account.
 *
 * The costs are those that were measured on Linux 6.18 in a virtual machine with 4 KiB pages, nobody else waiting for
 * the address space; a call's own cost is the part that does not depend on its length.
 */
#define _GNU_SOURCE
#include "account.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "drivers/ticks.h"
#include "pageheap/page_map.h"

#define KERNEL_SHIFT 12
#define KERNEL_PAGES (HUGEPAGE_SIZE >> KERNEL_SHIFT)
#define FRAME_WORDS  WORDS_FOR_BITS(KERNEL_PAGES)

/* ns for each 4 KiB. */
#define FAULT_NS      840
#define POPULATED_NS  400
#define HUGE_FAULT_NS 196
#define RELEASED_NS   87
#define UNMAPPED_NS   77

/* ns for each call. */
#define MAP_CALL_NS           1000
#define UNMAP_CALL_NS         800
#define RELEASE_CALL_NS       1000 /* with something to give back: every processor has to forget it */
#define EMPTY_RELEASE_CALL_NS 140
#define POPULATE_CALL_NS      180
#define MOVE_CALL_NS          2000
#define ADVISE_CALL_NS        600

/* What has been asked for by os_advise_huge. */
enum advice {
	ADVISED_NOTHING,
	ADVISED_HUGE,
	ADVISED_SMALL,
};

/* A hugepage of the heap. */
struct frame {
	uint64_t resident[FRAME_WORDS];
	uint64_t given_back[FRAME_WORDS]; /* was resident once, and is not now */
	uint64_t moved[FRAME_WORDS];      /* came by mremap: a mapping of its own */
	uint16_t resident_count;
	uint16_t used_count; /* pages of the kernel */
	bool mapped;
	bool broken; /* a part has been given back since it last had nothing resident */
	bool huge;
	enum advice advice;
};

struct account account;

bool (*os_fault)(enum os_call call);
uint64_t (*os_clock)(void);

static struct {
	struct frame *frames; /* by number of hugepage */
	size_t end;           /* no frame from here on has ever been mapped */
	bool always_huge;
} kernel;

static void stop(const char *what)
{
	fprintf(stderr, "simulate: the page heap %s\n", what);
	exit(1);
}

void account_set_huge(bool always)
{
	kernel.always_huge = always;
}

static void make_frames(void)
{
	size_t bytes = page_map_capacity() * sizeof(struct frame);
	void *frames = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (frames == MAP_FAILED) {
		perror("simulate: no memory for the account");
		exit(1);
	}
	kernel.frames = frames;
}

/* Whether the address is the heap's; the page map's first arrays are mapped before there is a base. */
static bool is_heap(uintptr_t address)
{
	return window.base != 0 && address >= window.base;
}

/* The part of a range that lies in one hugepage; pages are the kernel's. */
struct part {
	struct frame *frame;
	size_t first;
	size_t count;
};

static struct part part_at(uintptr_t address, size_t bytes)
{
	size_t offset = address - window.base;
	size_t first = offset % HUGEPAGE_SIZE >> KERNEL_SHIFT;

	if (unlikely(kernel.frames == NULL))
		make_frames();
	return (struct part){&kernel.frames[offset >> HUGEPAGE_SHIFT], first,
			     minimum(bytes >> KERNEL_SHIFT, KERNEL_PAGES - first)};
}

#define FOR_PARTS(part, address, bytes)                                                                                \
	for (struct part part; (bytes) != 0 && (part = part_at(address, bytes)).count != 0;                            \
	     (address) += part.count << KERNEL_SHIFT, (bytes) -= part.count << KERNEL_SHIFT)

static bool is_intact(const struct frame *frame)
{
	return !frame->broken;
}

/* Changes whether a frame is broken, and what of the used bytes is intact. */
static void set_broken(struct frame *frame, bool broken)
{
	if (frame->broken == broken)
		return;
	if (broken)
		account.intact -= (size_t)frame->used_count << KERNEL_SHIFT;
	else
		account.intact += (size_t)frame->used_count << KERNEL_SHIFT;
	frame->broken = broken;
}

static void set_huge(struct frame *frame, bool huge)
{
	if (frame->huge && !huge)
		account.huge -= HUGEPAGE_SIZE;
	if (!frame->huge && huge)
		account.huge += HUGEPAGE_SIZE;
	frame->huge = huge;
}

static void make_huge(struct frame *frame)
{
	account.faulted_again += bits_count_range(frame->given_back, 0, KERNEL_PAGES) << KERNEL_SHIFT;
	bits_clear_range(frame->given_back, 0, KERNEL_PAGES);
	bits_set_range(frame->resident, 0, KERNEL_PAGES);
	frame->resident_count = KERNEL_PAGES;
	account.resident += HUGEPAGE_SIZE;
	account.faulted += HUGEPAGE_SIZE;
	account.faults++;
	account.system_ns += HUGE_FAULT_NS * KERNEL_PAGES;
	set_huge(frame, true);
}

/* What the kernel does at the first touch. */
static bool becomes_huge(const struct frame *frame)
{
	return frame->resident_count == 0 &&
	       (frame->advice == ADVISED_HUGE || (kernel.always_huge && frame->advice == ADVISED_NOTHING));
}

/* Makes pages resident; returns how many were not. */
static size_t make_resident(const struct part *part)
{
	struct frame *frame = part->frame;
	size_t gained;

	if (!frame->mapped)
		stop("uses addresses that are not mapped");
	if (becomes_huge(frame)) {
		make_huge(frame);
		return 0;
	}
	gained = part->count - bits_count_range(frame->resident, part->first, part->count);
	if (gained == 0)
		return 0;
	account.faulted_again += bits_count_range(frame->given_back, part->first, part->count) << KERNEL_SHIFT;
	bits_clear_range(frame->given_back, part->first, part->count);
	bits_set_range(frame->resident, part->first, part->count);
	frame->resident_count = (uint16_t)(frame->resident_count + gained);
	account.resident += gained << KERNEL_SHIFT;
	return gained;
}

/* Takes the memory from pages; returns how many had any. */
static size_t make_empty(const struct part *part)
{
	struct frame *frame = part->frame;
	size_t lost = bits_count_range(frame->resident, part->first, part->count);

	if (!frame->mapped)
		stop("gives back addresses that are not mapped");
	if (lost == 0)
		return 0;
	for (size_t page = part->first; page < part->first + part->count; page++) {
		if (bit_test(frame->resident, page))
			bit_set(frame->given_back, page);
	}
	bits_clear_range(frame->resident, part->first, part->count);
	frame->resident_count = (uint16_t)(frame->resident_count - lost);
	account.resident -= lost << KERNEL_SHIFT;
	account.given_back += lost << KERNEL_SHIFT;
	set_huge(frame, false);
	set_broken(frame, frame->resident_count != 0);
	return lost;
}

void account_touch(uintptr_t address, size_t bytes)
{
	FOR_PARTS(part, address, bytes)
	{
		size_t gained = make_resident(&part);

		account.faults += gained;
		account.faulted += gained << KERNEL_SHIFT;
		account.system_ns += FAULT_NS * gained;
	}
}

void account_use(uintptr_t address, size_t bytes)
{
	FOR_PARTS(part, address, bytes)
	{
		if (!part.frame->mapped)
			stop("hands out addresses that are not mapped");
		if (part.frame->used_count == 0)
			account.occupied += HUGEPAGE_SIZE;
		part.frame->used_count = (uint16_t)(part.frame->used_count + part.count);
		if (part.frame->used_count > KERNEL_PAGES)
			stop("hands out pages twice");
		account.used += part.count << KERNEL_SHIFT;
		if (is_intact(part.frame))
			account.intact += part.count << KERNEL_SHIFT;
	}
}

void account_unuse(uintptr_t address, size_t bytes)
{
	FOR_PARTS(part, address, bytes)
	{
		part.frame->used_count = (uint16_t)(part.frame->used_count - part.count);
		account.used -= part.count << KERNEL_SHIFT;
		if (is_intact(part.frame))
			account.intact -= part.count << KERNEL_SHIFT;
		if (part.frame->used_count == 0)
			account.occupied -= HUGEPAGE_SIZE;
	}
}

size_t account_mappings(void)
{
	size_t mappings = 0;
	bool before = false;
	bool before_moved = false;
	enum advice before_advice = ADVISED_NOTHING;

	for (size_t number = 0; number < kernel.end; number++) {
		const struct frame *frame = &kernel.frames[number];

		for (size_t page = 0; frame->mapped && page < KERNEL_PAGES;) {
			bool moved = bit_test(frame->moved, page);

			mappings += !before || moved != before_moved || frame->advice != before_advice;
			before = true;
			before_moved = moved;
			before_advice = frame->advice;
			page = moved ? bits_next_clear(frame->moved, page, KERNEL_PAGES)
				     : bits_next_set(frame->moved, page, KERNEL_PAGES);
		}
		before = frame->mapped;
	}
	return mappings;
}

/* Each call's own time is measured, to be left out of the page heap's. */
static uint64_t enter(enum os_call call, uint64_t cost)
{
	account.calls[call]++;
	account.system_ns += cost;
	return read_ticks();
}

static void leave(uint64_t began)
{
	account.own_ticks += read_ticks() - began;
}

static enum os_result map_for_real(uintptr_t address, size_t bytes)
{
	void *mapped = mmap((void *)address, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	account.metadata_calls++;
	if (mapped == MAP_FAILED)
		return OS_TAKEN;
	return OS_DONE;
}

enum os_result os_map(uintptr_t address, size_t bytes)
{
	uint64_t began;

	if (!is_heap(address)) {
		enum os_result result;

		began = read_ticks();
		result = map_for_real(address, bytes);
		leave(began);
		return result;
	}
	began = enter(OS_MAP, MAP_CALL_NS);
	account.mapped += bytes;
	kernel.end = maximum(kernel.end, (address + bytes - window.base) >> HUGEPAGE_SHIFT);
	FOR_PARTS(part, address, bytes)
	{
		if (part.count != KERNEL_PAGES)
			stop("maps less than a hugepage");
		if (part.frame->mapped)
			stop("maps addresses that are mapped already");
		part.frame->mapped = true;
	}
	leave(began);
	return OS_DONE;
}

uintptr_t os_map_anywhere(size_t bytes)
{
	(void)bytes;
	stop("maps memory outside of the window");
	return 0;
}

static size_t empty_range(uintptr_t address, size_t bytes)
{
	size_t lost = 0;

	FOR_PARTS(part, address, bytes)
	lost += make_empty(&part);
	return lost;
}

static void forget_moved(uintptr_t address, size_t bytes)
{
	FOR_PARTS(part, address, bytes)
	bits_clear_range(part.frame->moved, part.first, part.count);
}

/* Of whole hugepages; a mapping of less is too small for a huge page anyway. */
static void forget_advice(uintptr_t address, size_t bytes)
{
	FOR_PARTS(part, address, bytes)
	{
		if (part.count == KERNEL_PAGES)
			part.frame->advice = ADVISED_NOTHING;
	}
}

enum os_result os_map_over(uintptr_t address, size_t bytes)
{
	uint64_t began = enter(OS_MAP, MAP_CALL_NS);

	account.system_ns += UNMAPPED_NS * empty_range(address, bytes);
	forget_moved(address, bytes);
	forget_advice(address, bytes);
	leave(began);
	return OS_DONE;
}

enum os_result os_unmap(uintptr_t address, size_t bytes)
{
	uint64_t began;

	if (!is_heap(address)) {
		munmap((void *)address, bytes);
		return OS_DONE;
	}
	began = enter(OS_UNMAP, UNMAP_CALL_NS);
	account.system_ns += UNMAPPED_NS * empty_range(address, bytes);
	forget_moved(address, bytes);
	account.mapped -= bytes;
	forget_advice(address, bytes);
	FOR_PARTS(part, address, bytes)
	part.frame->mapped = false;
	leave(began);
	return OS_DONE;
}

enum os_result os_release(uintptr_t address, size_t bytes)
{
	uint64_t began = enter(OS_RELEASE, 0);
	size_t lost = empty_range(address, bytes);

	account.system_ns += lost != 0 ? RELEASE_CALL_NS + RELEASED_NS * lost : EMPTY_RELEASE_CALL_NS;
	leave(began);
	return OS_DONE;
}

/* Nobody else is at work here. */
void os_sleep(uint32_t nanoseconds)
{
	(void)nanoseconds;
}

void os_populate(uintptr_t address, size_t bytes)
{
	uint64_t began = enter(OS_POPULATE, POPULATE_CALL_NS);

	FOR_PARTS(part, address, bytes)
	{
		size_t gained = make_resident(&part);

		account.populated += gained << KERNEL_SHIFT;
		account.system_ns += POPULATED_NS * gained;
	}
	leave(began);
}

enum os_huge_pages os_huge_pages(void)
{
	return kernel.always_huge ? OS_HUGE_ALWAYS : OS_HUGE_ADVISED;
}

enum os_result os_advise_huge(uintptr_t address, size_t bytes, bool huge)
{
	uint64_t began = enter(OS_ADVISE, ADVISE_CALL_NS);

	FOR_PARTS(part, address, bytes)
	{
		if (part.count != KERNEL_PAGES)
			stop("advises less than a hugepage");
		part.frame->advice = huge ? ADVISED_HUGE : ADVISED_SMALL;
	}
	leave(began);
	return OS_DONE;
}

size_t os_resident(uintptr_t address, size_t bytes)
{
	size_t resident = 0;

	FOR_PARTS(part, address, bytes)
	resident += bits_count_range(part.frame->resident, part.first, part.count) << KERNEL_SHIFT;
	return resident;
}

/* One page of the kernel changes its place. */
static void move_page(uintptr_t from, uintptr_t to)
{
	struct part source = part_at(from, (size_t)1 << KERNEL_SHIFT);
	struct part target = part_at(to, (size_t)1 << KERNEL_SHIFT);

	if (bit_test(source.frame->resident, source.first)) {
		bit_clear(source.frame->resident, source.first);
		source.frame->resident_count--;
		if (!bit_test(target.frame->resident, target.first)) {
			bit_set(target.frame->resident, target.first);
			target.frame->resident_count++;
		} else {
			account.resident -= (size_t)1 << KERNEL_SHIFT;
		}
		bit_clear(target.frame->given_back, target.first);
	}
	bit_clear(source.frame->moved, source.first);
	bit_set(target.frame->moved, target.first);
}

static void move_advice(uintptr_t from, uintptr_t to, size_t bytes)
{
	if ((from - window.base) % HUGEPAGE_SIZE != 0 || (to - window.base) % HUGEPAGE_SIZE != 0)
		return;
	for (size_t at = 0; at + HUGEPAGE_SIZE <= bytes; at += HUGEPAGE_SIZE)
		part_at(to + at, HUGEPAGE_SIZE).frame->advice = part_at(from + at, HUGEPAGE_SIZE).frame->advice;
}

enum os_result os_move(uintptr_t from, uintptr_t to, size_t bytes)
{
	uint64_t began = enter(OS_MOVE, MOVE_CALL_NS);

	/* What lay at the target goes, as with mremap. */
	empty_range(to, bytes);
	for (size_t at = 0; at < bytes; at += (size_t)1 << KERNEL_SHIFT)
		move_page(from + at, to + at);
	move_advice(from, to, bytes);
	FOR_PARTS(part, from, bytes)
	{
		set_huge(part.frame, false);
		set_broken(part.frame, part.frame->resident_count != 0);
	}
	leave(began);
	return OS_DONE;
}

size_t os_page_size(void)
{
	return (size_t)1 << KERNEL_SHIFT;
}

bool os_addresses_are_scarce(void)
{
	return false;
}

/* The same window each time, as far as the system has room for it. */
uint64_t os_random(void)
{
	static uint64_t number;

	return ++number * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

uint64_t os_milliseconds(void)
{
	return account.milliseconds;
}

uint64_t os_thread_nanoseconds(void)
{
	return account.system_ns;
}

// A program that replaces only operator new(size_t) and operator delete(void *), and the two with alignment: by the standard,
// all other forms then go through the replaced ones. Its blocks carry a header, so a form that goes elsewhere is seen.
#include "check.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace
{

const std::uint64_t live_mark = 0x6c6976652d6c6976, dead_mark = 0x646561642d646561;
const std::size_t impossible_size = std::size_t(1) << 46;
long plain_calls, plain_deletes, aligned_calls, aligned_deletes, wrong_deletes;
bool counting;

struct header {
	void *start;
	std::uint64_t mark;
};

// Counts as the main thread's only while a check asks for it.
void count(long &counter)
{
	if (counting)
		++counter;
}

void *allocate_with_header(std::size_t size, std::size_t alignment)
{
	if (size >= impossible_size)
		throw std::bad_alloc();
	char *start = static_cast<char *>(std::malloc(size + alignment + sizeof(header)));
	if (!start)
		throw std::bad_alloc();
	std::uintptr_t address = reinterpret_cast<std::uintptr_t>(start) + sizeof(header) + alignment - 1;
	char *block = start + ((address & ~(alignment - 1)) - reinterpret_cast<std::uintptr_t>(start));
	header *before = reinterpret_cast<header *>(block) - 1;
	before->start = start;
	before->mark = live_mark;
	return block;
}

void free_with_header(void *block)
{
	if (!block)
		return;
	header *before = static_cast<header *>(block) - 1;
	if (before->mark != live_mark) {
		++wrong_deletes;
		return;
	}
	before->mark = dead_mark;
	std::free(before->start);
}

} // namespace

void *operator new(std::size_t size)
{
	count(plain_calls);
	return hide_pointer(allocate_with_header(size, 16));
}

void operator delete(void *block) noexcept
{
	count(plain_deletes);
	free_with_header(hide_pointer(block));
}

void *operator new(std::size_t size, std::align_val_t alignment)
{
	count(aligned_calls);
	return hide_pointer(allocate_with_header(size, std::size_t(alignment)));
}

void operator delete(void *block, std::align_val_t) noexcept
{
	count(aligned_deletes);
	free_with_header(hide_pointer(block));
}

namespace
{

void start_counting()
{
	plain_calls = plain_deletes = aligned_calls = aligned_deletes = 0;
	counting = true;
}

void expect_counts(const char *what, long plain, long plain_delete, long aligned, long aligned_delete)
{
	counting = false;
	expect(plain_calls == plain && plain_deletes == plain_delete && aligned_calls == aligned &&
			aligned_deletes == aligned_delete,
		"%s: %ld new, %ld delete, %ld aligned new, %ld aligned delete of the program were called; "
		"expected %ld, %ld, %ld, %ld",
		what, plain_calls, plain_deletes, aligned_calls, aligned_deletes, plain, plain_delete, aligned, aligned_delete);
}

void array_forms_go_through_plain_ones()
{
	start_counting();
	void *block = hide_pointer(::operator new[](hide_size(100)));
	::operator delete[](block);
	expect_counts("new[] and delete[]", 1, 1, 0, 0);
}

void nothrow_forms_go_through_plain_ones()
{
	start_counting();
	void *one = hide_pointer(::operator new(hide_size(100), std::nothrow));
	void *array = hide_pointer(::operator new[](hide_size(100), std::nothrow));
	::operator delete(one, std::nothrow);
	::operator delete[](array, std::nothrow);
	expect_counts("nothrow forms", 2, 2, 0, 0);
}

void sized_deletes_go_through_plain_ones()
{
	start_counting();
	void *one = hide_pointer(::operator new(hide_size(100)));
	void *array = hide_pointer(::operator new[](hide_size(100)));
	::operator delete(one, std::size_t(100));
	::operator delete[](array, std::size_t(100));
	expect_counts("sized deletes", 2, 2, 0, 0);
}

void aligned_forms_go_through_aligned_ones()
{
	auto alignment = std::align_val_t(256);
	start_counting();
	void *blocks[4] = {
		hide_pointer(::operator new[](hide_size(100), alignment)),
		hide_pointer(::operator new(hide_size(100), alignment, std::nothrow)),
		hide_pointer(::operator new[](hide_size(100), alignment, std::nothrow)),
		hide_pointer(::operator new(hide_size(100), alignment)),
	};
	for (void *block : blocks)
		expect(block && is_aligned(block, 256), "%p is not aligned", block);
	::operator delete[](blocks[0], alignment);
	::operator delete(blocks[1], alignment, std::nothrow);
	::operator delete[](blocks[2], alignment, std::nothrow);
	::operator delete(blocks[3], std::size_t(100), alignment);
	void *array = hide_pointer(::operator new[](hide_size(100), alignment));
	::operator delete[](array, std::size_t(100), alignment);
	expect_counts("aligned forms", 0, 0, 5, 5);
}

void nothrow_forms_catch_the_programs_bad_alloc()
{
	start_counting();
	try {
		expect(!hide_pointer(::operator new(hide_size(impossible_size), std::nothrow)), "new returned a block");
		expect(!hide_pointer(::operator new[](hide_size(impossible_size), std::nothrow)), "new[] returned a block");
	} catch (...) {
		expect(false, "a nothrow form threw");
	}
	expect_counts("nothrow forms that fail", 2, 0, 0, 0);
}

void array_forms_pass_the_programs_bad_alloc_on()
{
	bool caught = false;
	try {
		hide_pointer(::operator new[](hide_size(impossible_size)));
	} catch (const std::bad_alloc &) {
		caught = true;
	}
	expect(caught, "new[] did not throw");
}

void deletes_of_null_are_harmless()
{
	::operator delete[](hide_pointer(nullptr));
	::operator delete(hide_pointer(nullptr), std::size_t(10));
	::operator delete[](hide_pointer(nullptr), std::size_t(10));
	::operator delete(hide_pointer(nullptr), std::nothrow);
	::operator delete(hide_pointer(nullptr), std::size_t(10), std::align_val_t(64));
}

void containers_and_threads_work()
{
	std::vector<std::thread> threads;
	for (int i = 0; i < 3; ++i)
		threads.emplace_back([] {
			std::vector<std::string> texts;
			for (std::size_t length = 0; length < 2000; ++length)
				texts.emplace_back(length, 'x');
		});
	for (std::thread &thread : threads)
		thread.join();
	expect(wrong_deletes == 0, "%ld blocks reached operator delete that operator new had not made", wrong_deletes);
}

} // namespace

int main(int argument_count, char **arguments)
{
	if (!check_start(argument_count, arguments))
		return 2;
	CHECK(array_forms_go_through_plain_ones);
	CHECK(nothrow_forms_go_through_plain_ones);
	CHECK(sized_deletes_go_through_plain_ones);
	CHECK(aligned_forms_go_through_aligned_ones);
	CHECK(nothrow_forms_catch_the_programs_bad_alloc);
	CHECK(array_forms_pass_the_programs_bad_alloc_on);
	CHECK(deletes_of_null_are_harmless);
	CHECK(containers_and_threads_work);
	return check_finish();
}

// Checks every C++ operator new and delete, the loop over the new-handler and std::bad_alloc. To be run against the C++
// library's own operators, which must pass too, and against tiermalloc preloaded, linked and linked statically.
#include "check.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <malloc.h>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace
{

const std::size_t impossible_size = std::size_t(1) << 47;
const std::size_t sizes[] = {0, 1, 8, 15, 16, 17, 24, 40, 100, 1000, 4096, 32768, 65536, 65537, 300000, 1 << 20, 5 << 20};

void *take(std::size_t size)
{
	return hide_pointer(::operator new(hide_size(size)));
}

// What is deleted serves the next ones, at every size: otherwise a thousand rounds would show in the bytes in use.
void deleted_memory_is_used_again()
{
	for (std::size_t size : sizes) {
		::operator delete(take(size));
		std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
		for (int round = 0; round < 1000; round++)
			::operator delete(take(size));
		std::size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
		expect(after < before + 8 * size + 100000, "1000 blocks of %zu: %zu bytes in use before, %zu after", size, before, after);
	}
}

void plain_forms()
{
	for (std::size_t size : sizes) {
		void *one = take(size), *other = take(size);
		expect(one && other && one != other, "operator new(%zu): %p and %p", size, one, other);
		/* In every profile, and for every size: compilers count on it. */
		expect(size <= 8 || (is_aligned(one, __STDCPP_DEFAULT_NEW_ALIGNMENT__) && is_aligned(other, __STDCPP_DEFAULT_NEW_ALIGNMENT__)),
		       "operator new(%zu) returned %p and %p", size, one, other);
		std::memset(one, 1, size);
		::operator delete(one);
		::operator delete(other);
		void *array = hide_pointer(::operator new[](hide_size(size)));
		expect(array != nullptr, "operator new[](%zu) returned NULL", size);
		std::memset(array, 1, size);
		::operator delete[](array);
	}
	::operator delete(nullptr);
	::operator delete[](nullptr);
}

void sized_forms()
{
	for (std::size_t size : sizes) {
		for (int i = 0; i < 300; ++i)
			::operator delete(take(size), size);
		for (int i = 0; i < 300; ++i)
			::operator delete[](hide_pointer(::operator new[](hide_size(size))), size);
	}
	::operator delete(nullptr, std::size_t(10));
	::operator delete[](nullptr, std::size_t(10));
}

void nothrow_forms()
{
	for (std::size_t size : sizes) {
		void *one = hide_pointer(::operator new(hide_size(size), std::nothrow));
		void *array = hide_pointer(::operator new[](hide_size(size), std::nothrow));
		expect(one && array, "operator new(%zu, nothrow) returned NULL", size);
		::operator delete(one, std::nothrow);
		::operator delete[](array, std::nothrow);
	}
	expect(!hide_pointer(::operator new(hide_size(impossible_size), std::nothrow)), "nothrow new of 2^47 bytes");
	expect(!hide_pointer(::operator new[](hide_size(SIZE_MAX), std::nothrow)), "nothrow new[] of SIZE_MAX bytes");
	expect(!hide_pointer(::operator new(hide_size(PTRDIFF_MAX), std::align_val_t(64), std::nothrow)),
		"nothrow aligned new of PTRDIFF_MAX bytes");
	expect(!hide_pointer(::operator new[](hide_size(PTRDIFF_MAX), std::align_val_t(64), std::nothrow)),
		"nothrow aligned new[] of PTRDIFF_MAX bytes");
	::operator delete(nullptr, std::nothrow);
	::operator delete[](nullptr, std::nothrow);
}

void aligned_forms()
{
	for (unsigned shift = 0; shift <= 22; ++shift)
		for (std::size_t size : sizes) {
			auto alignment = std::align_val_t(std::size_t(1) << shift);
			void *blocks[8];
			for (unsigned i = 0; i < 8; ++i) {
				switch (i % 4) {
				case 0: blocks[i] = hide_pointer(::operator new(hide_size(size), alignment)); break;
				case 1: blocks[i] = hide_pointer(::operator new[](hide_size(size), alignment)); break;
				case 2: blocks[i] = hide_pointer(::operator new(hide_size(size), alignment, std::nothrow)); break;
				default:
					blocks[i] = hide_pointer(::operator new[](hide_size(size), alignment, std::nothrow));
					break;
				}
				expect(blocks[i] && is_aligned(blocks[i], std::size_t(alignment)), "size %zu, alignment 2^%u: %p",
					size, shift, blocks[i]);
				if (blocks[i])
					std::memset(blocks[i], 1, size);
			}
			::operator delete(blocks[0], alignment);
			::operator delete[](blocks[1], alignment);
			::operator delete(blocks[2], alignment, std::nothrow);
			::operator delete[](blocks[3], alignment, std::nothrow);
			::operator delete(blocks[4], size, alignment);
			::operator delete[](blocks[5], size, alignment);
			::operator delete(blocks[6], size, alignment);
			::operator delete[](blocks[7], size, alignment);
		}
	::operator delete(nullptr, std::align_val_t(64));
	::operator delete[](nullptr, std::align_val_t(64));
	::operator delete(nullptr, 10, std::align_val_t(64));
	::operator delete[](nullptr, 10, std::align_val_t(64));
	::operator delete(nullptr, std::align_val_t(64), std::nothrow);
	::operator delete[](nullptr, std::align_val_t(64), std::nothrow);
}

void delete_keeps_errno()
{
	for (std::size_t size : sizes) {
		void *block = take(size);
		errno = 4242;
		::operator delete(block);
		expect(errno == 4242, "operator delete set errno to %d", errno);
	}
}

// Each throwing form, with sizes that cannot be had.
template <typename Function>
void expect_bad_alloc(const char *what, Function function)
{
	bool thrown = false;
	try {
		void *block = hide_pointer(function());
		expect(false, "%s returned %p", what, block);
	} catch (const std::bad_alloc &error) {
		thrown = true;
		expect(std::strlen(error.what()) > 0, "%s: what() is empty", what);
	} catch (...) {
		expect(false, "%s threw something else", what);
	}
	expect(thrown, "%s did not throw", what);
}

void failure_throws_bad_alloc()
{
	for (std::size_t size : {impossible_size, std::size_t(PTRDIFF_MAX), std::size_t(SIZE_MAX), std::size_t(SIZE_MAX - 100)}) {
		expect_bad_alloc("new", [=] { return ::operator new(hide_size(size)); });
		expect_bad_alloc("new[]", [=] { return ::operator new[](hide_size(size)); });
	}
	for (std::size_t size : {impossible_size, std::size_t(PTRDIFF_MAX), std::size_t(PTRDIFF_MAX) + 1}) {
		expect_bad_alloc("aligned new", [=] { return ::operator new(hide_size(size), std::align_val_t(128)); });
		expect_bad_alloc("aligned new[]", [=] { return ::operator new[](hide_size(size), std::align_val_t(128)); });
	}
	expect_bad_alloc("vector", [] {
		std::vector<char> *made = new std::vector<char>(hide_size(impossible_size));
		return static_cast<void *>(made);
	});
}

// libstdc++ 12 rounds the size up to a multiple of the alignment, to 0 here, and returns a block.
void aligned_sizes_that_wrap_round_fail()
{
	void *(*function)(std::size_t, std::align_val_t) = ::operator new;
	Dl_info found;
	if (dladdr(hide_pointer(reinterpret_cast<void *>(function)), &found) && std::strstr(found.dli_fname, "libstdc++")) {
		check_skip("libstdc++'s own operator new takes SIZE_MAX for 0 here");
		return;
	}
	for (std::size_t size = SIZE_MAX; size > SIZE_MAX - 64; size -= 3) {
		expect_bad_alloc("aligned new", [=] { return ::operator new(hide_size(size), std::align_val_t(64)); });
		expect_bad_alloc("aligned new[]", [=] { return ::operator new[](hide_size(size), std::align_val_t(64)); });
		expect(!hide_pointer(::operator new(hide_size(size), std::align_val_t(64), std::nothrow)),
			"nothrow aligned new of %zu bytes", size);
	}
}

int handler_calls;
int calls_until_removed;

void counting_handler()
{
	if (++handler_calls >= calls_until_removed)
		std::set_new_handler(nullptr);
}

void handler_is_called_until_removed()
{
	for (int form = 0; form < 8; ++form) {
		handler_calls = 0;
		calls_until_removed = form + 1;
		std::set_new_handler(counting_handler);
		bool thrown = false;
		void *block = nullptr;
		try {
			std::size_t size = hide_size(impossible_size);
			switch (form) {
			case 0: block = ::operator new(size); break;
			case 1: block = ::operator new[](size); break;
			case 2: block = ::operator new(size, std::nothrow); break;
			case 3: block = ::operator new[](size, std::nothrow); break;
			case 4: block = ::operator new(size, std::align_val_t(256)); break;
			case 5: block = ::operator new[](size, std::align_val_t(256)); break;
			case 6: block = ::operator new(size, std::align_val_t(256), std::nothrow); break;
			default: block = ::operator new[](size, std::align_val_t(256), std::nothrow); break;
			}
		} catch (const std::bad_alloc &) {
			thrown = true;
		}
		bool nothrow = form % 4 >= 2;
		expect(!hide_pointer(block), "form %d returned a block", form);
		expect(thrown != nothrow, "form %d: thrown is %d", form, thrown);
		expect(handler_calls == form + 1, "form %d called the handler %d times, not %d", form, handler_calls, form + 1);
		std::set_new_handler(nullptr);
	}
}

struct handler_error : std::bad_alloc {
};

void throwing_handler()
{
	++handler_calls;
	throw handler_error();
}

void handler_may_throw()
{
	std::set_new_handler(throwing_handler);
	handler_calls = 0;
	for (int form = 0; form < 4; ++form) {
		bool caught = false;
		try {
			std::size_t size = hide_size(impossible_size);
			void *block = form == 0   ? ::operator new(size)
				      : form == 1 ? ::operator new[](size)
				      : form == 2 ? ::operator new(size, std::align_val_t(64))
						  : ::operator new[](size, std::align_val_t(64));
			expect(!hide_pointer(block), "form %d returned a block", form);
		} catch (const handler_error &) {
			caught = true;
		} catch (...) {
			expect(false, "form %d: another exception than the handler's", form);
		}
		expect(caught, "form %d: the handler's exception did not arrive", form);
	}
	expect(handler_calls == 4, "the handler was called %d times, not 4", handler_calls);
	std::set_new_handler(nullptr);
}

void nothrow_forms_catch_the_handlers_exception()
{
	std::set_new_handler(throwing_handler);
	handler_calls = 0;
	try {
		std::size_t size = hide_size(impossible_size);
		expect(!hide_pointer(::operator new(size, std::nothrow)), "new returned a block");
		expect(!hide_pointer(::operator new[](size, std::nothrow)), "new[] returned a block");
		expect(!hide_pointer(::operator new(size, std::align_val_t(64), std::nothrow)), "aligned new returned a block");
		expect(!hide_pointer(::operator new[](size, std::align_val_t(64), std::nothrow)),
			"aligned new[] returned a block");
	} catch (...) {
		expect(false, "a nothrow form threw");
	}
	expect(handler_calls == 4, "the handler was called %d times, not 4", handler_calls);
	std::set_new_handler(nullptr);
}

// Runs in a child with an address space limit 256 MiB above what it uses; the exit status tells the outcome.
const std::size_t reserve_size = std::size_t(192) << 20;
void *reserve;

void reserve_freeing_handler()
{
	++handler_calls;
	if (!reserve)
		_exit(3);
	std::free(reserve);
	reserve = nullptr;
}

// What the child ends with under qemu's user mode, which sets no limit and calls that a success.
const int limit_is_forgotten = 77;

std::size_t address_space_used()
{
	std::size_t pages = 0;
	FILE *file = std::fopen("/proc/self/statm", "r");
	if (!file || std::fscanf(file, "%zu", &pages) != 1)
		pages = 0;
	if (file)
		std::fclose(file);
	return pages * std::size_t(sysconf(_SC_PAGESIZE));
}

[[noreturn]] void allocate_with_a_reserve()
{
	rlimit limit;
	limit.rlim_cur = limit.rlim_max = address_space_used() + (std::size_t(256) << 20);
	rlimit kept;
	if (setrlimit(RLIMIT_AS, &limit) != 0 || getrlimit(RLIMIT_AS, &kept) != 0)
		_exit(4);
	if (kept.rlim_cur != limit.rlim_cur)
		_exit(limit_is_forgotten);
	reserve = std::malloc(reserve_size);
	if (!reserve)
		_exit(5);
	std::set_new_handler(reserve_freeing_handler);
	char *block = nullptr;
	try {
		block = static_cast<char *>(take(reserve_size));
	} catch (...) {
		_exit(6);
	}
	block[0] = block[reserve_size - 1] = 1;
	_exit(handler_calls == 1 ? 0 : 7);
}

void handler_may_free_memory()
{
	handler_calls = 0;
	pid_t child = fork();
	if (child == 0)
		allocate_with_a_reserve();
	int status = 0;
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == limit_is_forgotten) {
		check_skip("the system forgets the limit on address space");
		return;
	}
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"wait status %#x (exit 3: called without need, 4: setrlimit, 5: no reserve, 6: threw, 7: calls)", status);
}

void exceptions_cross_threads()
{
	std::exception_ptr caught;
	std::thread thrower([&caught] {
		try {
			hide_pointer(::operator new(hide_size(impossible_size)));
		} catch (...) {
			caught = std::current_exception();
		}
	});
	thrower.join();
	expect(bool(caught), "the thread caught nothing");
	bool arrived = false;
	try {
		if (caught)
			std::rethrow_exception(caught);
	} catch (const std::bad_alloc &) {
		arrived = true;
	}
	expect(arrived, "the thread's bad_alloc did not arrive");
}

void exceptions_in_many_threads()
{
	std::atomic<int> failures(0);
	std::vector<std::thread> threads;
	for (int i = 0; i < 4; ++i)
		threads.emplace_back([&failures] {
			for (int round = 0; round < 500; ++round) {
				try {
					std::string text(std::size_t(round) * 10 + 100, 'x');
					throw std::runtime_error(text);
				} catch (const std::runtime_error &error) {
					if (std::strlen(error.what()) != std::size_t(round) * 10 + 100)
						++failures;
				}
			}
		});
	for (std::thread &thread : threads)
		thread.join();
	expect(failures == 0, "%d exceptions lost their text", int(failures));
}

struct alignas(128) over_aligned {
	char bytes[200];
};

struct with_destructor {
	std::string text = "a string that is too long for the small string buffer";
	~with_destructor() { text[0] = 'b'; }
};

void expressions_choose_fitting_forms()
{
	for (int i = 0; i < 1000; ++i) {
		std::unique_ptr<over_aligned> one(new over_aligned);
		std::unique_ptr<over_aligned[]> many(new over_aligned[5]);
		expect(is_aligned(hide_pointer(one.get()), 128) && is_aligned(hide_pointer(many.get()), 128),
			"not aligned to 128");
		std::unique_ptr<with_destructor[]> counted(new with_destructor[3]);
		std::shared_ptr<std::string> shared = std::make_shared<std::string>(300, 'y');
		expect(shared->size() == 300, "shared string");
	}
}

} // namespace

int main(int argument_count, char **arguments)
{
	if (!check_start(argument_count, arguments))
		return 2;
	CHECK(plain_forms);
	CHECK(deleted_memory_is_used_again);
	CHECK(sized_forms);
	CHECK(nothrow_forms);
	CHECK(aligned_forms);
	CHECK(delete_keeps_errno);
	CHECK(failure_throws_bad_alloc);
	CHECK(aligned_sizes_that_wrap_round_fail);
	CHECK(handler_is_called_until_removed);
	CHECK(handler_may_throw);
	CHECK(nothrow_forms_catch_the_handlers_exception);
	CHECK(handler_may_free_memory);
	CHECK(exceptions_cross_threads);
	CHECK(exceptions_in_many_threads);
	CHECK(expressions_choose_fitting_forms);
	return check_finish();
}

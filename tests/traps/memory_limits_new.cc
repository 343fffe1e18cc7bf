/*
 * Trap: operator new at the allocator's hard limit throws, after it has asked the program's handler; nothrow gives a null pointer;
 * and everything goes on afterwards. Runs under a hard limit of 100 MiB.
 */
#include "trap.h"

#include <new>

struct alignas(128) aligned {
	char bytes[30 * 1024 * 1024];
};

static void *volatile held;
static int asked;
static void *reserve;

/* Gives up what it has; the second time there is nothing more. */
static void give_up(void)
{
	asked++;
	if (!reserve)
		throw std::bad_alloc();
	::operator delete(reserve);
	reserve = nullptr;
}

template <typename Function> static bool throws(Function function)
{
	try {
		held = function();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

int main()
{
	require_allocator();
	REQUIRE(throws([] { return ::operator new(101 * MIB); }), "new of 101 MiB under a limit of 100");
	REQUIRE(throws([] { return ::operator new[](101 * MIB); }), "new[] of 101 MiB");
	REQUIRE(!::operator new(101 * MIB, std::nothrow), "nothrow new of 101 MiB");
	REQUIRE(!::operator new(101 * MIB, std::align_val_t(4096), std::nothrow), "aligned nothrow new of 101 MiB");
	aligned *blocks[4] = {};
	int count = 0;
	REQUIRE(throws([&]() -> void * {
			while (count < 4) {
				blocks[count] = new aligned;
				count++;
			}
			return nullptr;
		}) && count == 3, "%d blocks of 30 MiB under a limit of 100", count);
	delete blocks[0];
	reserve = ::operator new(25 * MIB);
	std::set_new_handler(give_up);
	REQUIRE(!throws([] { return ::operator new(30 * MIB); }) && asked == 1, "the handler was asked %d times", asked);
	::operator delete(held);
	REQUIRE(throws([] { return ::operator new(50 * MIB); }) && asked == 2, "the handler was asked %d times", asked);
	delete blocks[1];
	delete blocks[2];
	REQUIRE(!throws([] { return ::operator new(90 * MIB); }), "90 MiB after everything has been freed");
	::operator delete(held);
	return 0;
}

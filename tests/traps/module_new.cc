/* A module in C++ for programs in C: see late_new.c. */
#include <cstddef>
#include <cstdint>
#include <new>

static void *volatile held;

/* 1 if new of what nobody can have gives a null pointer, and what can be had is had. */
extern "C" int module_new_nothrow()
{
	volatile std::size_t size = SIZE_MAX / 4;
	held = new (std::nothrow) char[size];
	if (held)
		return 0;
	held = new (std::nothrow) long;
	delete static_cast<long *>(held);
	return held != nullptr;
}

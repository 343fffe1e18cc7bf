/*
 * Trap: a program in C loads a module in C++, and with it the C++ library, for itself alone; a nothrow new fails
 * in there. As in an interpreter's extensions.
 *
 *     late_new module
 */
#include "trap.h"

int main(int argc, char **argv)
{
	require_allocator();
	void *module = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
	REQUIRE(module, "%s", dlerror());
	int (*nothrow)(void) = (int (*)(void))dlsym(module, "module_new_nothrow");
	REQUIRE(nothrow, "%s", dlerror());
	REQUIRE(nothrow() == 1, "nothrow new has not failed as it should, or not succeeded");
	return 0;
}

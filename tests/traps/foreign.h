/*
 * The C library's own allocator, reached past whatever has been put in front of it:
 * blocks of it are foreign to a preloaded allocator.
 */
#ifndef TRAPS_FOREIGN_H
#define TRAPS_FOREIGN_H

#include "trap.h"

typedef void *allocate_function(size_t);
typedef void *align_function(size_t, size_t);
typedef size_t size_function(void *);

/* ISO C knows no conversion from an object's pointer to a function's; POSIX wants it. */
static inline void *foreign_symbol(const char *name)
{
	void *library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	REQUIRE(library, "the C library is not loaded: %s", dlerror());
	void *symbol = dlsym(library, name);
	REQUIRE(symbol, "the C library has no %s", name);
	return symbol;
}

static inline allocate_function *foreign_function(const char *name)
{
	allocate_function *function;
	void *symbol = foreign_symbol(name);
	memcpy(&function, &symbol, sizeof function);
	return function;
}

static inline align_function *foreign_align_function(const char *name)
{
	return (align_function *)(void (*)(void))foreign_function(name);
}

static inline size_function *foreign_size_function(const char *name)
{
	return (size_function *)(void (*)(void))foreign_function(name);
}

#endif

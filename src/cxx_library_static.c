/* The C++ library in a static build: what the link has brought in. */
#include "cxx_library.h"

#include <stddef.h>
#include <string.h>

extern void (*get_new_handler(void))(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

void *cxx_library_function(const char *name)
{
	if (strcmp(name, "_ZSt15get_new_handlerv") == 0)
		return (void *)get_new_handler;
	return (void *)throw_bad_alloc;
}

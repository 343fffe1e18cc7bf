/* What module.c offers to the programs that load it, under the name module_interface. */
#ifndef TRAPS_MODULE_H
#define TRAPS_MODULE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <dlfcn.h>
#include <stddef.h>

struct module {
	void *(*allocate)(size_t size);
	void *(*resize)(void *block, size_t size);
	void (*release)(void *block);
	void *(*load)(const char *name, int flags);
};

extern const struct module module_interface;

#endif

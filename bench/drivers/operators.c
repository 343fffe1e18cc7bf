/* C++'s operators new and delete for a benchmark in C. See operators.h. */
#define _GNU_SOURCE
#include "operators.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define SKIPPED 77

void *(*operator_new)(size_t size);
void (*operator_delete_sized)(void *object, size_t size);

void load_operators(void)
{
	/* Loaded last and globally: what has been preloaded is found before it. */
	dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
	*(void **)&operator_new = dlsym(RTLD_DEFAULT, "_Znwm");
	*(void **)&operator_delete_sized = dlsym(RTLD_DEFAULT, "_ZdlPvm");
	if (operator_new == NULL || operator_delete_sized == NULL) {
		puts("skipped: needs the C++ library libstdc++.so.6");
		exit(SKIPPED);
	}
}

/*
 * The C++ library in a dynamically linked process. Usually it is in the global search order; if only a library
 * loaded with RTLD_LOCAL brought it, it is found by its name.
 */
#define _GNU_SOURCE
#include "cxx_library.h"

#include <dlfcn.h>
#include <stddef.h>

static const char *const libraries[] = {"libstdc++.so.6", "libc++.so.1"};

void *cxx_library_function(const char *name)
{
	void *function = dlsym(RTLD_DEFAULT, name);

	for (size_t i = 0; function == NULL && i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);

		if (library != NULL) {
			function = dlsym(library, name);
			dlclose(library);
		}
	}
	return function;
}

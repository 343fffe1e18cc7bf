/*
 * dlopen, interposed in the shared object to drop RTLD_DEEPBIND: a library bound deeply finds libc's malloc before
 * ours, and then frees with the one what the other allocated. (Debian's php loads all its modules so.)
 * TIERMALLOC_CONF=deepbind:true keeps the flag.
 *
 * The call is a tail call, so that the dynamic linker sees the real caller, on which RUNPATH and $ORIGIN depend.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "abi.h"
#include "base/options.h"

EXPORT void *dlopen(const char *file, int mode)
{
	static void *(*next)(const char *file, int mode);

	if (next == NULL)
		next = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	if (!options.deepbind)
		mode &= ~RTLD_DEEPBIND;
	return next(file, mode);
}

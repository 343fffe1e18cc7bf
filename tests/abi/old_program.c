/* A program linked before glibc 2.26, when cfree was still declared: it asks for the name with the version of that time, which
   libc keeps for such programs alone. Our cfree must take its place too, as the block is ours. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void old_cfree(void *block);
#ifdef __x86_64__
__asm__(".symver old_cfree, cfree@GLIBC_2.2.5");
#else
__asm__(".symver old_cfree, cfree@GLIBC_2.17");
#endif

static void cfree_comes_from_where_malloc_does(void)
{
	union {
		void (*function)(void *);
		void *object;
	} old = {old_cfree};
	Dl_info malloc_info = {0}, cfree_info = {0};
	dladdr(dlsym(RTLD_DEFAULT, "malloc"), &malloc_info);
	dladdr(hide_pointer(old.object), &cfree_info);
	expect(cfree_info.dli_fbase == malloc_info.dli_fbase, "cfree comes from %s, malloc from %s", cfree_info.dli_fname,
		malloc_info.dli_fname);
}

static void cfree_frees(void)
{
	size_t before = resident_bytes();
	for (int i = 0; i < 200000; ++i) {
		char *block = hide_pointer(malloc(1000));
		memset(block, 1, 1000);
		errno = 4242;
		old_cfree(block);
		expect(errno == 4242, "cfree set errno to %d", errno);
	}
	old_cfree(NULL);
	size_t after = resident_bytes();
	expect(after < before + (50 << 20), "cfree does not free: %zu bytes more", after - before);
}

int main(int argument_count, char **arguments)
{
	if (!check_start(argument_count, arguments))
		return 2;
	CHECK(cfree_comes_from_where_malloc_does);
	CHECK(cfree_frees);
	return check_finish();
}

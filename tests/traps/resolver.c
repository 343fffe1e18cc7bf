/*
 * Trap: malloc in the resolver of an indirect function (an IRELATIVE relocation). It
 * runs while the program is being relocated, before any constructor. Libraries are
 * relocated before the program, so the allocator has its own relocations by then; but
 * glibc copies the initial values of thread-local variables only after all relocations,
 * so that these are all zero here, and are set once more afterwards.
 */
#include "churn.h"

static unsigned char *from_resolver;

static int chosen(void)
{
	return 42;
}

/* Nothing but malloc and plain code: other calls may not be relocated yet. */
__attribute__((used)) static int (*resolve(void))(void)
{
	for (int i = 0; i < 100; i++) {
		void *block = malloc((size_t)i * 100 + 1);
		if (!block)
			return NULL;
		free(block);
	}
	from_resolver = malloc(1000);
	for (int i = 0; from_resolver && i < 1000; i++)
		from_resolver[i] = 0x3c;
	return from_resolver ? chosen : NULL;
}

int indirect(void) __attribute__((ifunc("resolve")));

int main(void)
{
	require_allocator();
	REQUIRE(from_resolver, "the resolver has not run, or malloc failed in it");
	REQUIRE(indirect() == 42, "the indirect function is not the chosen one");
	bytes_check(from_resolver, 1000, 0x3c);
	from_resolver = realloc(from_resolver, 100000);
	REQUIRE(from_resolver, "realloc: %s", strerror(errno));
	bytes_check(from_resolver, 1000, 0x3c);
	free(from_resolver);
	use_heap_briefly(1);
	return 0;
}

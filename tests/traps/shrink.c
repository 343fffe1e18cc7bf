/*
 * Trap: realloc to less where there is no memory for anything new. It has to succeed, as the block
 * is large enough; and what comes of it can be freed, also with its size.
 */
#include "trap.h"

#include <sys/resource.h>

enum { BLOCKS = 8, BEFORE = 900000 };

typedef void sized_free_function(void *, size_t);

static const size_t sizes[BLOCKS] = {600000, 300000, 100000, 40000, 20000, 3000, 500, 20};

static void use_up_memory(void)
{
	struct rlimit limit = {256 * MIB, 256 * MIB};
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
	for (size_t size = 16 * MIB; size >= 8; size /= 2) {
		void *volatile block;
		while ((block = malloc(size)))
			*(volatile char *)block = 1;
	}
}

int main(void)
{
	unsigned char *blocks[BLOCKS];
	sized_free_function *sized_free = (sized_free_function *)dlsym(RTLD_DEFAULT, "free_sized");
	require_allocator();
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BEFORE);
		REQUIRE(blocks[i], "malloc: %s", strerror(errno));
		memset(blocks[i], (int)i + 1, BEFORE);
	}
	use_up_memory();
	for (size_t i = 0; i < BLOCKS; i++) {
		errno = 4711;
		unsigned char *smaller = realloc(blocks[i], sizes[i]);
		REQUIRE(smaller, "realloc from %d to %zu: %s", BEFORE, sizes[i], strerror(errno));
		REQUIRE(errno == 4711, "errno has become %d", errno);
		for (size_t at = 0; at < sizes[i]; at++)
			REQUIRE(smaller[at] == i + 1, "byte %zu of %zu has changed", at, sizes[i]);
		blocks[i] = smaller;
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		if (sized_free)
			sized_free(blocks[i], sizes[i]);
		else
			free(blocks[i]);
	}
	return 0;
}

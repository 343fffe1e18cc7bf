/*
 * Trap: a thread whose first use of the heap is to free what another thread made (or
 * what the C library's own malloc made), and that then ends.
 *
 *     first_free [threads]
 */
#include "churn.h"
#include "foreign.h"

static void *free_it(void *block)
{
	free(block);
	return NULL;
}

static void *grow_it(void *block)
{
	unsigned char *larger = realloc(block, 5000);
	REQUIRE(larger, "realloc: %s", strerror(errno));
	bytes_check(larger, 16, 0x77);
	free(larger);
	return NULL;
}

static void *end_at_once(void *block)
{
	return block;
}

static void *in_thread(void *(*function)(void *), void *block)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, function, block);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	void *result;
	pthread_join(thread, &result);
	return result;
}

static void *filled(void *(*allocate)(size_t), size_t size)
{
	void *block = allocate(size);
	REQUIRE(block, "allocating %zu: %s", size, strerror(errno));
	memset(block, 0x77, size);
	return block;
}

int main(int count, char **values)
{
	require_allocator();
	static const size_t sizes[] = {16, 40, 100, 1000, 4096, 10000, 70000, 1500000};
	allocate_function *foreign_malloc = foreign_function("malloc");
	unsigned long rounds = argument(count, values, 1, 1000) / 5;
	size_t before = 0;
	for (unsigned long i = 0; i < rounds; i++) {
		size_t size = sizes[i % (sizeof sizes / sizeof sizes[0])];
		in_thread(free_it, filled(malloc, size));
		in_thread(grow_it, filled(malloc, size));
		in_thread(free_it, filled(foreign_malloc, size));
		in_thread(grow_it, filled(foreign_malloc, size));
		in_thread(free_it, NULL);
		in_thread(end_at_once, NULL);
		if (i == rounds / 5)
			before = resident_bytes();
	}
	size_t after = resident_bytes();
	REQUIRE(after < before + 3 * MIB, "resident: %zu KiB after a fifth, %zu at the end", before / KIB, after / KIB);
	return 0;
}

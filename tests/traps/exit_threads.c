/*
 * Trap: the process exits while its threads still allocate. Exit handlers and
 * destructors of the program use the heap, beside threads that never stop.
 *
 *     exit_threads [seed]
 */
#include "churn.h"

static struct churners churners;
static char *kept;

static void at_exit(void)
{
	REQUIRE(strcmp(kept, "kept until exit") == 0, "the string has changed");
	use_heap_briefly(1);
	free(kept);
}

__attribute__((destructor)) static void at_unload(void)
{
	use_heap_briefly(2);
}

int main(int count, char **values)
{
	require_allocator();
	uint64_t seed = argument(count, values, 1, (unsigned long)getpid());
	kept = strdup("kept until exit");
	atexit(at_exit);
	churners_start(&churners, 4, seed);
	use_heap_briefly(seed);
	return 0;
}

/*
 * Trap: a signal handler that allocates, while the program asks for statistics, sets a
 * parameter, or gives memory back, over and over.
 */
#include "timers.h"
#include "trap.h"

#include <malloc.h>
#include <stdatomic.h>

enum { BLOCKS = 100, SIGNALS = 1000 };

static atomic_int handled;

static timer_t timer;

static void allocate(int number, siginfo_t *information, void *context)
{
	(void)number, (void)information, (void)context;
	free(malloc(3 * MIB));
	free(malloc(200 * KIB));
	if (++handled < SIGNALS)
		timer_shoot(timer, 20000);
}

static void ask_for_figures(void)
{
	struct mallinfo2 info = mallinfo2();
	REQUIRE(info.uordblks != 0, "nothing is in use");
}

static void set_parameter(void)
{
	REQUIRE(mallopt(M_TRIM_THRESHOLD, 200000) == 1, "mallopt");
}

static void ask_for_report(void)
{
	static FILE *stream;
	static char buffer[4096];
	if (!stream) {
		stream = fopen("/dev/null", "w");
		REQUIRE(stream, "/dev/null: %s", strerror(errno));
		setvbuf(stream, buffer, _IOFBF, sizeof buffer);
	}
	malloc_info(0, stream);
}

static void give_back(void)
{
	malloc_trim(0);
}

int main(void)
{
	static void (*const calls[])(void) = {ask_for_figures, set_parameter, ask_for_report, give_back};
	void *blocks[BLOCKS];
	require_allocator();
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(i * 1000);
	handle_signal(SIGALRM, allocate);
	timer = timer_for_this_thread(SIGALRM, NULL);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		handled = 0;
		timer_shoot(timer, 20000);
		while (handled < SIGNALS)
			calls[i]();
	}
	for (size_t i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return 0;
}

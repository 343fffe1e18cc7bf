/*
 * Trap: malloc before main. The program allocates in .preinit_array, which runs before
 * the constructor of any library, and in its own constructors; threads are at work
 * there already; and what was allocated early is used and freed late.
 *
 * With a name as argument that library must be loaded, and its constructor must have
 * used the same malloc (the driver preloads it before or after the allocator).
 */
#include "churn.h"
#include "module.h"

enum { PREINIT, EARLY, LATE, PHASES };

static struct block blocks[PHASES][3];

static void allocate(int phase)
{
	static const size_t sizes[3] = {30, 5000, 700000};
	for (int i = 0; i < 3; i++) {
		struct block *block = &blocks[phase][i];
		block->size = sizes[i];
		block->tag = (unsigned char)(phase * 3 + i + 1);
		block->start = malloc(block->size);
		REQUIRE(block->start, "malloc(%zu) before main: %s", block->size, strerror(errno));
		block_mark(block);
	}
}

static void in_preinit(void)
{
	allocate(PREINIT);
	free(malloc(64));
}

__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(void) = in_preinit;

__attribute__((constructor(101))) static void in_early_constructor(void)
{
	allocate(EARLY);
	for (int i = 0; i < 3; i++) {
		blocks[PREINIT][i].start = realloc(blocks[PREINIT][i].start, blocks[PREINIT][i].size);
		REQUIRE(blocks[PREINIT][i].start, "realloc: %s", strerror(errno));
		block_check(&blocks[PREINIT][i]);
	}
}

__attribute__((constructor)) static void in_constructor(void)
{
	static struct churners churners;
	allocate(LATE);
	churners_start(&churners, 2, 1);
	use_heap_briefly(2);
	churners_stop(&churners);
}

static void require_module(const char *name)
{
	const struct module *module = dlsym(RTLD_DEFAULT, "module_interface");
	REQUIRE(module, "%s is not loaded", name);
	void *block = module->allocate(100);
	REQUIRE(block, "the module's malloc: %s", strerror(errno));
	free(block);
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(preinit_entry, "no entry in .preinit_array");
	if (count > 1)
		require_module(values[1]);
	for (int phase = 0; phase < PHASES; phase++)
		for (int i = 0; i < 3; i++)
			block_end(&blocks[phase][i]);
	use_heap_briefly(3);
	return 0;
}

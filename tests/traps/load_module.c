/*
 * Trap: libraries that come and go by dlopen, with a constructor that allocates and a
 * destructor that frees, while threads are at work; and RTLD_DEEPBIND, which binds a
 * module to libc's malloc instead of ours, so that host and module free each other's
 * blocks in the wrong heap.
 *
 *     load_module plain MODULE      load and unload, blocks change hands
 *     load_module deepbind MODULE   the same with RTLD_DEEPBIND: the flag must be dropped
 *     load_module kept MODULE       RTLD_DEEPBIND kept (an option): the module's blocks
 *                                   are foreign, and the host frees them all the same
 *     load_module private NAME      a bare name that only this program's RUNPATH finds
 *     load_module caller MODULE     only the module's RUNPATH finds it, the host's does not
 */
#include "churn.h"
#include "module.h"

enum { ROUNDS = 100 };

static void *loaded(const char *path, int flags)
{
	void *library = dlopen(path, flags);
	REQUIRE(library, "dlopen: %s", dlerror());
	return library;
}

static const struct module *interface_of(void *library)
{
	const struct module *module = dlsym(library, "module_interface");
	REQUIRE(module, "dlsym: %s", dlerror());
	return module;
}

static const size_t sizes[] = {24, 400, 9000, 150000, 3000000};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* Blocks of the module, ended by the host. */
static void take_from(const struct module *module)
{
	for (int i = 0; i < SIZES; i++) {
		struct block block = {module->allocate(sizes[i]), sizes[i], 0x61};
		REQUIRE(block.start, "the module's malloc: %s", strerror(errno));
		block_mark(&block);
		block_end(&block);
		unsigned char *resized = module->allocate(sizes[i]);
		memset(resized, 0x62, 20);
		resized = realloc(resized, sizes[i] * 3);
		REQUIRE(resized, "realloc: %s", strerror(errno));
		bytes_check(resized, 20, 0x62);
		free(resized);
	}
}

/* Blocks of the host, ended by the module. */
static void give_to(const struct module *module)
{
	for (int i = 0; i < SIZES; i++) {
		module->release(malloc(sizes[i]));
		unsigned char *block = malloc(sizes[i]);
		REQUIRE(block, "malloc: %s", strerror(errno));
		memset(block, 0x63, 20);
		block = module->resize(block, sizes[i] * 2);
		REQUIRE(block, "the module's realloc: %s", strerror(errno));
		bytes_check(block, 20, 0x63);
		free(block);
	}
}

static void exchange(const char *path, int flags)
{
	static struct churners churners;
	churners_start(&churners, 2, (uint64_t)getpid());
	for (int round = 0; round < ROUNDS; round++) {
		void *library = loaded(path, flags);
		take_from(interface_of(library));
		give_to(interface_of(library));
		dlclose(library);
		REQUIRE(!dlopen("libthere-is-no-such-library.so", RTLD_NOW), "a library out of nowhere");
		REQUIRE(dlerror(), "dlerror does not tell of a failed dlopen");
	}
	churners_stop(&churners);
}

static void keep_deepbind(const char *path)
{
	void *library = loaded(path, RTLD_NOW | RTLD_DEEPBIND);
	const struct module *module = interface_of(library);
	for (int round = 0; round < ROUNDS; round++)
		take_from(module);
	dlclose(library);
}

static void load_by_name(const char *name)
{
	void *library = loaded(name, RTLD_NOW);
	take_from(interface_of(library));
	dlclose(library);
}

/* dlopen looks at who calls it: the module's own RUNPATH counts, not the program's. */
static void load_through(const char *path)
{
	void *library = loaded(path, RTLD_NOW);
	const struct module *module = interface_of(library);
	const char *name = "libtrap_nested.so";
	REQUIRE(!dlopen(name, RTLD_NOW), "the host finds %s: the test proves nothing", name);
	void *nested = module->load(name, RTLD_NOW);
	REQUIRE(nested, "the module does not find %s beside itself: %s", name, dlerror());
	dlclose(nested);
	nested = module->load(name, RTLD_NOW | RTLD_DEEPBIND);
	REQUIRE(nested, "nor with RTLD_DEEPBIND: %s", dlerror());
	give_to(interface_of(nested));
	dlclose(nested);
	dlclose(library);
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(count == 3, "two arguments are needed");
	const char *how = values[1], *path = values[2];
	if (strcmp(how, "plain") == 0)
		exchange(path, RTLD_NOW);
	else if (strcmp(how, "deepbind") == 0)
		exchange(path, RTLD_LAZY | RTLD_DEEPBIND);
	else if (strcmp(how, "kept") == 0)
		keep_deepbind(path);
	else if (strcmp(how, "private") == 0)
		load_by_name(path);
	else if (strcmp(how, "caller") == 0)
		load_through(path);
	else
		FAIL("unknown way %s", how);
	return 0;
}

/*
 * Trap: the allocator itself comes by dlopen into a process that has its malloc already.
 * Its functions work beside that malloc, hand its blocks on, and unloading does not pull
 * the ground from under threads that have used it.
 *
 *     load_allocator LIBRARY [local|global]
 */
#include "churn.h"

#include <semaphore.h>

struct allocator {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	size_t (*malloc_usable_size)(void *);
	int (*posix_memalign)(void **, size_t, size_t);
};

static struct allocator loaded;

/* ISO C knows no conversion from an object's pointer to a function's; POSIX wants it. */
static void find(void *library, const char *name, void *function, size_t size)
{
	void *symbol = dlsym(library, name);
	REQUIRE(symbol, "dlsym: %s", dlerror());
	memcpy(function, &symbol, size);
}

static void find_all(void *library)
{
	find(library, "malloc", &loaded.malloc, sizeof loaded.malloc);
	find(library, "calloc", &loaded.calloc, sizeof loaded.calloc);
	find(library, "realloc", &loaded.realloc, sizeof loaded.realloc);
	find(library, "free", &loaded.free, sizeof loaded.free);
	find(library, "malloc_usable_size", &loaded.malloc_usable_size, sizeof loaded.malloc_usable_size);
	find(library, "posix_memalign", &loaded.posix_memalign, sizeof loaded.posix_memalign);
}

static void use_loaded(void)
{
	enum { LIVE = 500 };
	unsigned char *blocks[LIVE];
	for (int i = 0; i < LIVE; i++) {
		size_t size = (size_t)i * (size_t)i + 1;
		blocks[i] = loaded.malloc(size);
		REQUIRE(blocks[i], "the loaded malloc(%zu): %s", size, strerror(errno));
		REQUIRE(loaded.malloc_usable_size(blocks[i]) >= size, "usable size below %zu", size);
		memset(blocks[i], i, size);
	}
	for (int i = 0; i < LIVE; i++) {
		size_t size = (size_t)i * (size_t)i + 1;
		blocks[i] = loaded.realloc(blocks[i], size * 2);
		REQUIRE(blocks[i], "the loaded realloc(%zu): %s", size * 2, strerror(errno));
		bytes_check(blocks[i], size, (unsigned char)i);
		loaded.free(blocks[i]);
	}
	unsigned char *zeroed = loaded.calloc(1000, 100);
	REQUIRE(zeroed, "the loaded calloc: %s", strerror(errno));
	bytes_check(zeroed, 100000, 0);
	loaded.free(zeroed);
	void *aligned;
	REQUIRE(loaded.posix_memalign(&aligned, 65536, 100) == 0 && (uintptr_t)aligned % 65536 == 0,
		"the loaded posix_memalign failed");
	loaded.free(aligned);
}

/* The process's own malloc is the next allocator: its blocks are handed on. */
static void hand_over(void)
{
	for (size_t size = 10; size < 2 * MIB; size = size * 3 + 1) {
		loaded.free(malloc(size));
		unsigned char *block = malloc(size);
		REQUIRE(block, "malloc: %s", strerror(errno));
		memset(block, 0x44, size);
		REQUIRE(loaded.malloc_usable_size(block) >= size, "usable size of a foreign block");
		block = loaded.realloc(block, size * 2);
		REQUIRE(block, "the loaded realloc of a foreign block: %s", strerror(errno));
		bytes_check(block, size, 0x44);
		loaded.free(block);
	}
}

static sem_t used, unloaded;

static void *use_wait_end(void *unused)
{
	use_loaded();
	sem_post(&used);
	sem_wait(&unloaded);
	return unused;
}

static void *use_and_end(void *unused)
{
	use_loaded();
	return unused;
}

static pthread_t started(void *(*function)(void *))
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, function, NULL);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	return thread;
}

int main(int count, char **values)
{
	REQUIRE(count > 1, "which library?");
	int scope = count > 2 && strcmp(values[2], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL;
	sem_init(&used, 0, 0);
	sem_init(&unloaded, 0, 0);
	static struct churners churners;
	churners_start(&churners, 2, (uint64_t)getpid());

	void *library = dlopen(values[1], RTLD_NOW | scope);
	REQUIRE(library, "dlopen: %s", dlerror());
	find_all(library);
	use_loaded();
	hand_over();
	for (int i = 0; i < 20; i++)
		pthread_join(started(use_and_end), NULL);
	pid_t pid = fork();
	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		use_loaded();
		use_heap_briefly(1);
		_exit(0);
	}
	reap(pid);

	pthread_t thread = started(use_wait_end);
	sem_wait(&used);
	dlclose(library);
	sem_post(&unloaded);
	pthread_join(thread, NULL); /* its destructors run after the dlclose */
	library = dlopen(values[1], RTLD_NOW | scope);
	REQUIRE(library, "dlopen again: %s", dlerror());
	find_all(library);
	use_loaded();
	churners_stop(&churners);
	dlclose(library);
	return 0;
}

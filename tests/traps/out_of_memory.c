/*
 * Trap: after out of memory. Under a limit the heap is filled with one size until malloc
 * says NULL and ENOMEM; the objects are intact; after freeing all of them 10 MiB in one
 * piece must be had, and the next size finds the memory again.
 *
 *     out_of_memory space     the program limits its address space (RLIMIT_AS)
 *     out_of_memory data      it limits private writable memory (RLIMIT_DATA), which the
 *                             kernel counts much as with vm.overcommit_memory=2
 *     out_of_memory threads   like space, filled by four threads at once
 *     out_of_memory strict    overcommit is forbidden (vm.overcommit_memory=2): what exceeds
 *                             the commit limit is refused, and all goes on
 *     out_of_memory outside   the limit was set before the program started: ulimit -v, or
 *                             the allocator's own (hard_limit)
 *     out_of_memory outside-threads   the same, filled by four threads
 */
#include "churn.h"

#include <malloc.h>
#include <sys/resource.h>

#define LIMIT (300 * MIB)
/* At least so much must have been had when malloc gives up. */
#define LEAST (150 * MIB)

enum { THREADS = 4 };

/* The objects hold their own list, so that the test needs no memory beside them. */
struct object {
	struct object *next;
	size_t size;
	uint64_t tag;
};

static uint64_t tag_of(const struct object *object)
{
	return (uint64_t)(uintptr_t)object * 0x9e3779b97f4a7c15u + object->size;
}

static struct object *entered(struct object *object, size_t size, struct object *next)
{
	uint64_t *last = (uint64_t *)((char *)object + size - sizeof *last);
	object->next = next;
	object->size = size;
	*last = object->tag = tag_of(object);
	return object;
}

static void verify(const struct object *object)
{
	const char *last = (const char *)object + object->size - sizeof(uint64_t);
	uint64_t tag = tag_of(object);
	REQUIRE(object->tag == tag && memcmp(last, &tag, sizeof tag) == 0, "object %p of %zu bytes has changed",
		(const void *)object, object->size);
}

typedef void *allocate_function(size_t size);

static void *by_malloc(size_t size)
{
	return malloc(size);
}

static void *by_calloc(size_t size)
{
	return calloc(1, size);
}

static void *by_aligned(size_t size)
{
	return aligned_alloc(64, size);
}

static void *by_realloc(size_t size)
{
	void *block = malloc(32);
	void *larger = block ? realloc(block, size) : NULL;
	if (!larger) {
		int error = errno;
		free(block); /* a failed realloc leaves the block alone */
		errno = error;
	}
	return larger;
}

/* What counts of an object: what was asked for, or what it takes if the profile rounds that up to twice as much and more. */
static size_t counted(struct object *object, size_t size)
{
	size_t usable = malloc_usable_size(object);
	return usable >= 2 * size ? usable : size;
}

/* Fills until NULL; the bytes had. */
static size_t fill(struct object **list, allocate_function *allocate, size_t size)
{
	size_t had = 0;
	for (;;) {
		errno = 0;
		struct object *object = allocate(size);
		if (!object)
			break;
		had += counted(object, size);
		*list = entered(object, size, *list);
	}
	REQUIRE(errno == ENOMEM, "allocating %zu failed with errno %d, not ENOMEM", size, errno);
	return had;
}

static void empty(struct object **list)
{
	while (*list) {
		struct object *object = *list;
		verify(object);
		*list = object->next;
		free(object);
	}
}

static void require_ten_mib(size_t size)
{
	unsigned char *block = malloc(10 * MIB);
	REQUIRE(block, "no 10 MiB in one piece after objects of %zu bytes have been freed", size);
	memset(block, 1, 10 * MIB);
	free(block);
}

static void fill_and_empty(allocate_function *allocate, size_t size, size_t least)
{
	struct object *list = NULL;
	size_t had = fill(&list, allocate, size);
	REQUIRE(had >= least, "only %zu KiB in objects of %zu bytes before NULL", had / KIB, size);
	/* Failing again changes nothing, and what can still be had is not lost. */
	for (int i = 0; i < 1000; i++) {
		struct object *object = allocate(size);
		if (object)
			list = entered(object, size, list);
	}
	empty(&list);
	require_ten_mib(size);
}

static const size_t sizes[] = {24, 104, 1000, 4096, 20000, 64 * KIB, 300 * KIB, 1 * MIB, 48 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void fill_with_each_size(void)
{
	for (int i = 0; i < SIZES; i++)
		fill_and_empty(by_malloc, sizes[i], LEAST);
	fill_and_empty(by_calloc, 3000, LEAST);
	fill_and_empty(by_calloc, 5 * MIB, LEAST);
	fill_and_empty(by_aligned, 640, LEAST);
	fill_and_empty(by_realloc, 200, LEAST / 2);
	fill_and_empty(by_realloc, 2 * MIB, LEAST / 2);
	for (int i = SIZES - 1; i >= 0; i--)
		fill_and_empty(by_malloc, sizes[i], LEAST);
}

/* One block that grows until it cannot: it must stay whole. */
static void grow_until_refused(void)
{
	size_t size = 1 * MIB;
	unsigned char *block = malloc(size);
	REQUIRE(block, "malloc: %s", strerror(errno));
	memset(block, 0x29, size);
	for (;;) {
		unsigned char *larger = realloc(block, size + 1 * MIB);
		if (!larger)
			break;
		block = larger;
		memset(block + size, 0x29, 1 * MIB);
		size += 1 * MIB;
	}
	REQUIRE(errno == ENOMEM, "errno %d, not ENOMEM", errno);
	REQUIRE(size >= LEAST / 3, "one block grew only to %zu KiB", size / KIB);
	bytes_check(block, size, 0x29);
	free(block);
	require_ten_mib(size);
}

struct filler {
	pthread_t thread;
	struct object *list;
	size_t size;
	size_t had;
};

static pthread_barrier_t barrier;

static void *fill_thread(void *argument_of_thread)
{
	struct filler *filler = argument_of_thread;
	pthread_barrier_wait(&barrier); /* all threads exist before memory gets short */
	filler->had = fill(&filler->list, by_malloc, filler->size);
	pthread_barrier_wait(&barrier);
	empty(&filler->list);
	return NULL;
}

static void fill_by_threads(const size_t *thread_sizes)
{
	struct filler fillers[THREADS];
	size_t had = 0;
	for (int i = 0; i < THREADS; i++) {
		fillers[i] = (struct filler){.size = thread_sizes[i]};
		int error = pthread_create(&fillers[i].thread, NULL, fill_thread, &fillers[i]);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(fillers[i].thread, NULL);
		had += fillers[i].had;
	}
	REQUIRE(had >= LEAST, "only %zu KiB by four threads before NULL", had / KIB);
	require_ten_mib(thread_sizes[0]);
}

/* A thread whose first use of the heap is when nothing is left: it gets NULL, and can
 * free what others made. */
static struct object *left_to_free;

static void *start_without_memory(void *unused)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (size_t size = 16; size <= 4 * MIB; size *= 2)
		free(malloc(size));
	empty(&left_to_free);
	REQUIRE((unused = malloc(1000)), "no 1000 bytes after everything has been freed");
	free(unused);
	return NULL;
}

static void start_thread_without_memory(void)
{
	pthread_t thread;
	pthread_barrier_init(&barrier, NULL, 2);
	int error = pthread_create(&thread, NULL, start_without_memory, NULL);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	pthread_barrier_wait(&barrier);
	for (int i = SIZES - 1; i >= 0; i--)
		fill(&left_to_free, by_malloc, sizes[i]);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	require_ten_mib(0);
	pthread_barrier_destroy(&barrier);
}

static void run_threads(void)
{
	static const size_t small[THREADS] = {32, 104, 512, 2000};
	static const size_t mixed[THREADS] = {48, 10000, 200 * KIB, 3 * MIB};
	start_thread_without_memory();
	pthread_barrier_init(&barrier, NULL, THREADS);
	fill_by_threads(small);
	fill_by_threads(mixed);
	fill_by_threads(small);
	pthread_barrier_destroy(&barrier);
}

/* Not up to the limit, which is that of all processes: in one block that exceeds it. */
static void exceed_commit_limit(void)
{
	size_t size = proc_number("/proc/meminfo", "\nCommitLimit:") * KIB + 1;
	for (int round = 0; round < 3; round++) {
		struct object *list = NULL;
		for (int i = 0; i < 4; i++) {
			static allocate_function *const ways[] = {by_malloc, by_calloc, by_aligned, by_realloc};
			errno = 0;
			void *block = ways[i](size);
			REQUIRE(!block && errno == ENOMEM, "%zu bytes of %zu: %p, errno %d", size, size - 1, block, errno);
			block = ways[i](3 * MIB);
			REQUIRE(block, "no 3 MiB after that");
			list = entered(block, 3 * MIB, list);
		}
		use_heap_briefly((uint64_t)round);
		empty(&list);
	}
}

static void limit(int resource, size_t bytes)
{
	struct rlimit value = {bytes, bytes};
	REQUIRE(setrlimit(resource, &value) == 0, "setrlimit: %s", strerror(errno));
}

int main(int count, char **values)
{
	require_allocator();
	REQUIRE(count == 2, "one argument is needed");
	const char *how = values[1];
	use_heap_briefly(1);
	if (strcmp(how, "space") == 0)
		limit(RLIMIT_AS, address_space_bytes() + LIMIT);
	else if (strcmp(how, "data") == 0)
		limit(RLIMIT_DATA, proc_number("/proc/self/status", "\nVmData:") * KIB + LIMIT);
	else if (strcmp(how, "threads") == 0)
		limit(RLIMIT_AS, address_space_bytes() + LIMIT + THREADS * 16 * MIB);
	else
		REQUIRE(strncmp(how, "outside", 7) == 0 || strcmp(how, "strict") == 0, "unknown limit %s", how);
	if (strcmp(how, "strict") == 0) {
		exceed_commit_limit();
	} else if (strcmp(how, "threads") == 0 || strcmp(how, "outside-threads") == 0) {
		run_threads();
	} else {
		fill_with_each_size();
		grow_until_refused();
	}
	use_heap_briefly(2);
	return 0;
}

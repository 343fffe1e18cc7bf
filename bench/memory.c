/*
 * The memory benchmark: one measurement per process, on the standard interface alone; memory.py runs it under each
 * allocator and takes medians. Prints lines `NAME VALUE`. Must be compiled with -fno-builtin (see micro.c).
 */
#define _GNU_SOURCE
#include "measure.h"
#include "pattern.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define LIST_COUNT 64
#define THREADS_MAXIMUM 1000

/* The objects themselves form the lists through which they are found again: no table of pointers adds to the memory. */
struct object {
    struct object *next;
};

struct list {
    struct object *first, *last;
};

static void append(struct list *list, struct object *object)
{
    object->next = NULL;
    if (list->last)
        list->last->next = object;
    else
        list->first = object;
    list->last = object;
}

static void free_list(struct list *list)
{
    for (struct object *object = list->first; object != NULL;) {
        struct object *next = object->next;
        free(object);
        object = next;
    }
}

/* Resident memory with `count` objects of `size` bytes live, after freeing them, and after malloc_trim(0). The objects
 * go at random to one of `list_count` lists, which are freed one after the other: with one list they are freed in order
 * of allocation, with many the last objects of every page go late. */
static void measure_live(size_t size, size_t count, size_t list_count)
{
    static struct list lists[LIST_COUNT];
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        struct object *object = malloc(size);
        memset(object, 1, size);
        append(&lists[next_random(&state) % list_count], object);
    }
    uint64_t live = resident_kib();
    for (size_t i = 0; i < list_count; i++)
        free_list(&lists[i]);
    uint64_t freed = resident_kib();
    malloc_trim(0);
    uint64_t trimmed = resident_kib();
    printf("live_kib %ju\nfreed_kib %ju\ntrimmed_kib %ju\n", (uintmax_t)live, (uintmax_t)freed, (uintmax_t)trimmed);
}

/* Takes and writes one object of each of eight sizes up to 4 KiB, then frees them. */
static void use_eight_sizes(void)
{
    static const size_t sizes[] = {16, 64, 128, 256, 512, 1024, 2048, 4096};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    char *objects[SIZES];
    for (int i = 0; i < SIZES; i++) {
        objects[i] = malloc(sizes[i]);
        memset(objects[i], 1, sizes[i]);
    }
    for (int i = 0; i < SIZES; i++)
        free(objects[i]);
}

static void *short_thread(void *argument)
{
    use_eight_sizes();
    return argument;
}

static pthread_t threads[THREADS_MAXIMUM];

static void create_threads(size_t count, void *(*body)(void *))
{
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, body, NULL) != 0)
            fail("cannot create a thread");
}

static void join_threads(size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* Resident memory after `count` short threads, of which `group` at a time were alive. */
static void measure_short_threads(size_t count, size_t group)
{
    for (size_t done = 0; done < count; done += group) {
        create_threads(group, short_thread);
        join_threads(group);
    }
    printf("resident_kib %ju\n", (uintmax_t)resident_kib());
}

static pthread_barrier_t all_have_worked, all_may_end;

static void *idle_thread(void *argument)
{
    use_eight_sizes();
    pthread_barrier_wait(&all_have_worked);
    pthread_barrier_wait(&all_may_end);
    return argument;
}

/* What a thread costs that has taken and freed eight sizes and now waits, with its stack. */
static void measure_idle_threads(size_t count)
{
    use_eight_sizes();
    create_threads(1, short_thread); /* what the first thread of all sets up is not a thread's cost */
    join_threads(1);
    pthread_barrier_init(&all_have_worked, NULL, (unsigned)count + 1);
    pthread_barrier_init(&all_may_end, NULL, (unsigned)count + 1);
    uint64_t before = resident_kib();
    create_threads(count, idle_thread);
    pthread_barrier_wait(&all_have_worked);
    uint64_t after = resident_kib();
    pthread_barrier_wait(&all_may_end);
    join_threads(count);
    printf("kib_per_thread %.2f\n", ((double)after - (double)before) / (double)count);
}

static double milliseconds_since(uint64_t start)
{
    return (double)(wall_clock() - start) / 1e6;
}

/* Time of a large calloc, and the memory that it made resident. */
static void measure_calloc(size_t size)
{
    resident_kib(); /* the code that measures becomes resident, too: now, not in between */
    uint64_t before = resident_kib();
    uint64_t start = wall_clock();
    char *memory = calloc(1, size);
    double milliseconds = milliseconds_since(start);
    uint64_t after = resident_kib();
    if (memory == NULL || memory[0] != 0 || memory[size / 2] != 0 || memory[size - 1] != 0)
        fail("calloc gave no zeroed memory");
    free(memory);
    printf("ms %.4f\nresident_kib %ju\n", milliseconds, (uintmax_t)(after > before ? after - before : 0));
}

/* The byte that position `offset` of a block must keep. */
static char mark_of(size_t offset)
{
    return (char)(offset / MIB * 7 + 1);
}

/* Time to grow a block by realloc in steps of 1 MiB, each time writing one byte of what was added. */
static void measure_growth(size_t first, size_t last)
{
    uint64_t start = wall_clock();
    char *memory = malloc(first);
    memory[0] = mark_of(0);
    for (size_t size = first; size < last; size += MIB) {
        memory = realloc(memory, size + MIB);
        memory[size] = mark_of(size);
    }
    double milliseconds = milliseconds_since(start);
    for (size_t offset = first; offset < last; offset += MIB)
        if (memory[offset] != mark_of(offset))
            fail("realloc lost content");
    free(memory);
    printf("ms %.4f\n", milliseconds);
}

/* Time of one realloc of a block whose every byte is in use. */
static void measure_enlargement(size_t first, size_t last)
{
    char *memory = malloc(first);
    for (size_t offset = 0; offset < first; offset += MIB)
        memset(memory + offset, mark_of(offset), MIB);
    uint64_t start = wall_clock();
    memory = realloc(memory, last);
    double milliseconds = milliseconds_since(start);
    if (memory == NULL)
        fail("realloc gave no memory");
    for (size_t offset = 0; offset < first; offset += 4096)
        if (memory[offset] != mark_of(offset))
            fail("realloc lost content");
    free(memory);
    printf("ms %.4f\n", milliseconds);
}

/* Each measurement takes up to three numbers. */
static int run(const char *what, const size_t *number)
{
    if (strcmp(what, "live") == 0 && number[0] >= sizeof(struct object) && number[2] >= 1 && number[2] <= LIST_COUNT)
        measure_live(number[0], number[1], number[2]);
    else if (strcmp(what, "short-threads") == 0 && number[1] >= 1 && number[1] <= THREADS_MAXIMUM)
        measure_short_threads(number[0], number[1]);
    else if (strcmp(what, "idle-threads") == 0 && number[0] >= 1 && number[0] <= THREADS_MAXIMUM)
        measure_idle_threads(number[0]);
    else if (strcmp(what, "calloc") == 0 && number[0] >= 1)
        measure_calloc(number[0] * MIB);
    else if (strcmp(what, "growth") == 0 && number[0] >= 1)
        measure_growth(number[0] * MIB, number[1] * MIB);
    else if (strcmp(what, "enlargement") == 0 && number[0] >= 1 && number[1] >= number[0])
        measure_enlargement(number[0] * MIB, number[1] * MIB);
    else
        return 0;
    return 1;
}

int main(int argc, char **argv)
{
    size_t number[3] = {0, 0, 0};
    for (int i = 2; i < argc && i < 5; i++)
        number[i - 2] = strtoull(argv[i], NULL, 10);
    if (argc < 2 || !run(argv[1], number)) {
        fprintf(stderr, "usage: memory live SIZE COUNT LISTS | short-threads COUNT GROUP | idle-threads COUNT |\n"
                        "              calloc MIB | growth FROM_MIB TO_MIB | enlargement FROM_MIB TO_MIB\n");
        return 2;
    }
    print_allocator();
    return 0;
}

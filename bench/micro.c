/*
 * The microbenchmark: nanoseconds per operation of one row, on the standard interface alone, so that any preloaded
 * allocator can be measured. One process measures one row; run.py interleaves the processes and takes medians.
 * Must be compiled with -fno-builtin: otherwise the compiler may remove a malloc with its free.
 */
#define _GNU_SOURCE
#include "exchange.h"
#include "measure.h"
#include "pattern.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_MAXIMUM 100000
#define BATCH_COUNT 1000
#define PAIRS_PER_CYCLE 1000
#define RANDOM_LIVE 1024
#define RANDOM_STEPS 32768
#define MIB ((size_t)1 << 20)

/* All working memory is static: the allocator serves nothing but what is measured. */
static char *slots[LIVE_MAXIMUM];
static uint32_t order[LIVE_MAXIMUM];
static struct random_step steps[RANDOM_STEPS];

/* A row: `size` is its object size or its largest size, `count` how many objects are live at once. */
struct row {
    const char *family;
    size_t size;
    size_t count;
    void (*prepare)(const struct row *row);
    uint64_t (*cycle)(const struct row *row); /* does a bit of work and returns its number of operations */
    uint64_t (*clock)(void);
};

/* Every object's first byte is written, so that it is real memory. An allocator that returns NULL crashes here, and
 * run.py reports that. */
static inline void touch(char *object)
{
    *(volatile char *)object = 1;
}

static uint64_t cycle_pair(const struct row *row)
{
    size_t size = row->size;
    for (int i = 0; i < PAIRS_PER_CYCLE; i++) {
        char *object = malloc(size);
        touch(object);
        free(object);
    }
    return PAIRS_PER_CYCLE;
}

static uint64_t cycle_calloc(const struct row *row)
{
    size_t size = row->size;
    for (int i = 0; i < PAIRS_PER_CYCLE / 10; i++) {
        char *object = calloc(1, size);
        touch(object);
        free(object);
    }
    return PAIRS_PER_CYCLE / 10;
}

static void fill_slots(size_t size, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        slots[i] = malloc(size);
        touch(slots[i]);
    }
}

static uint64_t cycle_batch_in_order(const struct row *row)
{
    fill_slots(row->size, row->count);
    for (size_t i = 0; i < row->count; i++)
        free(slots[i]);
    return row->count;
}

static uint64_t cycle_batch_reversed(const struct row *row)
{
    fill_slots(row->size, row->count);
    for (size_t i = row->count; i > 0; i--)
        free(slots[i - 1]);
    return row->count;
}

static uint64_t cycle_batch_at_random(const struct row *row)
{
    fill_slots(row->size, row->count);
    for (size_t i = 0; i < row->count; i++)
        free(slots[order[i]]);
    return row->count;
}

static void prepare_order(const struct row *row)
{
    shuffle_order(order, row->count);
}

/* Replaces one of the live objects after the other by one of another size. */
static uint64_t cycle_random_sizes(const struct row *row)
{
    (void)row;
    for (size_t i = 0; i < RANDOM_STEPS; i++) {
        char **slot = &slots[steps[i].slot];
        free(*slot);
        *slot = malloc(steps[i].size);
        touch(*slot);
    }
    return RANDOM_STEPS;
}

static void prepare_random_sizes(const struct row *row)
{
    fill_uniform_steps(steps, RANDOM_STEPS, RANDOM_LIVE, row->size);
    fill_slots(16, RANDOM_LIVE);
}

static void prepare_power_law(const struct row *row)
{
    fill_power_law_steps(steps, RANDOM_STEPS, RANDOM_LIVE, row->size);
    fill_slots(16, RANDOM_LIVE);
}

/* Grows one object from `first` bytes, by `step` bytes at a time or, if step is 0, to the double, up to `last`; writes
 * the new last byte each time. Returns the number of reallocs. */
static uint64_t grow(size_t first, size_t last, size_t step)
{
    uint64_t reallocs = 0;
    char *object = malloc(first);
    touch(object);
    for (size_t size = first; size < last;) {
        size = step ? size + step : size * 2;
        object = realloc(object, size);
        touch(object + size - 1);
        reallocs++;
    }
    free(object);
    return reallocs;
}

static uint64_t cycle_grow_by_16(const struct row *row)
{
    return grow(1, row->size, 16);
}

static uint64_t cycle_grow_doubling(const struct row *row)
{
    return grow(1, row->size, 0);
}

static uint64_t cycle_grow_by_mib(const struct row *row)
{
    return grow(MIB, row->size, MIB);
}

static void prepare_exchange(const struct row *row)
{
    exchange_start(row->size, EXCHANGE_ONE_WAY);
}

static void prepare_exchange_both_ways(const struct row *row)
{
    exchange_start(row->size, EXCHANGE_BOTH_WAYS);
}

static uint64_t cycle_exchange(const struct row *row)
{
    (void)row;
    return exchange_cycle();
}

#define PAIR(size) {"pair", size, 1, NULL, cycle_pair, processor_clock}
#define BATCH(size)                                                                        \
    {"batch-in-order", size, BATCH_COUNT, NULL, cycle_batch_in_order, processor_clock},    \
    {"batch-reversed", size, BATCH_COUNT, NULL, cycle_batch_reversed, processor_clock},    \
    {"batch-random", size, BATCH_COUNT, prepare_order, cycle_batch_at_random, processor_clock}
#define LIVE(size) {"live-100k", size, LIVE_MAXIMUM, prepare_order, cycle_batch_at_random, processor_clock}
#define RANDOM(size) {"random", size, RANDOM_LIVE, prepare_random_sizes, cycle_random_sizes, processor_clock}
#define CALLOC(size) {"calloc", size, 1, NULL, cycle_calloc, processor_clock}
#define EXCHANGE(size)                                                       \
    {"exchange", size, 1, prepare_exchange, cycle_exchange, wall_clock},     \
    {"exchange-both-ways", size, 1, prepare_exchange_both_ways, cycle_exchange, wall_clock}

static const struct row rows[] = {
    PAIR(16), PAIR(24), PAIR(64), PAIR(100), PAIR(256), PAIR(1000), PAIR(1024), PAIR(4096), PAIR(8192), PAIR(16384),
    PAIR(32768), PAIR(65536), PAIR(131072), PAIR(262144), PAIR(524288), PAIR(1048576),
    BATCH(8), BATCH(16), BATCH(64), BATCH(256), BATCH(1024), BATCH(4096),
    BATCH(16384), BATCH(65536), BATCH(262144), BATCH(1048576),
    LIVE(64), LIVE(256),
    RANDOM(256), RANDOM(4096), RANDOM(32768),
    {"power-law", 65536, RANDOM_LIVE, prepare_power_law, cycle_random_sizes, processor_clock},
    CALLOC(64), CALLOC(1024), CALLOC(65536), CALLOC(1048576),
    {"realloc-by-16", MIB, 1, NULL, cycle_grow_by_16, processor_clock},
    {"realloc-doubling", MIB, 1, NULL, cycle_grow_doubling, processor_clock},
    {"realloc-by-1M", 64 * MIB, 1, NULL, cycle_grow_by_mib, processor_clock},
    EXCHANGE(64), EXCHANGE(1024), EXCHANGE(16384),
};
static const size_t row_count = sizeof rows / sizeof rows[0];

static void name_row(const struct row *row, char *name, size_t size)
{
    snprintf(name, size, "%s/%zu", row->family, row->size);
}

static const struct row *find_row(const char *wanted)
{
    char name[64];
    for (size_t i = 0; i < row_count; i++) {
        name_row(&rows[i], name, sizeof name);
        if (strcmp(name, wanted) == 0)
            return &rows[i];
    }
    return NULL;
}

static void list_rows(void)
{
    char name[64];
    for (size_t i = 0; i < row_count; i++) {
        name_row(&rows[i], name, sizeof name);
        puts(name);
    }
}

/* A thread that moves between processors meets cold caches: the row stays where it was started. */
static void pin_to_this_processor(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* Runs cycles for at least `duration` nanoseconds, at least one; returns nanoseconds per operation. The clock is read
 * only about once in a millisecond: reading it costs as much as a hundred pairs. */
static double measure(const struct row *row, uint64_t duration)
{
    uint64_t operations = 0, start = row->clock(), last = start, cycles = 1;
    for (;;) {
        for (uint64_t i = 0; i < cycles; i++)
            operations += row->cycle(row);
        uint64_t now = row->clock();
        if (now - start >= duration)
            return (double)(now - start) / (double)operations;
        if (now - last < 1000000)
            cycles *= 2;
        last = now;
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list_rows();
        return 0;
    }
    const struct row *row = argc == 3 ? find_row(argv[1]) : NULL;
    uint64_t duration = argc == 3 ? strtoull(argv[2], NULL, 10) * 1000000 : 0;
    if (row == NULL || duration == 0) {
        fprintf(stderr, "usage: micro ROW MILLISECONDS | micro --list\n");
        return 2;
    }
    if (row->clock == processor_clock)
        pin_to_this_processor();
    if (row->prepare)
        row->prepare(row);
    measure(row, duration / 4); /* warm-up */
    printf("ns %.4f\n", measure(row, duration));
    print_allocator();
    return 0;
}

/* Two threads that hand objects to each other through rings. See exchange.h. */
#define _GNU_SOURCE
#include "exchange.h"
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Objects are handed over in groups, so that the ring costs little beside the allocator. */
#define GROUP 64
#define RING_SIZE 1024
#define GROUPS_PER_CYCLE 256
#define SPINS_BEFORE_YIELD 1000
#define SKIPPED 77

/* One sender, one receiver. `sent` and `received` only grow; each has a cache line of its own. */
struct ring {
    alignas(64) atomic_size_t sent;
    alignas(64) atomic_size_t received;
    alignas(64) char *objects[RING_SIZE];
};

static struct ring outward, homeward; /* as seen by the first thread */
static size_t object_size;
static enum exchange_mode exchange_mode;

/* Waiting gives the processor away after a while, for machines on which other programs want it too. */
static void wait_a_little(unsigned *spins)
{
    if (++*spins % SPINS_BEFORE_YIELD == 0)
        sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else
        __builtin_ia32_pause();
#endif
}

/* Allocates a group of objects and sends them; false if the ring has no room for them. */
static bool send_group(struct ring *ring)
{
    size_t sent = atomic_load_explicit(&ring->sent, memory_order_relaxed);
    if (sent - atomic_load_explicit(&ring->received, memory_order_acquire) > RING_SIZE - GROUP)
        return false;
    for (size_t i = 0; i < GROUP; i++) {
        char *object = malloc(object_size);
        *(volatile char *)object = 1;
        ring->objects[(sent + i) % RING_SIZE] = object;
    }
    atomic_store_explicit(&ring->sent, sent + GROUP, memory_order_release);
    return true;
}

/* Receives a group of objects and frees them; false if there is none. */
static bool receive_group(struct ring *ring)
{
    size_t received = atomic_load_explicit(&ring->received, memory_order_relaxed);
    if (atomic_load_explicit(&ring->sent, memory_order_acquire) == received)
        return false;
    for (size_t i = 0; i < GROUP; i++)
        free(ring->objects[(received + i) % RING_SIZE]);
    atomic_store_explicit(&ring->received, received + GROUP, memory_order_release);
    return true;
}

static void pin_to_processor(size_t index)
{
    cpu_set_t allowed, one;
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET(processor, &allowed) || index-- != 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
    puts("skipped: needs two processors");
    exit(SKIPPED);
}

/* The second thread works until the process ends. */
static void *second_thread(void *argument)
{
    (void)argument;
    unsigned spins = 0;
    for (;;) {
        bool worked = receive_group(&outward);
        if (exchange_mode == EXCHANGE_BOTH_WAYS)
            worked |= send_group(&homeward);
        if (!worked)
            wait_a_little(&spins);
    }
    return NULL;
}

void exchange_start(size_t size, enum exchange_mode mode)
{
    pthread_t thread;
    cpu_set_t allowed;
    object_size = size;
    exchange_mode = mode;
    sched_getaffinity(0, sizeof allowed, &allowed);
    pin_to_processor(1); /* inherited by the second thread */
    if (pthread_create(&thread, NULL, second_thread, NULL) != 0)
        fail("cannot create a thread");
    sched_setaffinity(0, sizeof allowed, &allowed);
    pin_to_processor(0);
}

uint64_t exchange_cycle(void)
{
    size_t groups_sent = 0, groups_received = 0;
    unsigned spins = 0;
    while (groups_sent < GROUPS_PER_CYCLE) {
        bool sent = send_group(&outward);
        bool received = receive_group(&homeward);
        groups_sent += sent;
        groups_received += received;
        if (!sent && !received)
            wait_a_little(&spins);
    }
    return (uint64_t)(groups_sent + groups_received) * GROUP;
}

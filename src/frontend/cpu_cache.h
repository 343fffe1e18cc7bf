/*
 * The frontend per CPU: what happens when a section finds a stack empty or full. Relies on the slabs and the central tier;
 * holds no lock of its own, neither here nor while it calls the central tier.
 */
#ifndef TIERMALLOC_FRONTEND_CPU_CACHE_H
#define TIERMALLOC_FRONTEND_CPU_CACHE_H

#include "base/common.h"
#include "base/rseq.h"

/* As the frontend's functions of these names, for a thread with this area. */
void *cpu_cache_allocate(struct rseq_area *area, unsigned class);
void cpu_cache_free(struct rseq_area *area, unsigned class, void *object, const char *function);

/* Once in a while, by one thread: drains the CPUs that have nothing to do. */
void cpu_cache_drain_idle(void);

/* Gives back everything that all CPUs' slabs hold, as far as they can be taken away. Returns bytes. */
size_t cpu_cache_flush_all(void);

/*
 * In a forked child: slabs that another thread had taken away are put back, and charged for what they have; who was growing
 * or shrinking them is gone.
 */
void cpu_cache_adopt_in_child(void);

struct cpu_cache_statistics {
	size_t slabs;
	size_t capacity; /* bytes that they may hold as they have grown */
};
void cpu_cache_read_statistics(struct cpu_cache_statistics *statistics);

/* Objects of the class in all slabs; of a moment. */
size_t cpu_cache_held(unsigned class);

/* Checks the slabs' bounds. NULL, or what is wrong. */
const char *cpu_cache_validate(void);

#endif

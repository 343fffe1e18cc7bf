/*
 * What every file may use: compiler hints and small arithmetic.
 * Relies on nothing but the compiler.
 */
#ifndef TIERMALLOC_BASE_COMMON_H
#define TIERMALLOC_BASE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Single words that one thread writes while others read them, with no order needed. */
#define load_relaxed(address)         __atomic_load_n(address, __ATOMIC_RELAXED)
#define store_relaxed(address, value) __atomic_store_n(address, value, __ATOMIC_RELAXED)

/* As gcc says it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

/*
 * load_relaxed for the fast path: gcc does not fold an atomic load into a comparison, and a plain one is the same
 * on every processor.
 */
#ifdef __SANITIZE_THREAD__
#define load_folded(address) load_relaxed(address)
#else
#define load_folded(address) (*(address))
#endif

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define NOINLINE      __attribute__((noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define COLD          __attribute__((cold, noinline))
#define CACHE_LINE    64
#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE)))

/* Of a variable that is declared in a header: reached without the global offset table. */
#define HIDDEN __attribute__((visibility("hidden")))

static inline size_t minimum(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t maximum(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* `unit` is a power of two; `value` must leave room for the rounding. */
static inline size_t round_up(size_t value, size_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline size_t round_down(size_t value, size_t unit)
{
	return value & ~(unit - 1);
}

static inline bool is_power_of_two(size_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* `value` is not 0. */
static inline unsigned log2_floor(size_t value)
{
	return 63 - (unsigned)__builtin_clzl(value);
}

#endif

/*
 * The rest of the C interface: what is made of malloc, the door's aligned allocation and realloc. Semantics are
 * those of POSIX, C23 and glibc; where glibc's versions differ, the newest one's.
 */
#include <errno.h>
#include <string.h>

#include "abi.h"
#include "base/os.h"
#include "door.h"
#include "fast_path.h"
#include "tiermalloc/tiermalloc.h"

#define MAXIMUM_ALIGNMENT (SIZE_MAX / 2 + 1)

static void *resize(void *pointer, size_t size)
{
	if (pointer == NULL)
		return own_malloc(size);
	if (size == 0) {
		door_free_as(pointer, "realloc");
		return NULL;
	}
	return door_realloc(pointer, size);
}

EXPORT void *PUBLIC(realloc)(void *pointer, size_t size)
{
	return resize(pointer, size);
}

EXPORT void *PUBLIC(reallocarray)(void *pointer, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return resize(pointer, bytes);
}

/* OpenBSD's: what is added reads zero, what is given up is wiped. */
EXPORT void *PUBLIC(recallocarray)(void *pointer, size_t old_count, size_t count, size_t size)
{
	size_t old_bytes;
	size_t bytes;
	void *resized;

	if (pointer == NULL)
		return own_calloc(count, size);
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (__builtin_mul_overflow(old_count, size, &old_bytes)) {
		errno = EINVAL;
		return NULL;
	}
	resized = own_calloc(count, size);
	if (resized == NULL)
		return NULL;
	memcpy(resized, pointer, minimum(old_bytes, bytes));
	explicit_bzero(pointer, old_bytes);
	own_free(pointer);
	return resized;
}

EXPORT int PUBLIC(posix_memalign)(void **result, size_t alignment, size_t size)
{
	void *object;
	int saved;

	if (unlikely(!is_power_of_two(alignment)) || unlikely(alignment % sizeof(void *) != 0))
		return EINVAL;
	object = pop_aligned(alignment, size);
	if (likely(object != NULL)) {
		*result = object;
		return 0;
	}
	saved = errno;
	object = door_aligned(alignment, size);
	errno = saved;
	if (object == NULL)
		return ENOMEM;
	*result = object;
	return 0;
}

EXPORT void *PUBLIC(aligned_alloc)(size_t alignment, size_t size)
{
	void *object;

	if (unlikely(!is_power_of_two(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	object = pop_aligned(alignment, size);
	return likely(object != NULL) ? object : door_aligned(alignment, size);
}

/* An alignment that is not a power of two is rounded up to one. */
EXPORT void *PUBLIC(memalign)(size_t alignment, size_t size)
{
	void *object;

	if (alignment > MAXIMUM_ALIGNMENT) {
		errno = EINVAL;
		return NULL;
	}
	if (alignment < 2)
		return own_malloc(size);
	alignment = (size_t)1 << (log2_floor(alignment - 1) + 1);
	object = pop_aligned(alignment, size);
	return likely(object != NULL) ? object : door_aligned(alignment, size);
}

EXPORT void *PUBLIC(valloc)(size_t size)
{
	return door_aligned(os_page_size(), size);
}

EXPORT void *PUBLIC(pvalloc)(size_t size)
{
	size_t page = os_page_size();

	if (size > SIZE_MAX - page + 1) {
		errno = ENOMEM;
		return NULL;
	}
	return door_aligned(page, round_up(size, page));
}

EXPORT size_t PUBLIC(malloc_usable_size)(void *pointer)
{
	return door_usable_size(pointer, "malloc_usable_size");
}

EXPORT int PUBLIC(malloc_trim)(size_t pad)
{
	return door_trim(pad) != 0;
}

EXPORT void PUBLIC(free_aligned_sized)(void *pointer, size_t alignment, size_t size)
{
	door_free_aligned_sized(pointer, alignment, size);
}

/* jemalloc's flags: the low six bits are the logarithm of the alignment. */
EXPORT size_t PUBLIC(nallocx)(size_t size, int flags)
{
	size_t alignment = (size_t)1 << (flags & 63);

	if (size == 0 || size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)
		return 0;
	return door_size_for(alignment, size);
}

EXPORT void PUBLIC(tiermalloc_thread_idle)(void)
{
	door_idle();
}

EXPORT const char *PUBLIC(tiermalloc_version)(void)
{
	return TIERMALLOC_VERSION;
}

#ifdef __GLIBC__
/* Gone from glibc's headers since 2.26; old programs still call it. */
EXPORT void PUBLIC(cfree)(void *pointer);
EXPORT void PUBLIC(cfree)(void *pointer)
{
	door_free_as(pointer, "cfree");
}
#endif

/*
 * C++'s operators new and delete. They are weak, so that a program's own ones win in a static link too, and forward
 * to each other as the standard says: whoever replaces only the plain ones has replaced all. The C++ library is
 * used where the process has one, for the new-handler and for std::bad_alloc, and is not needed otherwise.
 *
 * Names are the Itanium C++ ABI's for 64-bit size_t ("m").
 */
#include "operators.h"

#include "abi.h"
#include "base/message.h"
#include "catch_all.h"
#include "cxx_library.h"
#include "door.h"
#include "fast_path.h"

#define OPERATOR(symbol) __asm__(symbol) __attribute__((weak, visibility("default")))

struct nothrow;

void *operator_new(size_t size) OPERATOR("_Znwm");
void *operator_new_array(size_t size) OPERATOR("_Znam");
void *operator_new_nothrow(size_t size, const struct nothrow *tag) OPERATOR("_ZnwmRKSt9nothrow_t");
void *operator_new_array_nothrow(size_t size, const struct nothrow *tag) OPERATOR("_ZnamRKSt9nothrow_t");
void *operator_new_aligned(size_t size, size_t alignment) OPERATOR("_ZnwmSt11align_val_t");
void *operator_new_array_aligned(size_t size, size_t alignment) OPERATOR("_ZnamSt11align_val_t");
void *operator_new_aligned_nothrow(size_t size, size_t alignment, const struct nothrow *tag)
	OPERATOR("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *operator_new_array_aligned_nothrow(size_t size, size_t alignment, const struct nothrow *tag)
	OPERATOR("_ZnamSt11align_val_tRKSt9nothrow_t");

void operator_delete(void *pointer) OPERATOR("_ZdlPv");
void operator_delete_array(void *pointer) OPERATOR("_ZdaPv");
void operator_delete_nothrow(void *pointer, const struct nothrow *tag) OPERATOR("_ZdlPvRKSt9nothrow_t");
void operator_delete_array_nothrow(void *pointer, const struct nothrow *tag) OPERATOR("_ZdaPvRKSt9nothrow_t");
void operator_delete_sized(void *pointer, size_t size) OPERATOR("_ZdlPvm");
void operator_delete_array_sized(void *pointer, size_t size) OPERATOR("_ZdaPvm");
void operator_delete_aligned(void *pointer, size_t alignment) OPERATOR("_ZdlPvSt11align_val_t");
void operator_delete_array_aligned(void *pointer, size_t alignment) OPERATOR("_ZdaPvSt11align_val_t");
void operator_delete_sized_aligned(void *pointer, size_t size, size_t alignment) OPERATOR("_ZdlPvmSt11align_val_t");
void operator_delete_array_sized_aligned(void *pointer, size_t size, size_t alignment)
	OPERATOR("_ZdaPvmSt11align_val_t");
void operator_delete_aligned_nothrow(void *pointer, size_t alignment, const struct nothrow *tag)
	OPERATOR("_ZdlPvSt11align_val_tRKSt9nothrow_t");
void operator_delete_array_aligned_nothrow(void *pointer, size_t alignment, const struct nothrow *tag)
	OPERATOR("_ZdaPvSt11align_val_tRKSt9nothrow_t");

/* The same code under names that nobody can replace, to compare with. */
void own_operator_delete(void *pointer) __attribute__((alias("_ZdlPv"), visibility("hidden")));
void *own_operator_new(size_t size) __attribute__((alias("_Znwm"), visibility("hidden")));
void *own_operator_new_array(size_t size) __attribute__((alias("_Znam"), visibility("hidden")));
void *own_operator_new_nothrow(size_t size, const struct nothrow *tag)
	__attribute__((alias("_ZnwmRKSt9nothrow_t"), visibility("hidden")));
void *own_operator_new_aligned(size_t size, size_t alignment)
	__attribute__((alias("_ZnwmSt11align_val_t"), visibility("hidden")));
void *own_operator_new_array_aligned(size_t size, size_t alignment)
	__attribute__((alias("_ZnamSt11align_val_t"), visibility("hidden")));

typedef void (*new_handler)(void);

static new_handler find_new_handler(void)
{
	new_handler (*get_handler)(void) = (new_handler(*)(void))cxx_library_function("_ZSt15get_new_handlerv");

	return get_handler != NULL ? get_handler() : NULL;
}

/* Runs the new-handler, which makes room, throws or ends the program; throws std::bad_alloc if there is none. */
static void call_new_handler(void)
{
	new_handler handler = find_new_handler();
	void (*throw_bad_alloc)(void);

	if (handler != NULL) {
		handler();
		return;
	}
	throw_bad_alloc = (void (*)(void))cxx_library_function("_ZSt17__throw_bad_allocv");
	if (throw_bad_alloc != NULL)
		throw_bad_alloc();
	message_abort("operator new: out of memory, and there is no C++ library to throw std::bad_alloc");
}

static void *allocate_new(size_t size)
{
	return REQUEST_ALIGNMENT < NEW_ALIGNMENT && size > 8 ? door_aligned(NEW_ALIGNMENT, size) : own_malloc(size);
}

ALWAYS_INLINE void *allocate_new_aligned(size_t size, size_t alignment)
{
	void *object;

	if (!is_power_of_two(alignment))
		alignment = sizeof(void *);
	object = pop_aligned(alignment, size);
	return likely(object != NULL) ? object : door_aligned(alignment, size);
}

static NOINLINE void *door_new(size_t size)
{
	void *object;

	/*
	 * Not door_malloc: larger sizes come here without a look at the stack, and a handler may have freed
	 * something.
	 */
	while ((object = allocate_new(size)) == NULL)
		call_new_handler();
	return object;
}

void *operator_new(size_t size)
{
	size_t class;
	void *object;

	if (unlikely(size > SMALL_SIZE))
		return door_new(size);
	class = small_class_of(size);
	if (size > 8)
		class = new_class(class);
	object = pop(class);
	return likely(object != NULL) ? object : door_new(size);
}

void *operator_new_array(size_t size)
{
	return operator_new(size);
}

void *operator_new_aligned(size_t size, size_t alignment)
{
	void *object;

	while (unlikely((object = allocate_new_aligned(size, alignment)) == NULL))
		call_new_handler();
	return object;
}

void *operator_new_array_aligned(size_t size, size_t alignment)
{
	return operator_new_aligned(size, alignment);
}

static void *call_plain(size_t size, size_t unused)
{
	(void)unused;
	return operator_new(size);
}

static void *call_plain_array(size_t size, size_t unused)
{
	(void)unused;
	return operator_new_array(size);
}

/*
 * The nothrow forms call the others, which the program may have replaced, and catch what they throw. Where they are ours and
 * there is no handler that could throw, nothing is thrown in the first place: the unwinder may have come with a module, too
 * late to be bound to.
 */
static bool plain_is_ours(void)
{
	void *(*volatile in_use)(size_t) = operator_new;

	return in_use == own_operator_new;
}

static bool plain_array_is_ours(void)
{
	void *(*volatile in_use)(size_t) = operator_new_array;

	return in_use == own_operator_new_array && plain_is_ours();
}

static bool aligned_is_ours(void)
{
	void *(*volatile in_use)(size_t, size_t) = operator_new_aligned;

	return in_use == own_operator_new_aligned;
}

static bool aligned_array_is_ours(void)
{
	void *(*volatile in_use)(size_t, size_t) = operator_new_array_aligned;

	return in_use == own_operator_new_array_aligned && aligned_is_ours();
}

static void *new_nothrow(size_t size, bool ours, void *(*call)(size_t size, size_t unused))
{
	void *object = ours ? allocate_new(size) : NULL;

	return object != NULL || (ours && find_new_handler() == NULL) ? object : catch_all(size, 0, call);
}

static void *new_aligned_nothrow(size_t size, size_t alignment, bool ours, void *(*call)(size_t size, size_t alignment))
{
	void *object = ours ? allocate_new_aligned(size, alignment) : NULL;

	return object != NULL || (ours && find_new_handler() == NULL) ? object : catch_all(size, alignment, call);
}

void *operator_new_nothrow(size_t size, const struct nothrow *tag)
{
	(void)tag;
	return new_nothrow(size, plain_is_ours(), call_plain);
}

void *operator_new_array_nothrow(size_t size, const struct nothrow *tag)
{
	(void)tag;
	return new_nothrow(size, plain_array_is_ours(), call_plain_array);
}

void *operator_new_aligned_nothrow(size_t size, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	return new_aligned_nothrow(size, alignment, aligned_is_ours(), operator_new_aligned);
}

void *operator_new_array_aligned_nothrow(size_t size, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	return new_aligned_nothrow(size, alignment, aligned_array_is_ours(), operator_new_array_aligned);
}

static NOINLINE void door_delete(void *pointer)
{
	door_free_as(pointer, "operator delete");
}

static NOINLINE void door_delete_sized(void *pointer, size_t size)
{
	/*
	 * The limit is 0 also where the program has its own operator delete(void *), which then has to get the
	 * object.
	 */
	if (sized_free_limit == 0)
		operator_delete(pointer);
	else
		door_free_sized(pointer, size, "operator delete");
}

void operator_delete(void *pointer)
{
	if (unlikely(!free_fast(pointer)))
		door_delete(pointer);
}

void operator_delete_sized(void *pointer, size_t size)
{
	if (unlikely(!free_sized_fast(pointer, size)))
		door_delete_sized(pointer, size);
}

void operator_delete_array(void *pointer)
{
	operator_delete(pointer);
}

void operator_delete_array_sized(void *pointer, size_t size)
{
	(void)size;
	operator_delete_array(pointer);
}

void operator_delete_nothrow(void *pointer, const struct nothrow *tag)
{
	(void)tag;
	operator_delete(pointer);
}

void operator_delete_array_nothrow(void *pointer, const struct nothrow *tag)
{
	(void)tag;
	operator_delete_array(pointer);
}

void operator_delete_aligned(void *pointer, size_t alignment)
{
	(void)alignment;
	if (unlikely(!free_fast(pointer)))
		door_delete(pointer);
}

void operator_delete_array_aligned(void *pointer, size_t alignment)
{
	operator_delete_aligned(pointer, alignment);
}

void operator_delete_sized_aligned(void *pointer, size_t size, size_t alignment)
{
	(void)size;
	operator_delete_aligned(pointer, alignment);
}

void operator_delete_array_sized_aligned(void *pointer, size_t size, size_t alignment)
{
	(void)size;
	operator_delete_array_aligned(pointer, alignment);
}

void operator_delete_aligned_nothrow(void *pointer, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	operator_delete_aligned(pointer, alignment);
}

void operator_delete_array_aligned_nothrow(void *pointer, size_t alignment, const struct nothrow *tag)
{
	(void)tag;
	operator_delete_array_aligned(pointer, alignment);
}

bool operators_are_ours(void)
{
	void (*volatile delete_in_use)(void *) = operator_delete;
	void *(*volatile nothrow_in_use)(size_t, const struct nothrow *) = operator_new_nothrow;

	return delete_in_use == own_operator_delete && nothrow_in_use == own_operator_new_nothrow && plain_is_ours();
}

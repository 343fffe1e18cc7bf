/*
 * catch_all: a frame whose personality routine stops every exception at it. Written out as assembly because a C
 * compiler emits only cleanup frames. The unwinder's own interface is used as the Itanium C++ ABI describes it; all
 * of it is weak: where no unwinder is in the process, nothing throws.
 */
#include "catch_all.h"

#include <stdint.h>
#include <unwind.h>

#if defined(__x86_64__)
__asm__(".text\n"
	".hidden catch_all, catch_all_personality, catch_all_landing\n"
	".globl catch_all, catch_all_landing\n"
	".type catch_all, @function\n"
	"catch_all:\n"
	"	.cfi_startproc\n"
	"	.cfi_personality 0x1b, catch_all_personality\n"
	"	endbr64\n"
	"	sub $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call *%rdx\n"
	"	add $8, %rsp\n"
	"	.cfi_remember_state\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_restore_state\n"
	"catch_all_landing:\n"
	"	mov %rax, %rdi\n"
	"	call catch_all_caught\n"
	"	xor %eax, %eax\n"
	"	add $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size catch_all, .-catch_all\n");
#elif defined(__aarch64__)
__asm__(".text\n"
	".hidden catch_all, catch_all_personality, catch_all_landing\n"
	".globl catch_all, catch_all_landing\n"
	".type catch_all, %function\n"
	"catch_all:\n"
	"	.cfi_startproc\n"
	"	.cfi_personality 0x1b, catch_all_personality\n"
	"	stp x29, x30, [sp, #-16]!\n"
	"	.cfi_def_cfa_offset 16\n"
	"	.cfi_offset 29, -16\n"
	"	.cfi_offset 30, -8\n"
	"	blr x2\n"
	"	ldp x29, x30, [sp], #16\n"
	"	ret\n"
	"catch_all_landing:\n"
	"	bl catch_all_caught\n"
	"	mov x0, #0\n"
	"	ldp x29, x30, [sp], #16\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size catch_all, .-catch_all\n");
#else
#error "catch_all has to be written for this processor"
#endif

extern void _Unwind_SetGR(struct _Unwind_Context *context, int index, _Unwind_Word value) __attribute__((weak));
extern void _Unwind_SetIP(struct _Unwind_Context *context, _Unwind_Ptr value) __attribute__((weak));
extern void *__cxa_begin_catch(void *exception) __attribute__((weak));
extern void __cxa_end_catch(void) __attribute__((weak));

extern char catch_all_landing[] __attribute__((visibility("hidden")));

_Unwind_Reason_Code catch_all_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
					  struct _Unwind_Exception *exception, struct _Unwind_Context *context);
void catch_all_caught(void *exception) __attribute__((visibility("hidden"), used));

__attribute__((used)) _Unwind_Reason_Code catch_all_personality(int version, _Unwind_Action actions,
								_Unwind_Exception_Class class,
								struct _Unwind_Exception *exception,
								struct _Unwind_Context *context)
{
	(void)version;
	(void)class;
	/* Thread cancellation is not an exception that may be caught. */
	if (actions & _UA_FORCE_UNWIND)
		return _URC_CONTINUE_UNWIND;
	if (actions & _UA_SEARCH_PHASE)
		return _URC_HANDLER_FOUND;
	_Unwind_SetGR(context, __builtin_eh_return_data_regno(0), (uintptr_t)exception);
	_Unwind_SetIP(context, (uintptr_t)catch_all_landing);
	return _URC_INSTALL_CONTEXT;
}

void catch_all_caught(void *exception)
{
	if (__cxa_begin_catch == NULL || __cxa_end_catch == NULL)
		return;
	__cxa_begin_catch(exception);
	__cxa_end_catch();
}

/*
 * vfork: before the C library's, this thread is kept away from the CPUs' slabs. The child runs in the parent's memory, but
 * without the kernel's part of restartable sequences: the number that it would read is an old one of the parent's.
 *
 * As it returns twice it can only be jumped to, with the stack as the caller has left it. The parent finds out with its next
 * allocation that it is itself again. Relies on the frontend.
 */
__asm__(".text\n\t"
	".globl vfork\n\t"
	".type vfork, %function\n"
	"vfork:\n\t"
#if defined(__x86_64__)
	"endbr64\n\t"
	"subq $8, %rsp\n\t"
	"call frontend_before_vfork\n\t"
	"addq $8, %rsp\n\t"
	"jmp __vfork@PLT\n\t"
#elif defined(__aarch64__)
	"hint #34\n\t" /* bti c */
	"stp x29, x30, [sp, #-16]!\n\t"
	"bl frontend_before_vfork\n\t"
	"ldp x29, x30, [sp], #16\n\t"
	"b __vfork\n\t"
#endif
	".size vfork, . - vfork\n");

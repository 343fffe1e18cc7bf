/* The sections for x86-64; section.h says what they are. Included by it alone. */

/*
 * Before each: the descriptor, and arm. Behind: the abort handler, out of the way; its first bytes are an invalid
 * instruction that holds the signature.
 */
#define SECTION_BEGIN                                                                                                  \
	".pushsection .data.rel.ro.tiermalloc_sections, \"aw\"\n\t"                                                    \
	".balign 32\n"                                                                                                 \
	"771:\t.long 0, 0\n\t"                                                                                         \
	".quad 773f, 774f - 773f, 775f\n\t"                                                                            \
	".popsection\n"                                                                                                \
	"772:\tleaq 771b(%%rip), %[scratch]\n\t"                                                                       \
	"movq %[scratch], 8(%[area])\n"                                                                                \
	"773:\n\t"
#define SECTION_END                                                                                                    \
	"774:\n\t"                                                                                                     \
	".pushsection .text.unlikely.tiermalloc_aborts, \"ax\"\n\t"                                                    \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                                                   \
	".long 0x53053053\n"                                                                                           \
	"775:\tjmp 772b\n\t"                                                                                           \
	".popsection\n"

/* load_number and load_slab, into the same register. */
#define SECTION_SLAB(register_name, otherwise)                                                                         \
	"movl (%[area], %[field]), %k[" register_name "]\n\t"                                                          \
	"cmpl %[numbers], %k[" register_name "]\n\t"                                                                   \
	"jae " otherwise "\n\t"                                                                                        \
	"movq (%[table], %[" register_name "], 8), %[" register_name "]\n\t"

#define SECTION_INPUTS(section_area, section_numbers)                                                                  \
	[area] "r"(section_area), [field] "r"(rseq_process.number_field), [numbers] "m"(*(section_numbers)),           \
		[table] "r"(slab_table)

/* The newest object of the class on this CPU's slab. NULL: none, or closed. */
ALWAYS_INLINE void *section_pop(struct rseq_area *area, const uint32_t *numbers, size_t class)
{
	void *object;
	uintptr_t scratch;
	uintptr_t slab;

	__asm__ volatile goto(SECTION_BEGIN SECTION_SLAB("slab", "%l[empty]")
			      /* Through a register without an index: see stack_word in fast_path.h. */
			      "leaq (%[slab], %[class], 8), %[slab]\n\t"
			      "movq (%[slab]), %[scratch]\n\t"
			      "movq -8(%[scratch]), %[object]\n\t"
			      "testq %[object], %[object]\n\t"
			      "je %l[empty]\n\t"
			      "subq $8, %[scratch]\n\t"
			      "movq %[scratch], (%[slab])\n" SECTION_END
			      : [object] "=&a"(object), [scratch] "=&r"(scratch), [slab] "=&r"(slab)
			      : SECTION_INPUTS(area, numbers), [class] "r"(class)
			      : "memory", "cc"
			      : empty);
	SECTION_LEFT;
	/* What has been tested need not be tested again. */
	if (object == NULL)
		__builtin_unreachable();
	return object;
empty:
	return SECTION_VALUE((void *)NULL);
}

/* Puts an object on this CPU's slab, on the stack whose words are `offset` bytes into it. */
ALWAYS_INLINE enum section_result section_push(struct rseq_area *area, const uint32_t *numbers, size_t offset,
					       void *object)
{
	uintptr_t scratch;
	uintptr_t slab;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB(
			"slab",
			"%l[full]") "addq %[offset], %[slab]\n\t"
				    "movq (%[slab]), %[scratch]\n\t"
				    /* Before the limit: the slot below a full stack's top, or an empty one's, can be read, too. */
				    "cmpq %[object], -8(%[scratch])\n\t"
				    "je %l[twice]\n\t"
				    "cmpq %c[limit](%[slab]), %[scratch]\n\t"
				    "je %l[full]\n\t"
				    "movq %[object], (%[scratch])\n\t"
				    "addq $8, %[scratch]\n\t"
				    "movq %[scratch], (%[slab])\n" SECTION_END
		: [scratch] "=&r"(scratch), [slab] "=&r"(slab)
		: SECTION_INPUTS(area, numbers), [offset] "r"(offset), [object] "r"(object), [limit] "i"(LIMIT_DISTANCE)
		: "memory", "cc"
		: full, twice);
	SECTION_LEFT;
	return SECTION_DONE;
full:
	return SECTION_VALUE(SECTION_FULL);
twice:
	return SECTION_VALUE(SECTION_TWICE);
}

/*
 * Takes up to `count` of the newest objects of the class off the slab, and copies them to below `end` in the stack's order.
 * Returns how many.
 */
static inline size_t section_pop_batch(struct rseq_area *area, const uint32_t *numbers, size_t class, void **end,
				       size_t count)
{
	uintptr_t scratch;
	uintptr_t slab;
	uintptr_t top;
	size_t index;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("slab", "%l[nothing]") "leaq (%[slab], %[class], 8), %[slab]\n\t"
								  "movq (%[slab]), %[top]\n\t"
								  "xorl %k[index], %k[index]\n"
								  "1:\tmovq -8(%[top], %[index], 8), %[scratch]\n\t"
								  "testq %[scratch], %[scratch]\n\t"
								  "je 2f\n\t"
								  "movq %[scratch], -8(%[end], %[index], 8)\n\t"
								  "decq %[index]\n\t"
								  "cmpq %[least], %[index]\n\t"
								  "jne 1b\n"
								  "2:\ttestq %[index], %[index]\n\t"
								  "je %l[nothing]\n\t"
								  "leaq (%[top], %[index], 8), %[scratch]\n\t"
								  "movq %[scratch], (%[slab])\n" SECTION_END
		: [scratch] "=&r"(scratch), [slab] "=&r"(slab), [top] "=&r"(top), [index] "=&r"(index)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [end] "r"(end), [least] "r"(-count)
		: "memory", "cc"
		: nothing);
	SECTION_LEFT;
	return -index;
nothing:
	return SECTION_VALUE((size_t)0);
}

/*
 * Puts up to `count` objects on the slab, as many as there is room for: the ones right below `end`, in their order. Returns
 * how many.
 */
static inline size_t section_push_batch(struct rseq_area *area, const uint32_t *numbers, size_t class, void *const *end,
					size_t count)
{
	uintptr_t scratch;
	uintptr_t slab;
	uintptr_t top;
	uintptr_t from;
	size_t index;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("slab", "%l[nothing]") "leaq (%[slab], %[class], 8), %[slab]\n\t"
								  "movq (%[slab]), %[top]\n\t"
								  "movq %c[limit](%[slab]), %[index]\n\t"
								  "subq %[top], %[index]\n\t"
								  "je %l[nothing]\n\t"
								  "shrq $3, %[index]\n\t"
								  "cmpq %[count], %[index]\n\t"
								  "cmovaq %[count], %[index]\n\t"
								  "leaq (%[top], %[index], 8), %[top]\n\t"
								  "movq %[end], %[from]\n\t"
								  "negq %[index]\n"
								  "1:\tmovq (%[from], %[index], 8), %[scratch]\n\t"
								  "movq %[scratch], (%[top], %[index], 8)\n\t"
								  "incq %[index]\n\t"
								  "jne 1b\n\t"
								  "movq (%[slab]), %[from]\n\t"
								  "movq %[top], (%[slab])\n" SECTION_END
		:
		[scratch] "=&r"(scratch), [slab] "=&r"(slab), [top] "=&r"(top), [from] "=&r"(from), [index] "=&r"(index)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [end] "r"(end), [count] "r"(count),
		  [limit] "i"(LIMIT_DISTANCE)
		: "memory", "cc"
		: nothing);
	SECTION_LEFT;
	return (top - from) / sizeof(void *);
nothing:
	return SECTION_VALUE((size_t)0);
}

/*
 * Sets the limit of a class on `slab`, which has to be the one of this thread's CPU at this moment, and there, with the
 * limit as expected and no object above the new one. False: it was not so, and nothing has changed.
 */
static inline bool section_set_limit(struct rseq_area *area, const uint32_t *numbers, size_t class,
				     struct cache_stacks *slab, void **expected, void **limit)
{
	uintptr_t scratch;
	uintptr_t word;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("word", "%l[refused]") "cmpq %[slab], %[word]\n\t"
								  "jne %l[refused]\n\t"
								  "leaq (%[word], %[class], 8), %[word]\n\t"
								  "cmpq %[expected], %c[distance](%[word])\n\t"
								  "jne %l[refused]\n\t"
								  "cmpq %[limit], (%[word])\n\t"
								  "ja %l[refused]\n\t"
								  "movq %[limit], %c[distance](%[word])\n" SECTION_END
		: [scratch] "=&r"(scratch), [word] "=&r"(word)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [slab] "r"(slab), [expected] "r"(expected),
		  [limit] "r"(limit), [distance] "i"(LIMIT_DISTANCE)
		: "memory", "cc"
		: refused);
	SECTION_LEFT;
	return true;
refused:
	return SECTION_VALUE(false);
}

#undef SECTION_BEGIN
#undef SECTION_END
#undef SECTION_SLAB
#undef SECTION_INPUTS

/* The sections for aarch64; section.h says what they are. Included by it alone. */

/*
 * Before each: the descriptor, and arm. Behind: the abort handler, out of the way; before it the signature, an
 * invalid instruction.
 */
#define SECTION_BEGIN                                                                                                  \
	".pushsection .data.rel.ro.tiermalloc_sections, \"aw\"\n\t"                                                    \
	".balign 32\n"                                                                                                 \
	"771:\t.long 0, 0\n\t"                                                                                         \
	".quad 773f, 774f - 773f, 775f\n\t"                                                                            \
	".popsection\n"                                                                                                \
	"772:\tadrp %[scratch], 771b\n\t"                                                                              \
	"add %[scratch], %[scratch], :lo12:771b\n\t"                                                                   \
	"str %[scratch], [%[area], #8]\n"                                                                              \
	"773:\n\t"
#define SECTION_END                                                                                                    \
	"774:\n\t"                                                                                                     \
	".pushsection .text.unlikely.tiermalloc_aborts, \"ax\"\n\t"                                                    \
	".inst 0xd428bc00\n"                                                                                           \
	"775:\tb 772b\n\t"                                                                                             \
	".popsection\n"

/* load_number and load_slab, into the same register. */
#define SECTION_SLAB(register_name, otherwise)                                                                         \
	"ldr %w[" register_name "], [%[area], %[field]]\n\t"                                                           \
	"cmp %w[" register_name "], %w[numbers]\n\t"                                                                   \
	"b.hs " otherwise "\n\t"                                                                                       \
	"ldr %[" register_name "], [%[table], %[" register_name "], lsl #3]\n\t"

#define SECTION_INPUTS(section_area, section_numbers)                                                                  \
	[area] "r"(section_area), [field] "r"(rseq_process.number_field), [numbers] "r"(*(section_numbers)),           \
		[table] "r"(slab_table)

/* The newest object of the class on this CPU's slab. NULL: none, or closed. */
ALWAYS_INLINE void *section_pop(struct rseq_area *area, const uint32_t *numbers, size_t class)
{
	void *object;
	uintptr_t scratch;
	uintptr_t slab;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("slab", "%l[empty]") "add %[slab], %[slab], %[class], lsl #3\n\t"
								"ldr %[scratch], [%[slab]]\n\t"
								"ldr %[object], [%[scratch], #-8]!\n\t"
								"cbz %[object], %l[empty]\n\t"
								"str %[scratch], [%[slab]]\n" SECTION_END
		: [object] "=&r"(object), [scratch] "=&r"(scratch), [slab] "=&r"(slab)
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
	uintptr_t other;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB(
			"slab",
			"%l[full]") "add %[slab], %[slab], %[offset]\n\t"
				    "ldr %[scratch], [%[slab]]\n\t"
				    /* Before the limit: the slot below a full stack's top, or an empty one's, can be read, too. */
				    "ldr %[other], [%[scratch], #-8]\n\t"
				    "cmp %[other], %[object]\n\t"
				    "b.eq %l[twice]\n\t"
				    "ldr %[other], [%[slab], %[limit]]\n\t"
				    "cmp %[scratch], %[other]\n\t"
				    "b.eq %l[full]\n\t"
				    "str %[object], [%[scratch]], #8\n\t"
				    "str %[scratch], [%[slab]]\n" SECTION_END
		: [scratch] "=&r"(scratch), [slab] "=&r"(slab), [other] "=&r"(other)
		: SECTION_INPUTS(area, numbers), [offset] "r"(offset), [object] "r"(object), [limit] "r"(LIMIT_DISTANCE)
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
	uintptr_t to;
	size_t left;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("slab", "%l[nothing]") "add %[slab], %[slab], %[class], lsl #3\n\t"
								  "ldr %[top], [%[slab]]\n\t"
								  "mov %[to], %[end]\n\t"
								  "mov %[left], %[count]\n"
								  "1:\tldr %[scratch], [%[top], #-8]\n\t"
								  "cbz %[scratch], 2f\n\t"
								  "str %[scratch], [%[to], #-8]!\n\t"
								  "sub %[top], %[top], #8\n\t"
								  "subs %[left], %[left], #1\n\t"
								  "b.ne 1b\n"
								  "2:\tcmp %[left], %[count]\n\t"
								  "b.eq %l[nothing]\n\t"
								  "str %[top], [%[slab]]\n" SECTION_END
		: [scratch] "=&r"(scratch), [slab] "=&r"(slab), [top] "=&r"(top), [to] "=&r"(to), [left] "=&r"(left)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [end] "r"(end), [count] "r"(count)
		: "memory", "cc"
		: nothing);
	SECTION_LEFT;
	return count - left;
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
	size_t room;

	__asm__ volatile goto(
		SECTION_BEGIN SECTION_SLAB("slab", "%l[nothing]") "add %[slab], %[slab], %[class], lsl #3\n\t"
								  "ldr %[top], [%[slab]]\n\t"
								  "ldr %[room], [%[slab], %[limit]]\n\t"
								  "subs %[room], %[room], %[top]\n\t"
								  "b.eq %l[nothing]\n\t"
								  "lsr %[room], %[room], #3\n\t"
								  "cmp %[room], %[count]\n\t"
								  "csel %[room], %[room], %[count], lo\n\t"
								  "sub %[from], %[end], %[room], lsl #3\n"
								  "1:\tldr %[scratch], [%[from]], #8\n\t"
								  "str %[scratch], [%[top]], #8\n\t"
								  "cmp %[from], %[end]\n\t"
								  "b.ne 1b\n\t"
								  "str %[top], [%[slab]]\n" SECTION_END
		: [scratch] "=&r"(scratch), [slab] "=&r"(slab), [top] "=&r"(top), [from] "=&r"(from), [room] "=&r"(room)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [end] "r"(end), [count] "r"(count),
		  [limit] "r"(LIMIT_DISTANCE)
		: "memory", "cc"
		: nothing);
	SECTION_LEFT;
	return room;
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
		SECTION_BEGIN SECTION_SLAB("word", "%l[refused]") "cmp %[word], %[slab]\n\t"
								  "b.ne %l[refused]\n\t"
								  "add %[word], %[word], %[class], lsl #3\n\t"
								  "ldr %[scratch], [%[word], %[distance]]\n\t"
								  "cmp %[scratch], %[expected]\n\t"
								  "b.ne %l[refused]\n\t"
								  "ldr %[scratch], [%[word]]\n\t"
								  "cmp %[scratch], %[limit]\n\t"
								  "b.hi %l[refused]\n\t"
								  "str %[limit], [%[word], %[distance]]\n" SECTION_END
		: [scratch] "=&r"(scratch), [word] "=&r"(word)
		: SECTION_INPUTS(area, numbers), [class] "r"(class), [slab] "r"(slab), [expected] "r"(expected),
		  [limit] "r"(limit), [distance] "r"(LIMIT_DISTANCE)
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

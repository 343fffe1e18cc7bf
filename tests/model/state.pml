/* The memory, registers and kernel state of cpu_cache.pml, and the assertions on them. */

/* Steps: values of `pc`. Those from LOAD_NUMBER to COMMIT are the range of every section. */
#define IDLE               0
#define EARLY_LOAD_NUMBER  1 /* of a mutant */
#define ARM                2
#define LOAD_NUMBER        3
#define LOAD_SLAB          4
#define LOAD_TOP           5
#define LOAD_LIMIT         6
#define MOVE_OBJECT        7
#define COMMIT             8
#define LEFT               9 /* the section is over, the operation is not */
#define STORE_DUMMY        10
#define FENCE              11
#define REMOTE_LOAD_TOP    12
#define REMOTE_TAKE        13
#define REMOTE_STORE_TOP   14
#define REMOTE_STORE_LIMIT 15
#define REMOTE_GIVE        16
#define STORE_SLAB         17
#define UNCLAIM            18
#define ENDED              19

/* Sections, and their descriptors as values of rseq_cs. */
#define NONE       0
#define POP        1
#define PUSH       2
#define POP_BATCH  3
#define PUSH_BATCH 4
#define SET_LIMIT  5

#define NOWHERE      255 /* the number of a thread that does not run */
#define closed_cache SLABS

/* The signal handler is the last context. */
#ifdef SIGNALS
#define CONTEXTS (THREADS + 1)
#else
#define CONTEXTS THREADS
#endif
#define HANDLER            THREADS
#define thread_of(who)     ((who) == HANDLER -> SIGNALLED : (who))
#define context_of(thread) ((thread) == SIGNALLED && in_handler -> HANDLER : (thread))

/* Sets of objects are bit masks. Object 0 is NULL; its bit is in no set. */
#define set_of(object) (1 << (object))
#define lowest(set)    ((set) & 2 -> 1 : ((set) & 4 -> 2 : ((set) & 8 -> 3 : ((set) & 16 -> 4 : 0))))
#define EVERY_OBJECT   ((2 << OBJECTS) - 2)

/* How many objects a thread takes from the central tier, and how many a batch from a slab has at most. */
#ifdef BATCHES
#define AT_ONCE BATCHES
#else
#define AT_ONCE 1
#endif

#ifdef LIMITS
#define room_of(slab) ((slab) == 0 -> ROOM : ROOM - 1)
#else
#define room_of(slab) ROOM
#endif

typedef slab_type {
	byte top;
	byte limit;
	byte slot[ROOM]
};

/* What the kernel has of each thread. */
byte number_of[THREADS] = NOWHERE;
byte rseq_cs[THREADS];
bool in_handler;

/* The caches' memory. The last slab is the closed cache. */
slab_type slabs[SLABS + 1];
byte slab_table[SLABS];
bool claimed[SLABS];

/* The central tier. */
byte central = EVERY_OBJECT;
byte spare;

/* The registers of each context. */
byte pc[CONTEXTS];
byte section[CONTEXTS];
byte number[CONTEXTS];
byte slab[CONTEXTS];
byte top[CONTEXTS];
byte count[CONTEXTS];  /* how many objects to move */
byte moved[CONTEXTS];  /* how many have been moved; in a membarrier, the next number */
byte buffer[CONTEXTS]; /* the set of those that have been moved */

/* Arguments of set_limit, and capacity on the way. They outlive an abort. */
byte wanted_number[CONTEXTS];
byte expected_limit[CONTEXTS];
byte wanted_limit[CONTEXTS];
byte carried[CONTEXTS];

/* Only the assertions know these: the objects that a context owns, and the slabs that a worker has for itself. */
byte hand[CONTEXTS];
bool taken_away[SLABS];

#ifdef ENDING
byte operations[THREADS];
byte interruptions = INTERRUPTIONS;
#define may_begin            (me == HANDLER || operations[me] < ENDING)
#define count_operation()    operations[thread_of(me)] = operations[thread_of(me)] + (me == HANDLER -> 0 : 1)
#define may_interrupt        (interruptions > 0)
#define count_interruption() interruptions--
#else
#define may_begin            true
#define count_operation()    skip
#define may_interrupt        true
#define count_interruption() skip
#endif

#if THREADS > 2
#define third_runner(which) (number_of[2] == which -> 2 : NOWHERE)
#else
#define third_runner(which) NOWHERE
#endif
#define runner(which)       (number_of[0] == which -> 0 : (number_of[1] == which -> 1 : third_runner(which)))

/* For use within a step; 0 between steps. */
byte i;
byte j;
byte seen;

/* Every object is in exactly one place; every stack is within its bounds; no capacity is lost. */
inline check()
{
	seen = central;
	i = 0;
	do
	:: i < CONTEXTS ->
		assert((seen & hand[i]) == 0); /* an object has two owners */
		seen = seen | hand[i];
		i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < SLABS ->
		assert(slabs[i].top <= slabs[i].limit);
		assert(slabs[i].limit <= room_of(i));
		j = 0;
		do
		:: j < slabs[i].top ->
			assert((seen & set_of(slabs[i].slot[j])) == 0); /* an object is on a slab and elsewhere */
			seen = seen | set_of(slabs[i].slot[j]);
			j++
		:: else -> break
		od;
		i++
	:: else -> break
	od;
	assert(seen == EVERY_OBJECT); /* an object is lost */
	assert(slabs[closed_cache].top == 0 && slabs[closed_cache].limit == 0);
#if defined(LIMITS) && !defined(STACKS_ONLY)
	seen = spare;
	i = 0;
	do
	:: i < CONTEXTS -> seen = seen + carried[i]; i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < SLABS -> seen = seen + slabs[i].limit; i++
	:: else -> break
	od;
	assert(seen == CAPACITY); /* capacity is lost */
#endif
	i = 0;
	j = 0;
	seen = 0
}

/* Who may write to a slab: sections on its number; once a worker has taken the slab away, that worker alone. */
#ifdef HARM_ONLY
#define check_taken_away() skip
#define check_owner() skip
#else
inline check_owner()
{
	assert(slab[me] != closed_cache);
	assert(slab[me] == number_of[thread_of(me)]);
	assert(!taken_away[slab[me]])
}

inline check_taken_away()
{
	assert(!taken_away[slab[me]])
}
#endif

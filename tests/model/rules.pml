/* Rules of cpu_cache.pml's protocol, and mutants that break one each: comparisons, the range, a worker's order. */

/* What set_limit compares. */
#define is_wrong_number        (is(SET_LIMIT) && my_number != wanted_number[me])
#define is_wrong_slab          (is(SET_LIMIT) && slab_table[number[me]] == closed_cache)
#define is_wrong_limit         (slabs[slab[me]].limit != expected_limit[me])
#define is_wrong_top           (slabs[slab[me]].top > wanted_limit[me])

/* What a push compares. */
#define is_full                (top[me] == slabs[slab[me]].limit)

#define FIRST_STEP             ARM
#define AFTER_ARM              LOAD_NUMBER
#define AFTER_LOAD_SLAB        (is(SET_LIMIT) -> LOAD_LIMIT : LOAD_TOP)
#define RANGE_FIRST            LOAD_NUMBER
#define RANGE_LAST             COMMIT
#define ABORT_STEP             FIRST_STEP

#define can_claim(which)       (!claimed[which])
#define AFTER_CLAIM            STORE_DUMMY
#define AFTER_DUMMY            FENCE
#define AFTER_FENCE            REMOTE_LOAD_TOP
#define AFTER_REMOTE_LOAD_TOP  REMOTE_TAKE
#define AFTER_REMOTE_TAKE      REMOTE_STORE_TOP
#ifdef LIMITS
#define AFTER_REMOTE_STORE_TOP REMOTE_STORE_LIMIT
#else
#define AFTER_REMOTE_STORE_TOP REMOTE_GIVE
#endif
#define AFTER_GIVE             STORE_SLAB
#define AFTER_STORE_SLAB       UNCLAIM
#define AFTER_UNCLAIM          IDLE


#ifdef MUTANT_EARLY_NUMBER /* the number is loaded before rseq_cs is stored, outside of the range */
#undef FIRST_STEP
#define FIRST_STEP             EARLY_LOAD_NUMBER
#undef AFTER_ARM
#define AFTER_ARM              LOAD_SLAB
#endif

#ifdef MUTANT_LATE_RANGE /* between arm and range the kernel aborts nothing, and clears rseq_cs */
#undef RANGE_FIRST
#define RANGE_FIRST            LOAD_SLAB
#endif

#ifdef MUTANT_COMMIT_OUTSIDE /* the range ends before the commit */
#undef RANGE_LAST
#define RANGE_LAST             MOVE_OBJECT
#endif

#ifdef MUTANT_RESTART_UNARMED /* the abort handler goes on after the store to rseq_cs, which the kernel has cleared */
#undef ABORT_STEP
#define ABORT_STEP             LOAD_NUMBER
#endif

#ifdef MUTANT_NO_FENCE /* no membarrier */
#undef AFTER_DUMMY
#define AFTER_DUMMY            REMOTE_LOAD_TOP
#endif

#ifdef MUTANT_FENCE_FIRST /* the membarrier comes before the closed cache is stored */
#undef AFTER_CLAIM
#define AFTER_CLAIM            FENCE
#undef AFTER_FENCE
#define AFTER_FENCE            STORE_DUMMY
#undef AFTER_DUMMY
#define AFTER_DUMMY            REMOTE_LOAD_TOP
#endif

#ifdef MUTANT_LIMIT_IN_PLACE /* a worker lowers the limit of a slab that it has not taken away */
#undef AFTER_CLAIM
#define AFTER_CLAIM            REMOTE_LOAD_TOP
#undef AFTER_REMOTE_LOAD_TOP
#define AFTER_REMOTE_LOAD_TOP  REMOTE_STORE_LIMIT
#undef AFTER_GIVE
#define AFTER_GIVE             UNCLAIM
#endif

#ifdef MUTANT_EARLY_PUT_BACK /* the slab is put back before its top is stored */
#undef AFTER_REMOTE_TAKE
#define AFTER_REMOTE_TAKE      STORE_SLAB
#undef AFTER_STORE_SLAB
#define AFTER_STORE_SLAB       REMOTE_STORE_TOP
#undef AFTER_GIVE
#define AFTER_GIVE             UNCLAIM
#endif

#ifdef MUTANT_EARLY_UNCLAIM /* the claim is given up before the slab is put back */
#undef AFTER_GIVE
#define AFTER_GIVE             UNCLAIM
#undef AFTER_UNCLAIM
#define AFTER_UNCLAIM          STORE_SLAB
#undef AFTER_STORE_SLAB
#define AFTER_STORE_SLAB       IDLE
#endif

#ifdef MUTANT_NO_CLAIM /* a worker does not look whether another has the claim */
#undef can_claim
#define can_claim(which)       true
#endif

#ifdef MUTANT_PUSH_ON_FULL /* a push does not compare the top with the limit */
#undef is_full
#define is_full                false
#endif

#ifdef MUTANT_SET_LIMIT_OF_ANY /* set_limit does not compare the number */
#undef is_wrong_number
#define is_wrong_number        false
#endif

#ifdef MUTANT_SET_LIMIT_OF_CLOSED /* set_limit does not look whether the slab is the closed cache */
#undef is_wrong_slab
#define is_wrong_slab          false
#endif

#ifdef MUTANT_SET_LIMIT_FROM_ANY /* set_limit does not compare the limit with the expected one */
#undef is_wrong_limit
#define is_wrong_limit         false
#endif

#ifdef MUTANT_SHRINK_BELOW_TOP /* set_limit does not compare the top with the new limit */
#undef is_wrong_top
#define is_wrong_top           false
#endif

#ifdef MUTANT_SIGNAL_WITHOUT_ABORT /* a section goes on after the signal handler */
#define aborts_for_signal      false
#else
#define aborts_for_signal      aborts(thread)
#endif

#ifdef MUTANT_WAIT /* a section that finds the closed cache begins again, until the slab is back */
#undef AFTER_LOAD_SLAB
#define AFTER_LOAD_SLAB        (slab[me] == closed_cache -> FIRST_STEP : LOAD_TOP)
#endif

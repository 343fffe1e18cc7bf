/*
 * The protocol of the per-CPU caches: restartable sequences (rseq) that pop from and push on the slab of the CPU they
 * run on, and workers that take a slab away from its CPU to drain it. Spin visits every state that the protocol can
 * reach, and so finds any order of steps in which an object gets lost, gets two owners, or lands outside of its stack.
 * test_model.py runs it. state.pml has the state and the assertions, rules.pml the rules that mutants break. Relies on
 * nothing but Spin.
 *
 * What is modelled
 *
 * - Numbers 0, 1, ...: of CPUs, or mm_cids. At most one thread runs on a number. `slab_table` has an entry for each of
 *   the first SLABS numbers: the number's slab, or the closed cache, which is empty for a pop, full for a push, never
 *   written.
 * - A slab of one class: a stack of objects in the slots bottom..top, which is full at `limit`. A pushed object is
 *   stored above `top` before the commit moves `top`.
 * - The sections pop, push, pop_batch, push_batch and set_limit, a step for each load and each store.
 * - The kernel. It preempts a thread at any step, lets it go on at any time on any free number, and delivers a signal
 *   to one thread at any step. In each case, if the thread's rseq_cs points to the descriptor of the section that it is
 *   in, and its program counter is in the descriptor's range, the thread goes on at the abort handler, which is the
 *   section's first step. In any case the kernel clears rseq_cs. The range begins after the store to rseq_cs; the
 *   commit is its end.
 * - A signal handler that does a whole pop or push each time, with its own registers and the thread's rseq_cs.
 * - Workers: threads that claim a slab, replace its entry in the table by the closed cache, call membarrier, take
 *   objects and lower the limit, and put the slab back. They are preempted like any other thread. membarrier interrupts
 *   what runs on the numbers, one after the other, as the kernel does, but for its caller.
 * - The central tier: a set of objects, and `spare`, the capacity that no slab has. Both change in one step.
 *
 * What is not modelled
 *
 * - Weak memory: a store is visible at once. What stays of membarrier's work is that it aborts sections.
 * - Several classes: their sections share nothing but the table and the number.
 * - The central tier's locks, fork, threads that start and end.
 *
 * There are two or three of everything. Runs of any length are covered, except with ENDING.
 *
 * How it is written: every context (a thread, or the signal handler that runs on it) has a program counter `pc`. Every
 * option of a process is a step, or one outcome of a step with a comparison, so that Spin's report on unreached code
 * tells whether all outcomes occur: it counts a d_step as reached when its guard, which stands before it, has been
 * true. The kernel sets `pc`, as the real one does. What is dead is set to 0, registers and slots, so that states
 * differ only in what matters; an object out of a dead slot is an error that the assertions see.
 *
 * Parameters, set with -D:
 */

/* Threads; the first WORKERS of them work on slabs of any number, and do nothing else. */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef WORKERS
#define WORKERS 0
#endif

/* SIGNALS: this thread gets signals. */
#ifndef SIGNALLED
#define SIGNALLED (THREADS - 1)
#endif

/* Numbers that the kernel gives, and slabs. A number that has no slab is a number too large. */
#ifndef NUMBERS
#define NUMBERS 2
#endif
#ifndef SLABS
#define SLABS 2
#endif

#ifndef OBJECTS
#define OBJECTS 3
#endif

/* The slots of a slab. With LIMITS the first slab has them, and the others have one less. */
#ifndef ROOM
#define ROOM 2
#endif

/* BATCHES=n: up to n objects at once go from the central tier to a thread, which pushes all but one, and back. */

/* LIMITS: threads change the limits, which begin at 0, and workers lower them. At first all of CAPACITY is spare. */
#ifndef CAPACITY
#define CAPACITY 3
#endif

/* ENDING=n: each thread ends after n operations, and there are at most INTERRUPTIONS preemptions and signals. So every
 * run must come to an end, with all threads at theirs. */
#ifndef INTERRUPTIONS
#define INTERRUPTIONS 2
#endif

/*
 * MUTANT_...: wrong protocols, which must be found wrong. Each is described where it is.
 * WITNESS_...: assertions that must fail, since what they deny can happen.
 * HARM_ONLY: without the assertions on who may write to a slab, and dead slots keep their contents. So a mutant is
 * found by the harm that it does to objects and limits. STACKS_ONLY: without the assertion on capacity, too.
 */

#include "state.pml"
#include "rules.pml"

/* Conditions on the context `me`. */
#define my_number      number_of[thread_of(me)]
#define running        (my_number != NOWHERE && context_of(thread_of(me)) == me)
#define at(step)       running && pc[me] == step
#define is(which)      section[me] == which
#define is_pop         (is(POP) || is(POP_BATCH))
#define is_push        (is(PUSH) || is(PUSH_BATCH))
#define is_worker      me < WORKERS
#define is_user        me >= WORKERS
#define may_set_limit  is_user && me != HANDLER && may_begin && my_number < SLABS
#define hits_section   (runner(moved[me]) != NOWHERE && aborts(runner(moved[me])))

/* The objects that a push moves, and that go to the central tier. Of a batch from there a thread keeps one. */
#define to_give        (hand[me] & ~(is(PUSH_BATCH) -> set_of(lowest(hand[me])) : 0))

/* Conditions on `thread`. The kernel aborts a section that is armed and in its range. */
#define is_running     number_of[thread] != NOWHERE
#define may_run        (number_of[thread] == NOWHERE && pc[thread] != ENDED)
#define may_signal     (thread == SIGNALLED && is_running && !in_handler && may_interrupt)
#define aborts(thread) (rseq_cs[thread] != NONE && rseq_cs[thread] == section[context_of(thread)] && \
			pc[context_of(thread)] >= RANGE_FIRST && pc[context_of(thread)] <= RANGE_LAST)

/* What the registers hold is dead. */
inline forget(who)
{
	number[who] = 0;
	slab[who] = 0;
	top[who] = 0;
	count[who] = 0;
	moved[who] = 0;
	buffer[who] = 0
}

/* The contents of slots above the top are dead: popped objects, and what an aborted push has stored. */
inline clear_slots(which, first, slots)
{
#ifndef HARM_ONLY
	i = first;
	do
	:: i < first + slots -> slabs[which].slot[i] = 0; i++
	:: else -> i = 0; break
	od
#else
	skip
#endif
}

/* What the kernel does to a section when it preempts its thread, before it delivers a signal, and in a membarrier. */
inline abort(thread)
{
#ifdef WITNESS_ABORT_AT_COMMIT
	/* A section can be aborted when everything but its commit is done. */
	assert(pc[context_of(thread)] != COMMIT);
#endif
	if
	:: section[context_of(thread)] == PUSH || section[context_of(thread)] == PUSH_BATCH ->
		clear_slots(slab[context_of(thread)], top[context_of(thread)], moved[context_of(thread)])
	:: else
	fi;
	forget(context_of(thread));
	pc[context_of(thread)] = ABORT_STEP;
	rseq_cs[thread] = NONE
}

inline begin(which)
{
	section[me] = which;
	pc[me] = FIRST_STEP
}

/* The section is over, with or without effect. */
inline leave()
{
	forget(me);
	pc[me] = LEFT
}

/* The operation is over. The signal handler returns. */
inline finish()
{
	forget(me);
	section[me] = NONE;
	pc[me] = IDLE;
	in_handler = in_handler && me != HANDLER
}

inline give_to_central()
{
	central = central | to_give;
	hand[me] = hand[me] & ~to_give
}

inline begin_set_limit(change)
{
	wanted_number[me] = my_number;
	expected_limit[me] = slabs[my_number].limit;
	wanted_limit[me] = expected_limit[me] + change;
	begin(SET_LIMIT)
}

inline claim(which)
{
	claimed[which] = true;
	slab[me] = which;
	pc[me] = AFTER_CLAIM
}

/* A membarrier interrupts what runs on each number. When it is over, the slab is the worker's. */
inline next_of_fence()
{
	if
	:: runner(moved[me]) != NOWHERE -> rseq_cs[runner(moved[me])] = NONE
	:: else
	fi;
	moved[me]++;
	if
	:: moved[me] == NUMBERS ->
		moved[me] = 0;
		check_taken_away();
		taken_away[slab[me]] = true;
		pc[me] = AFTER_FENCE
	:: else
	fi
}

inline remote_next(step)
{
	pc[me] = step;
	slab[me] = (pc[me] == IDLE -> 0 : slab[me])
}

inline preempt()
{
	rseq_cs[thread] = NONE;
	number_of[thread] = NOWHERE
}

inline signal()
{
	rseq_cs[thread] = NONE;
	in_handler = true
}

/* A thread, or the signal handler. */
proctype context(byte me)
{
	do
	/* Between operations. A thread holds one object or none. */
	:: atomic { at(IDLE) && is_user && may_begin && hand[me] == 0 -> d_step { count_operation(); begin(POP) } }
	:: atomic { at(IDLE) && is_user && may_begin && hand[me] != 0 -> d_step { count_operation(); begin(PUSH) } }

	/* The beginning of every section. */
#ifdef MUTANT_EARLY_NUMBER
	:: atomic { at(EARLY_LOAD_NUMBER) -> d_step { number[me] = my_number; pc[me] = ARM } }
#endif
	:: atomic { at(ARM) -> d_step { rseq_cs[thread_of(me)] = section[me]; pc[me] = AFTER_ARM } }
#if NUMBERS > SLABS
	:: atomic { at(LOAD_NUMBER) && my_number >= SLABS -> d_step { leave() } }
#endif
#if defined(LIMITS) && SLABS > 1
	:: atomic { at(LOAD_NUMBER) && my_number < SLABS && is_wrong_number -> d_step { leave() } }
#endif
	:: atomic { at(LOAD_NUMBER) && my_number < SLABS && !is_wrong_number -> d_step {
		number[me] = my_number;
		pc[me] = LOAD_SLAB
	} }
#if defined(LIMITS) && WORKERS > 0
	:: atomic { at(LOAD_SLAB) && is_wrong_slab -> d_step { leave() } }
#endif
	:: atomic { at(LOAD_SLAB) && !is_wrong_slab -> d_step {
		slab[me] = slab_table[number[me]];
		number[me] = 0;
		pc[me] = AFTER_LOAD_SLAB
	} }

	/* pop, pop_batch. Below the bottom there is NULL. */
	:: atomic { at(LOAD_TOP) && is_pop -> d_step {
		top[me] = slabs[slab[me]].top;
		count[me] = (is(POP) || top[me] == 0 -> 1 : (top[me] < AT_ONCE -> top[me] : AT_ONCE));
		pc[me] = MOVE_OBJECT
	} }
	:: atomic { at(MOVE_OBJECT) && is(POP) && top[me] == 0 -> d_step { leave() } }
#ifdef BATCHES
	:: atomic { at(MOVE_OBJECT) && is(POP_BATCH) && top[me] == 0 -> d_step { leave() } }
#endif
	:: atomic { at(MOVE_OBJECT) && is_pop && top[me] > 0 -> d_step {
		buffer[me] = buffer[me] | set_of(slabs[slab[me]].slot[top[me] - 1 - moved[me]]);
		moved[me]++;
		pc[me] = (moved[me] < count[me] -> MOVE_OBJECT : COMMIT)
	} }
	:: atomic { at(COMMIT) && is_pop -> d_step {
		check_owner();
		slabs[slab[me]].top = top[me] - moved[me];
		clear_slots(slab[me], top[me] - moved[me], moved[me]);
		hand[me] = hand[me] | buffer[me];
		check();
		if
		:: is(POP) -> finish()
		:: else -> leave()
		fi
	} }

	/* push, push_batch. */
	:: atomic { at(LOAD_TOP) && is_push -> d_step { top[me] = slabs[slab[me]].top; pc[me] = LOAD_LIMIT } }
	:: atomic { at(LOAD_LIMIT) && is(PUSH) && is_full -> d_step { leave() } }
#ifdef BATCHES
	:: atomic { at(LOAD_LIMIT) && is(PUSH_BATCH) && is_full -> d_step { leave() } }
#endif
	:: atomic { at(LOAD_LIMIT) && is_push && !is_full -> d_step {
		count[me] = slabs[slab[me]].limit - top[me];
		pc[me] = MOVE_OBJECT
	} }
	:: atomic { at(MOVE_OBJECT) && is_push -> d_step {
		check_owner();
		assert(top[me] + moved[me] < room_of(slab[me]));
		slabs[slab[me]].slot[top[me] + moved[me]] = lowest(to_give & ~buffer[me]);
		check();
		buffer[me] = buffer[me] | set_of(lowest(to_give & ~buffer[me]));
		moved[me]++;
		pc[me] = (buffer[me] != to_give && moved[me] < count[me] -> MOVE_OBJECT : COMMIT)
	} }
	:: atomic { at(COMMIT) && is_push -> d_step {
		check_owner();
#ifdef WITNESS_COMMIT_AFTER_DUMMY
		/* Until the membarrier, a section that has loaded the slab commits although the table has it no more. */
		assert(slab_table[slab[me]] == slab[me]);
#endif
		slabs[slab[me]].top = top[me] + moved[me];
		hand[me] = hand[me] & ~buffer[me];
		check();
		if
		:: is(PUSH) -> finish()
		:: else -> leave()
		fi
	} }

#ifdef LIMITS
	/* set_limit. Its arguments may be out of date when the section begins. To grow, capacity is taken first. */
	:: atomic { at(IDLE) && may_set_limit && spare > 0 && slabs[my_number].limit < room_of(my_number) -> d_step {
		count_operation();
		spare--;
		carried[me] = 1;
		begin_set_limit(1)
	} }
	:: atomic { at(IDLE) && may_set_limit && slabs[my_number].limit > 0 -> d_step {
		count_operation();
		begin_set_limit(-1)
	} }
	:: atomic { at(LOAD_LIMIT) && is(SET_LIMIT) && is_wrong_limit -> d_step { leave() } }
	:: atomic { at(LOAD_LIMIT) && is(SET_LIMIT) && !is_wrong_limit -> d_step { pc[me] = LOAD_TOP } }
	:: atomic { at(LOAD_TOP) && is(SET_LIMIT) && is_wrong_top -> d_step { leave() } }
	:: atomic { at(LOAD_TOP) && is(SET_LIMIT) && !is_wrong_top -> d_step { pc[me] = COMMIT } }
	:: atomic { at(COMMIT) && is(SET_LIMIT) -> d_step {
		check_owner();
		slabs[slab[me]].limit = wanted_limit[me];
		carried[me] = carried[me] + expected_limit[me] - wanted_limit[me];
		check();
		leave()
	} }
	:: atomic { at(LEFT) && is(SET_LIMIT) -> d_step {
		spare = spare + carried[me];
		carried[me] = 0;
		wanted_number[me] = 0;
		expected_limit[me] = 0;
		wanted_limit[me] = 0;
		finish()
	} }
#endif

	/* What follows the other sections. What the central tier does is one step. */
	:: atomic { at(LEFT) && is(POP) && central == 0 -> d_step { finish() } } /* out of memory */
	:: atomic { at(LEFT) && is(POP) && central != 0 -> d_step {
		do
		:: central != 0 && i < AT_ONCE ->
			hand[me] = hand[me] | set_of(lowest(central));
			central = central & ~hand[me];
			i++
		:: else -> i = 0; break
		od;
		if
		:: hand[me] == set_of(lowest(hand[me])) -> finish()
		:: else -> begin(PUSH_BATCH)
		fi
	} }
#ifdef BATCHES
	:: atomic { at(LEFT) && is(PUSH) -> d_step { begin(POP_BATCH) } }
	:: atomic { at(LEFT) && is(POP_BATCH) -> d_step { give_to_central(); finish() } }
	:: atomic { at(LEFT) && is(PUSH_BATCH) && to_give == 0 -> d_step { finish() } }
	:: atomic { at(LEFT) && is(PUSH_BATCH) && to_give != 0 -> d_step { give_to_central(); finish() } }
#else
	:: atomic { at(LEFT) && is(PUSH) -> d_step { give_to_central(); finish() } }
#endif

#if WORKERS > 0
	/* slab_take_away. */
	:: atomic { at(IDLE) && is_worker && may_begin && can_claim(0) -> d_step { count_operation(); claim(0) } }
#if SLABS > 1
	:: atomic { at(IDLE) && is_worker && may_begin && can_claim(1) -> d_step { count_operation(); claim(1) } }
#endif
	:: atomic { at(STORE_DUMMY) -> d_step { slab_table[slab[me]] = closed_cache; pc[me] = AFTER_DUMMY } }
	:: atomic { at(FENCE) && !hits_section -> d_step { next_of_fence() } }
	:: atomic { at(FENCE) && hits_section -> d_step { abort(runner(moved[me])); next_of_fence() } }

	/* What a worker does with the slab that it has taken away. It takes some objects, or none. */
	:: atomic { at(REMOTE_LOAD_TOP) -> d_step { top[me] = slabs[slab[me]].top; pc[me] = AFTER_REMOTE_LOAD_TOP } }
	:: atomic { at(REMOTE_TAKE) && top[me] > 0 -> d_step {
		top[me]--;
		moved[me]++;
		buffer[me] = buffer[me] | set_of(slabs[slab[me]].slot[top[me]])
	} }
	:: atomic { at(REMOTE_TAKE) -> d_step { pc[me] = AFTER_REMOTE_TAKE } }
	:: atomic { at(REMOTE_STORE_TOP) -> d_step {
		slabs[slab[me]].top = top[me];
		clear_slots(slab[me], top[me], moved[me]);
		hand[me] = buffer[me];
		moved[me] = 0;
		buffer[me] = 0;
		check();
		pc[me] = AFTER_REMOTE_STORE_TOP
	} }
#ifdef LIMITS
	:: atomic { at(REMOTE_STORE_LIMIT) && slabs[slab[me]].limit > top[me] -> d_step {
		carried[me] = slabs[slab[me]].limit - top[me];
		slabs[slab[me]].limit = top[me];
		check();
		pc[me] = REMOTE_GIVE
	} }
	:: atomic { at(REMOTE_STORE_LIMIT) -> d_step { pc[me] = REMOTE_GIVE } }
#endif
	:: atomic { at(REMOTE_GIVE) -> d_step {
		give_to_central();
		spare = spare + carried[me];
		carried[me] = 0;
		top[me] = 0;
		pc[me] = AFTER_GIVE
	} }

	/* slab_put_back. */
	:: atomic { at(STORE_SLAB) -> d_step {
		slab_table[slab[me]] = slab[me];
		taken_away[slab[me]] = false;
		remote_next(AFTER_STORE_SLAB)
	} }
	:: atomic { at(UNCLAIM) -> d_step { claimed[slab[me]] = false; remote_next(AFTER_UNCLAIM) } }
#endif

#ifdef ENDING
	:: atomic { at(IDLE) && me != HANDLER && !may_begin -> d_step { number_of[me] = NOWHERE; pc[me] = ENDED } }
	:: pc[thread_of(me)] == ENDED -> break
#endif
	od
}

/* What the kernel does with a thread when it likes. That a thread moves to another number is a preemption and a run. */
proctype kernel(byte thread)
{
	do
	:: atomic { is_running && may_interrupt && !aborts(thread) -> d_step { count_interruption(); preempt() } }
	:: atomic { is_running && may_interrupt && aborts(thread) -> d_step {
		count_interruption();
		abort(thread);
		preempt()
	} }
	:: atomic { may_run && runner(0) == NOWHERE -> d_step { number_of[thread] = 0 } }
	:: atomic { may_run && runner(1) == NOWHERE -> d_step { number_of[thread] = 1 } }
#if NUMBERS > 2
	:: atomic { may_run && runner(2) == NOWHERE -> d_step { number_of[thread] = 2 } }
#endif
#ifdef SIGNALS
	:: atomic { may_signal && !aborts_for_signal -> d_step { count_interruption(); signal() } }
#if SIGNALLED >= WORKERS
	:: atomic { may_signal && aborts_for_signal -> d_step { count_interruption(); abort(thread); signal() } }
#endif
#endif
#ifdef ENDING
	:: pc[thread] == ENDED -> break
#endif
	od
}

init
{
	atomic {
		i = 0;
		do
		:: i < SLABS ->
			slab_table[i] = i;
#ifndef LIMITS
			slabs[i].limit = ROOM;
#endif
			i++
		:: else -> break
		od;
#ifdef LIMITS
		spare = CAPACITY;
#endif
		i = 0;
		do
		:: i < THREADS -> run kernel(i); i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < CONTEXTS -> run context(i); i++
		:: else -> break
		od;
		i = 0
	}
}

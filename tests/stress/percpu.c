/*
 * Stress: the caches per CPU, under all that makes their restartable sequences start again or takes a slab away under them.
 * Workers allocate and free tagged objects of a few sizes and hand them to each other. Those with even numbers stay on one
 * CPU, the others change it all the time.
 *
 *     percpu signals [aborts] [threads] [seed]    timers hit each worker until so many sequences have been aborted
 *     percpu handlers [aborts] [threads] [seed]   the same, and the handlers allocate and free, too
 *     percpu drains [rounds] [threads] [seed]     all slabs are taken away all the time, and statistics read
 *     percpu swings [rounds] [threads] [seed]     many objects at once, whose sizes change
 *
 * Everything is done twice, the first time shorter. What is in use afterwards must be the same: nothing is lost. Only where
 * handlers allocate it may be more: one that interrupts the slow part of the allocator cannot always give its object back.
 *
 * Ends with 77 where there are no caches per CPU.
 */
#ifdef TIERMALLOC_PREFIX
#include "observe/validate.h"
#endif

#include "tagged.h"

#include "report.h"
#include "timers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <ucontext.h>

enum { MAX_THREADS = 128, HELD = 24, PLACES = 64, STEPS_PER_ROUND = 2000, STEPS_PER_HOP = 200, MANY = 1000 };
enum { STACK_BYTES = 256 * 1024 };

enum part { SIGNALS, HANDLERS, DRAINS, SWINGS };
static const char *const part_names[] = {"signals", "handlers", "drains", "swings"};

struct held {
	struct tagged *object;
	uint64_t tag;
	size_t size;
};

struct worker {
	pthread_t thread;
	unsigned number;
	unsigned long rounds; /* where signals do not count */
	uint64_t random;
	struct owner owner;
	struct held held[HELD];
	timer_t timer;
	atomic_ulong signals;
	/* Of the handler alone. */
	uint64_t handler_random;
	struct owner handler_owner;
	struct held handler_held[4];
};

static enum part part;
static unsigned thread_count;
static struct worker workers[MAX_THREADS];
static _Atomic(struct tagged *) places[PLACES];
static pthread_barrier_t barrier;
static atomic_ulong aborts, aborts_wanted, takings, readings;
static atomic_bool stop;

static int cpus[CPU_SETSIZE]; /* that this process may run on */
static unsigned cpu_count;

static void find_cpus(void)
{
	cpu_set_t set;

	REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity: %s", strerror(errno));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[cpu_count++] = cpu;
	if (cpu_count == 1)
		printf("one CPU: nobody changes it\n");
}

static void go_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* Refused when the CPU has been taken away from the process since. */
	sched_setaffinity(0, sizeof set, &set);
}

static void hold(struct held *held, struct owner *owner, size_t size)
{
	held->object = tagged_new(owner, size);
	held->tag = held->object->tag;
	held->size = size;
}

static void let_go(struct held *held)
{
	tagged_free(held->object, held->tag, held->size);
	held->object = NULL;
}

/* For whoever comes by. What lay there has to be seen to. */
static void leave_at(unsigned place, struct held *held)
{
	struct tagged *found;

	tagged_check(held->object, held->tag, held->size);
	found = atomic_exchange(&places[place % PLACES], held->object);
	if (found)
		tagged_free(found, found->tag, found->size);
	held->object = NULL;
}

static size_t some_size(uint64_t number)
{
	/* Mostly small, as the fast paths are fastest then. */
	static const size_t sizes[] = {24, 24, 48, 48, 48, 64, 64, 200, 512, 1024, 4096, 30000};

	return sizes[number % (sizeof sizes / sizeof sizes[0])];
}

static void step(struct worker *worker)
{
	uint64_t number = random_next(&worker->random);
	struct held *held = &worker->held[number % HELD];

	if (!held->object)
		hold(held, &worker->owner, some_size(number >> 16));
	else if (number >> 32 & 7)
		let_go(held);
	else
		leave_at((unsigned)(number >> 40), held);
}

/* Each size is there for a while, and for half of the threads another one. */
static void swing(struct worker *worker, unsigned long round)
{
	static const size_t sizes[] = {24, 64, 100, 256, 1000, 3000, 8000, 40};
	size_t size = sizes[(round / 8 + worker->number % 2) % (sizeof sizes / sizeof sizes[0])];
	unsigned count = size > 1000 ? MANY / 5 : MANY;
	struct held many[MANY];

	for (unsigned i = 0; i < count; i++)
		hold(&many[i], &worker->owner, size);
	for (unsigned i = 0; i < count; i++) {
		unsigned index = round % 3 == 0 ? i : round % 3 == 1 ? count - 1 - i : i * 7 % count;

		if (i % 16 == 15)
			leave_at(i / 16, &many[index]);
		else
			let_go(&many[index]);
	}
}

/* Whether the kernel has sent the interrupted thread to where a restartable sequence starts again: the signature is there. */
static bool sequence_was_aborted(const ucontext_t *context)
{
	uint32_t before;
#if defined(__x86_64__)
	const uint32_t signature = 0x53053053;
	const unsigned char *next = (const unsigned char *)(uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	const uint32_t signature = 0xd428bc00;
	const unsigned char *next = (const unsigned char *)(uintptr_t)context->uc_mcontext.pc;
#endif

	memcpy(&before, next - sizeof before, sizeof before);
	return before == signature;
}

static void allocate_in_handler(struct worker *worker)
{
	uint64_t number = random_next(&worker->handler_random);
	struct held *held = &worker->handler_held[number % 4];

	if (!held->object)
		hold(held, &worker->handler_owner, some_size(number >> 16));
	else if (number >> 32 & 3)
		let_go(held);
	else
		leave_at((unsigned)(number >> 40), held);
}

static void on_timer(int number, siginfo_t *info, void *context)
{
	struct worker *worker = info->si_value.sival_ptr;
	int saved = errno;

	(void)number;
	atomic_fetch_add_explicit(&worker->signals, 1, memory_order_relaxed);
	if (sequence_was_aborted(context))
		atomic_fetch_add_explicit(&aborts, 1, memory_order_relaxed);
	if (part == HANDLERS)
		allocate_in_handler(worker);
	timer_shoot(worker->timer, 5000 + (long)(random_next(&worker->handler_random) % 20000));
	errno = saved;
}

static void work_under_signals(struct worker *worker)
{
	worker->timer = timer_for_this_thread(SIGUSR1, worker);
	timer_shoot(worker->timer, 10000);
	block_signal(SIG_UNBLOCK, SIGUSR1);
	for (unsigned long i = 0; atomic_load_explicit(&aborts, memory_order_relaxed) < atomic_load(&aborts_wanted);
	     i++) {
		if (worker->number % 2 && i % STEPS_PER_HOP == 0)
			go_to(cpus[random_next(&worker->random) % cpu_count]);
		step(worker);
	}
	block_signal(SIG_BLOCK, SIGUSR1);
	timer_delete(worker->timer);
}

static void work_for_rounds(struct worker *worker)
{
	for (unsigned long round = 0; round < worker->rounds; round++) {
		if (part == SWINGS) {
			if (worker->number % 2)
				go_to(cpus[random_next(&worker->random) % cpu_count]);
			swing(worker, round);
			continue;
		}
		for (unsigned i = 0; i < STEPS_PER_ROUND; i++) {
			if (worker->number % 2 && i % STEPS_PER_HOP == 0)
				go_to(cpus[random_next(&worker->random) % cpu_count]);
			step(worker);
		}
	}
}

static void *work(void *argument_of_thread)
{
	struct worker *worker = argument_of_thread;

	/* All are alive at the same time, so that the second time their stacks are there already. */
	pthread_barrier_wait(&barrier);
	go_to(cpus[worker->number % cpu_count]);
	if (part == SIGNALS || part == HANDLERS)
		work_under_signals(worker);
	else
		work_for_rounds(worker);
	for (unsigned i = 0; i < HELD; i++)
		if (worker->held[i].object)
			let_go(&worker->held[i]);
	for (unsigned i = 0; i < 4; i++)
		if (worker->handler_held[i].object)
			let_go(&worker->handler_held[i]);
	return NULL;
}

/* Takes all slabs away. */
static void *take_all(void *unused)
{
	pthread_barrier_wait(&barrier);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		malloc_trim(0);
		atomic_fetch_add_explicit(&takings, 1, memory_order_relaxed);
	}
	return unused;
}

static void *read_all(void *stream)
{
	pthread_barrier_wait(&barrier);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		mallinfo2();
		REQUIRE(malloc_info(0, stream) == 0, "malloc_info: %s", strerror(errno));
		atomic_fetch_add_explicit(&readings, 1, memory_order_relaxed);
	}
	return stream;
}

static pthread_t started(void *(*function)(void *), void *value)
{
	pthread_t thread;
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	int error = pthread_create(&thread, &attributes, function, value);
	REQUIRE(error == 0, "pthread_create: %s", strerror(error));
	pthread_attr_destroy(&attributes);
	return thread;
}

static void free_rest(void)
{
	for (unsigned place = 0; place < PLACES; place++) {
		struct tagged *found = atomic_exchange(&places[place], NULL);

		if (found)
			tagged_free(found, found->tag, found->size);
	}
#ifdef TIERMALLOC_PREFIX
	const char *wrong = heap_validate();
	REQUIRE(!wrong, "%s", wrong);
#endif
}

/* Returns what is in use when all is over. */
static size_t run(unsigned long amount, FILE *nowhere)
{
	bool disturbed = part == DRAINS;
	pthread_t taker = 0, reader = 0;

	pthread_barrier_init(&barrier, NULL, thread_count + (disturbed ? 2 : 0));
	atomic_store(&aborts_wanted, atomic_load(&aborts) + amount);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < thread_count; i++) {
		workers[i].rounds = amount;
		workers[i].thread = started(work, &workers[i]);
	}
	if (disturbed) {
		taker = started(take_all, NULL);
		reader = started(read_all, nowhere);
	}
	for (unsigned i = 0; i < thread_count; i++)
		pthread_join(workers[i].thread, NULL);
	atomic_store(&stop, true);
	if (disturbed) {
		pthread_join(taker, NULL);
		pthread_join(reader, NULL);
	}
	pthread_barrier_destroy(&barrier);
	free_rest();
	return bytes_in_use();
}

static enum part part_named(const char *name)
{
	for (unsigned i = 0; i < sizeof part_names / sizeof part_names[0]; i++)
		if (strcmp(name, part_names[i]) == 0)
			return (enum part)i;
	FAIL("no part \"%s\"", name);
}

int main(int count, char **values)
{
	part = part_named(count > 1 ? values[1] : "");
	unsigned long amount = argument(count, values, 2, 1000);
	thread_count = (unsigned)argument(count, values, 3, 4);
	uint64_t seed = argument(count, values, 4, (unsigned long)getpid());
	unsigned long signals = 0;

	REQUIRE(thread_count >= 1 && thread_count <= MAX_THREADS, "1 to %d threads", MAX_THREADS);
	printf("%s: %lu, %u threads, seed %lu\n", part_names[part], amount, thread_count, (unsigned long)seed);
	fflush(stdout);
	require_names_bound();
	require_cpus_or_skip();
	find_cpus();
	handle_signal(SIGUSR1, on_timer);
	block_signal(SIG_BLOCK, SIGUSR1);
	for (unsigned i = 0; i < thread_count; i++) {
		workers[i].number = i;
		workers[i].random = seed * 1000 + i;
		workers[i].handler_random = ~workers[i].random;
		workers[i].owner.number = 1 + i;
		workers[i].handler_owner.number = 1 + MAX_THREADS + i;
	}
	FILE *nowhere = fopen("/dev/null", "w");
	REQUIRE(nowhere, "/dev/null: %s", strerror(errno));

	size_t first = run(amount / 8 + 1, nowhere);
	size_t second = run(amount, nowhere);
	for (unsigned i = 0; i < thread_count; i++)
		signals += atomic_load(&workers[i].signals);
	printf("%lu signals, %lu aborts; %lu times taken away, %lu readings; in use %zu, then %zu\n", signals,
	       atomic_load(&aborts), atomic_load(&takings), atomic_load(&readings), first, second);
	REQUIRE(second == first || (part == HANDLERS && second > first), "%zu bytes in use, and then %zu", first,
		second);
	fclose(nowhere);
	return 0;
}

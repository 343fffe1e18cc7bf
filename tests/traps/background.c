/*
 * Trap: the background thread. An idle program's memory goes back without any call; the thread does nothing when there is nothing
 * to do; it is no obstacle to fork, exit, the end of the main thread or namespaces; and where it is not asked for, it is not there.
 *
 *     background idle       a program frees its peak and then only waits
 *     background caches     what is in caches that belong to nobody goes back to their spans
 *     background quiet      and then the thread does not wake any more
 *     background fork       children have none until they need it; the parent has it back
 *     background threads    fork while threads allocate
 *     background no-more    no further thread is allowed: nobody notices, and it comes later
 *     background main       the main thread ends by pthread_exit: the process ends with its last thread
 *     background off        no option: no thread, and namespaces can be unshared
 *
 * Waiting is by looking again and again, up to a limit far beyond what is needed.
 */
#include "churn.h"
#include "report.h"

#include <sched.h>
#include <sys/resource.h>
#include <time.h>

/* More than a background thread needs by far: it waits for some seconds of quiet at most. */
#define DEADLINE_SECONDS 60

/* What may stay: the program, what is retained and a share of what is in use. */
#define RESIDENT_AT_REST (16 * MIB)

enum { OBJECTS = 100000, OBJECT = 1000 };

static bool past(time_t end)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	nanosleep(&pause, NULL);
	return time(NULL) > end;
}

/* The ids of threads of that name; returns how many. Without opendir, which allocates. */
static int background_threads(int *id)
{
	struct entry {
		uint64_t inode;
		int64_t offset;
		unsigned short length;
		unsigned char type;
		char name[];
	};
	int descriptor = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	REQUIRE(descriptor >= 0, "cannot open /proc/self/task: %s", strerror(errno));
	_Alignas(struct entry) char buffer[4096];
	int found = 0;
	long got;
	while ((got = syscall(SYS_getdents64, descriptor, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->length) {
			const struct entry *entry = (struct entry *)(buffer + at);
			char path[300];
			char name[32] = "";
			snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->name);
			int file = entry->name[0] != '.' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
			if (file < 0)
				continue;
			if (read(file, name, sizeof name - 1) > 0 && strcmp(name, "tiermalloc\n") == 0) {
				found++;
				*id = atoi(entry->name);
			}
			close(file);
		}
	close(descriptor);
	return found;
}

/* It gives itself its name when it first runs. */
static int await_thread(void)
{
	time_t end = time(NULL) + DEADLINE_SECONDS;
	int id = 0;
	int found;
	while ((found = background_threads(&id)) == 0)
		REQUIRE(!past(end), "no background thread after %d seconds", DEADLINE_SECONDS);
	REQUIRE(found == 1, "%d background threads", found);
	return id;
}

static void require_none(const char *when)
{
	int id = 0;
	REQUIRE(background_threads(&id) == 0, "there is a background thread %s", when);
}

static void await_resident_below(size_t most)
{
	time_t end = time(NULL) + DEADLINE_SECONDS;
	while (resident_bytes() > most)
		REQUIRE(!past(end), "%zu KiB are resident after %d seconds, more than %zu", resident_bytes() / KIB,
			DEADLINE_SECONDS, most / KIB);
}

static void **objects;

static void take_peak(void)
{
	if (!objects)
		objects = map_room(OBJECTS * sizeof *objects);
	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(OBJECT);
		REQUIRE(objects[i], "malloc: %s", strerror(errno));
		memset(objects[i], 1, OBJECT);
	}
	REQUIRE(resident_bytes() > (size_t)OBJECTS * OBJECT, "the objects are not resident");
}

static void free_peak(void)
{
	for (int i = 0; i < OBJECTS; i++)
		free(objects[i]);
}

/* The program's own part of what is resident does not matter: the objects are 100 MB. */
static void check_idle(void)
{
	/* Several in a row, which the allocator takes for a demand that will come again. */
	for (int i = 0; i < 5; i++) {
		take_peak();
		free_peak();
	}
	await_thread();
	await_resident_below(RESIDENT_AT_REST);
}

static size_t held_for_nobody(void)
{
	static struct report report;
	report_read(&report);
	return report_bytes(&report, "transfer") + (report_of_cpus(&report) ? report_bytes(&report, "cached") : 0);
}

/* Two threads, so that there are transfer caches: one stays. */
static void *exchange(void *barrier)
{
	use_heap_briefly(7);
	pthread_barrier_wait(barrier);
	free_peak();
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	return NULL;
}

static void check_caches(void)
{
	pthread_barrier_t barrier;
	pthread_t thread;
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&thread, NULL, exchange, &barrier) == 0, "pthread_create");
	take_peak();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	time_t end = time(NULL) + DEADLINE_SECONDS;
	if (held_for_nobody() == 0) {
		printf("left out: the caches are empty as it is\n");
		exit(77);
	}
	while (held_for_nobody() != 0)
		REQUIRE(!past(end), "%zu bytes are still in caches", held_for_nobody());
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
}

static size_t switches_of(int id)
{
	char path[100];
	snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
	return proc_number(path, "\nvoluntary_ctxt_switches:");
}

/* Whether it has not woken for three of its periods. */
static bool sleeps(int id)
{
	size_t before = switches_of(id);
	const struct timespec pause = {.tv_nsec = 750 * 1000 * 1000};
	nanosleep(&pause, NULL);
	return switches_of(id) == before;
}

static void check_quiet(void)
{
	check_idle();
	int id = await_thread();
	time_t end = time(NULL) + DEADLINE_SECONDS;
	while (!sleeps(id))
		REQUIRE(!past(end), "it still wakes after %d seconds", DEADLINE_SECONDS);
	/* And it wakes again when there is something to do. */
	size_t before = switches_of(id);
	take_peak();
	free_peak();
	end = time(NULL) + DEADLINE_SECONDS;
	while (switches_of(id) == before)
		REQUIRE(!past(end), "it does not wake any more");
	await_resident_below(RESIDENT_AT_REST);
}

static void check_signals_of(int id)
{
	char path[100];
	snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
	char text[4096];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = file >= 0 ? read(file, text, sizeof text - 1) : -1;
	REQUIRE(got > 0, "cannot read %s", path);
	close(file);
	text[got] = 0;
	const char *line = strstr(text, "\nSigBlk:");
	uint64_t blocked = line ? strtoull(line + 8, NULL, 16) : 0;
	for (int number = 1; number < NSIG; number++)
		if (number != SIGKILL && number != SIGSTOP && (number < 32 || number >= SIGRTMIN))
			REQUIRE(blocked >> (number - 1) & 1, "signal %d is not blocked", number);
}

static void check_fork(void)
{
	take_peak();
	check_signals_of(await_thread());
	for (int round = 0; round < 12; round++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0) {
			require_none("in a new child");
			free_peak();
			take_peak();
			await_thread();
			_exit(0);
		}
		if (round % 4 == 0) {
			await_thread();
			reap(pid);
		} else {
			reap(pid);
			await_thread();
		}
	}
	free_peak();
	await_resident_below(RESIDENT_AT_REST);
}

static void check_threads(void)
{
	static struct churners churners;
	take_peak();
	await_thread();
	churners_start(&churners, 3, 5);
	for (int round = 0; round < 60; round++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0) {
			use_heap_briefly((uint64_t)round);
			_exit(0);
		}
		reap(pid);
	}
	churners_stop(&churners);
	await_thread();
}

/* Left out for root, whom the limit does not concern. */
static void check_no_more(void)
{
	struct rlimit limit;
	REQUIRE(getrlimit(RLIMIT_NPROC, &limit) == 0, "getrlimit: %s", strerror(errno));
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = 0;
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		printf("left out: cannot become another user than root, whom limits do not concern\n");
		exit(77);
	}
	REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0, "setrlimit: %s", strerror(errno));
	take_peak();
	free_peak();
	use_heap_briefly(1);
	require_none("beyond the limit");
	limit.rlim_cur = before;
	REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0, "setrlimit: %s", strerror(errno));
	time_t end = time(NULL) + DEADLINE_SECONDS;
	int id;
	do {
		take_peak();
		free_peak();
	} while (background_threads(&id) == 0 && !past(end));
	await_thread();
}

static void *end_last(void *unused)
{
	use_heap_briefly(6);
	return unused;
}

/* The driver sees whether the process ends. */
static void check_main(void)
{
	pthread_t thread;
	take_peak();
	await_thread();
	free_peak();
	REQUIRE(pthread_create(&thread, NULL, end_last, NULL) == 0, "pthread_create");
	pthread_exit(NULL);
}

static void check_off(void)
{
	take_peak();
	free_peak();
	require_none("though nobody wants one");
	/* Fails with EINVAL in a process with threads; with EPERM, ENOSPC and so on where namespaces are not to be had. */
	int result = unshare(CLONE_NEWUSER);
	REQUIRE(result == 0 || errno != EINVAL, "unshare: %s", strerror(errno));
	if (result != 0) {
		printf("left out: no user namespaces here (%s)\n", strerror(errno));
		exit(77);
	}
}

int main(int count, char **values)
{
	static const struct {
		const char *name;
		void (*check)(void);
	} cases[] = {
		{"idle", check_idle}, {"caches", check_caches},	    {"quiet", check_quiet}, {"fork", check_fork}, {"threads", check_threads},
		{"no-more", check_no_more}, {"main", check_main},   {"off", check_off},
	};
	require_allocator();
	REQUIRE(count == 2, "one argument is needed");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (strcmp(values[1], cases[i].name) == 0) {
			cases[i].check();
			return 0;
		}
	}
	FAIL("unknown case %s", values[1]);
}

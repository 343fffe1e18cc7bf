/*
 * Runs one program under an allocator and reports what it took. Relies on Linux: ptrace stops the program when it is about
 * to exit, while /proc still tells its peak of resident memory and which files it has mapped. (The peak that wait4 knows is
 * at least the parent's own at the time of the fork.) The program's descendants are not stopped; their processor time
 * counts if the program waits for them. The peak of a program whose first thread ends before the others is that of then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	STATUS_USAGE = 2,
	STATUS_LIMIT = 124, /* as of the program timeout */
	STATUS_FAILED = 125,
	STATUS_NO_TRACE = 126, /* of the child, before it is the program */
	STATUS_NO_PROGRAM = 127,
	STATUS_SIGNAL = 128
};

/* What would change an allocator's behaviour: everyone runs with its defaults. */
static const char *const settings[] = {"LD_PRELOAD",   "GLIBC_TUNABLES", "MALLOC_",   "TIERMALLOC_",
				       "_RJEM_MALLOC", "TCMALLOC_",      "MIMALLOC_", "mimalloc_"};

struct options {
	const char *report;
	const char *preload;
	unsigned limit;
	uint64_t address_space;
	char **environment;
	size_t environment_count;
};

struct measured {
	uint64_t wall_ns;
	uint64_t peak_rss_bytes;
	int wait_status;
	int stopped; /* seen at its exit */
	struct rusage usage;
	char library[PATH_MAX];
};

static pid_t program;
static volatile sig_atomic_t limit_reached;

static _Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	fputs("launch: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(STATUS_FAILED);
}

static _Noreturn void usage(void)
{
	fputs("usage: launch --report FILE [--preload LIBRARY] [--limit SECONDS] [--address-space BYTES] [--set "
	      "NAME=VALUE]...\n"
	      "              -- PROGRAM [ARGUMENT]...\n",
	      stderr);
	exit(STATUS_USAGE);
}

static uint64_t parse_number(const char *text)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
		usage();
	return value;
}

static int is_setting(const char *variable)
{
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (strncmp(variable, settings[i], strlen(settings[i])) == 0)
			return 1;
	return 0;
}

static void add_variable(struct options *options, char *variable)
{
	options->environment[options->environment_count++] = variable;
	options->environment[options->environment_count] = NULL;
}

/* The present environment without allocators' settings; `room` more variables fit in. */
static void copy_environment(struct options *options, size_t room)
{
	size_t count = 0;

	while (environ[count] != NULL)
		count++;
	options->environment = calloc(count + room + 1, sizeof *options->environment);
	if (options->environment == NULL)
		fail("no memory");
	for (size_t i = 0; i < count; i++)
		if (!is_setting(environ[i]))
			add_variable(options, environ[i]);
}

static void set_preload(struct options *options, const char *library)
{
	static char resolved[PATH_MAX];
	char *variable;

	options->preload = realpath(library, resolved);
	if (options->preload == NULL)
		fail("%s: %s", library, strerror(errno));
	if (asprintf(&variable, "LD_PRELOAD=%s", library) < 0)
		fail("no memory");
	add_variable(options, variable);
}

/* Returns the program and its arguments. */
static char **parse_options(int count, char **arguments, struct options *options)
{
	enum { REPORT, PRELOAD, LIMIT, ADDRESS_SPACE, SET };
	static const struct option known[] = {
		{"report", required_argument, NULL, REPORT}, {"preload", required_argument, NULL, PRELOAD},
		{"limit", required_argument, NULL, LIMIT},   {"address-space", required_argument, NULL, ADDRESS_SPACE},
		{"set", required_argument, NULL, SET},       {NULL, 0, NULL, 0}};
	int option;

	copy_environment(options, (size_t)count);
	while ((option = getopt_long(count, arguments, "+", known, NULL)) != -1) {
		if (option == REPORT)
			options->report = optarg;
		else if (option == PRELOAD)
			set_preload(options, optarg);
		else if (option == LIMIT)
			options->limit = (unsigned)parse_number(optarg);
		else if (option == ADDRESS_SPACE)
			options->address_space = parse_number(optarg);
		else if (option == SET && strchr(optarg, '=') != NULL)
			add_variable(options, optarg);
		else
			usage();
	}
	if (options->report == NULL || arguments[optind] == NULL)
		usage();
	return arguments + optind;
}

/* Runs in the child, which shares its parent's memory until the program takes its place. A group of its own lets the limit
 * end the program's descendants, too. */
static _Noreturn void become_program(char **command, const struct options *options)
{
	struct rlimit limit = {options->address_space, options->address_space};

	setpgid(0, 0);
	if (options->address_space != 0 && setrlimit(RLIMIT_AS, &limit) != 0)
		_exit(STATUS_FAILED);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(STATUS_NO_TRACE);
	execvpe(command[0], command, options->environment);
	_exit(STATUS_NO_PROGRAM);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void end_program(int signal)
{
	(void)signal;
	limit_reached = 1;
	kill(-program, SIGKILL);
}

/* Waits for the program's next stop, or its end. */
static int wait_for_program(struct measured *measured)
{
	while (wait4(program, &measured->wait_status, 0, &measured->usage) < 0)
		if (errno != EINTR)
			fail("wait4: %s", strerror(errno));
	return WIFSTOPPED(measured->wait_status);
}

static void let_run(int signal)
{
	/* It may have been killed in the meantime: then waiting for it tells. */
	if (ptrace(PTRACE_CONT, program, NULL, (void *)(intptr_t)signal) != 0 && errno != ESRCH)
		fail("ptrace: %s", strerror(errno));
}

/* Starts the program and returns when its own code is about to run. */
static void start(char **command, const struct options *options, struct measured *measured)
{
	program = vfork();
	if (program < 0)
		fail("vfork: %s", strerror(errno));
	if (program == 0)
		become_program(command, options);
	if (!wait_for_program(measured)) {
		if (WIFEXITED(measured->wait_status) && WEXITSTATUS(measured->wait_status) == STATUS_NO_TRACE)
			fail("ptrace is refused here; without it peak memory cannot be measured");
		fail("%s cannot be run", command[0]);
	}
	intptr_t wanted = PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	if (ptrace(PTRACE_SETOPTIONS, program, NULL, (void *)wanted) != 0)
		fail("ptrace: %s", strerror(errno));
}

static FILE *open_process_file(const char *name)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)program, name);
	FILE *file = fopen(path, "re");
	if (file == NULL)
		fail("%s: %s", path, strerror(errno));
	return file;
}

static uint64_t read_peak(void)
{
	char line[256];
	uint64_t kib = 0;
	FILE *file = open_process_file("status");

	while (fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
			break;
	fclose(file);
	return kib * 1024;
}

/* Looks for the library among the files whose code the program has mapped. */
static void find_library(const char *library, struct measured *measured)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file = open_process_file("maps");

	while (library != NULL && getline(&line, &size, file) > 0) {
		char *path = strchr(line, '/');
		const char *rights = strchr(line, ' ');
		if (path == NULL || rights == NULL || rights[3] != 'x')
			continue;
		path[strcspn(path, "\n")] = '\0';
		if (strcmp(path, library) == 0)
			snprintf(measured->library, sizeof measured->library, "%s", path);
	}
	free(line);
	fclose(file);
}

/* Lets the program run to its end. What is read while it stands still at its exit does not count as its time; the kernel's
 * taking down of its memory afterwards does. */
static void follow(const struct options *options, struct measured *measured)
{
	uint64_t begin = now(), standing = 0;

	let_run(0);
	while (wait_for_program(measured)) {
		int signal = WSTOPSIG(measured->wait_status);
		int event = measured->wait_status >> 16;
		if (event == PTRACE_EVENT_EXIT) {
			uint64_t stop = now();
			measured->peak_rss_bytes = read_peak();
			find_library(options->preload, measured);
			measured->stopped = 1;
			standing += now() - stop;
		}
		let_run(event != 0 ? 0 : signal);
	}
	measured->wall_ns = now() - begin - standing;
}

static uint64_t nanoseconds(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

static int exit_status(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : STATUS_SIGNAL + WTERMSIG(wait_status);
}

static void write_report(const char *path, const struct measured *measured)
{
	FILE *file = fopen(path, "we");

	if (file == NULL)
		fail("%s: %s", path, strerror(errno));
	fprintf(file, "wall_ns %" PRIu64 "\n", measured->wall_ns);
	fprintf(file, "user_ns %" PRIu64 "\n", nanoseconds(measured->usage.ru_utime));
	fprintf(file, "system_ns %" PRIu64 "\n", nanoseconds(measured->usage.ru_stime));
	fprintf(file, "peak_rss_bytes %" PRIu64 "\n", measured->peak_rss_bytes);
	fprintf(file, "minor_faults %ld\n", measured->usage.ru_minflt);
	fprintf(file, "major_faults %ld\n", measured->usage.ru_majflt);
	fprintf(file, "status %d\n", exit_status(measured->wait_status));
	fprintf(file, "library %s\n", measured->library);
	if (fclose(file) != 0)
		fail("%s: %s", path, strerror(errno));
}

int main(int count, char **arguments)
{
	static struct measured measured = {.library = "none"};
	struct options options = {.limit = 0};
	char **command = parse_options(count, arguments, &options);

	start(command, &options, &measured);
	signal(SIGALRM, end_program);
	alarm(options.limit);
	follow(&options, &measured);
	if (limit_reached) {
		fprintf(stderr, "launch: %s was still running after %u s\n", command[0], options.limit);
		return STATUS_LIMIT;
	}
	if (!measured.stopped)
		fail("%s was not seen at its exit", command[0]);
	write_report(options.report, &measured);
	return exit_status(measured.wait_status);
}

/*
 * Trap: detached threads that never allocate. The C library frees the last of their memory in
 * the thread itself, after all its destructors have run: what the allocator gave it for that
 * would stay for good, and point to a stack that has gone.
 *
 *     silent_threads [threads] [path]    a recording is started in the end
 */
#include "churn.h"
#include "report.h"

#include <dlfcn.h>
#include <semaphore.h>

static sem_t started;
static sem_t may_end;

static void *wait_and_end(void *unused)
{
	sem_post(&started);
	sem_wait(&may_end);
	return unused;
}

/* Several at a time, so that their stacks are given back to the system and not only used again. */
enum { AT_A_TIME = 50 };

static void run_some(void)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < AT_A_TIME; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, &attributes, wait_and_end, NULL);
		REQUIRE(error == 0, "pthread_create: %s", strerror(error));
		sem_wait(&started);
	}
	pthread_attr_destroy(&attributes);
	for (int i = 0; i < AT_A_TIME; i++)
		sem_post(&may_end);
}

/* The kernel's count: a thread is gone from there once nothing of it can run. */
static long thread_count(void)
{
	static char text[4096];
	int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = read(descriptor, text, sizeof text - 1);
	REQUIRE(length > 0, "/proc/self/status: %s", strerror(errno));
	close(descriptor);
	text[length] = 0;
	return strtol(strstr(text, "Threads:") + strlen("Threads:"), NULL, 10);
}

static void start_recording(const char *path)
{
	int (*start)(const char *) = (int (*)(const char *))dlsym(RTLD_DEFAULT, "tiermalloc_record_start");
	if (!start) /* another allocator */
		return;
	REQUIRE(start(path) == 0, "recording cannot be started");
	free(malloc(100));
}

int main(int argc, char **argv)
{
	static struct report report;
	long threads = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
	sem_init(&started, 0, 0);
	sem_init(&may_end, 0, 0);
	for (long done = 0; done < threads; done += AT_A_TIME) {
		run_some();
		while (thread_count() != 1)
			sched_yield();
	}
	report_read(&report);
	REQUIRE(report_caches(&report) <= 2, "%zu caches are left", report_caches(&report));
	if (argc > 2)
		start_recording(argv[2]);
	return 0;
}

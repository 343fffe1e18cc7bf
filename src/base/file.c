/* Writing files: the system's calls themselves, and no SIGXFSZ. */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int file_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_WRONLY | O_CLOEXEC, 0666);
}

/* SIGXFSZ is blocked while this writes; one that was waiting before waits again. */
struct guard {
	sigset_t signal;
	sigset_t before;
	bool was_pending;
};

static void block_signal(struct guard *guard)
{
	sigset_t pending;

	sigemptyset(&guard->signal);
	sigaddset(&guard->signal, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &guard->signal, &guard->before);
	guard->was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1;
}

static void unblock_signal(const struct guard *guard, bool sent)
{
	static const struct timespec at_once;

	if (sent && !guard->was_pending)
		syscall(SYS_rt_sigtimedwait, &guard->signal, NULL, &at_once, sizeof(uint64_t));
	sigprocmask(SIG_SETMASK, &guard->before, NULL);
}

/* Returns 0 or what errno says. */
static int write_parts(int descriptor, const char *bytes, size_t count)
{
	while (count != 0) {
		ssize_t written = syscall(SYS_write, descriptor, bytes, count);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : EIO;
		bytes += written;
		count -= (size_t)written;
	}
	return 0;
}

bool file_write(int descriptor, const char *bytes, size_t count)
{
	struct guard guard;
	int saved = errno;
	int error;

	block_signal(&guard);
	error = write_parts(descriptor, bytes, count);
	unblock_signal(&guard, error == EFBIG);
	errno = error != 0 ? error : saved;
	return error == 0;
}

bool file_close(int descriptor)
{
	return syscall(SYS_close, descriptor) == 0;
}

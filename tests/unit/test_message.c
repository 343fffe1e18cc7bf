/*
 * Text without stdio: what is put together, what is cut off, what is flushed, and the messages that end the
 * process. Relies on base/message alone.
 */
#include "support.h"

#include <inttypes.h>

#include "base/file.h"
#include "base/message.h"

static void numbers(void **unused)
{
	static const uint64_t values[] = {0, 7, 9, 10, 99, 100, 12345, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		char buffer[128] = {0};
		char expected[128];
		struct text text = {.buffer = buffer, .capacity = sizeof(buffer) - 1};

		text_number(&text, values[i]);
		text_string(&text, "|");
		text_number_padded(&text, values[i], 8);
		text_string(&text, "|");
		text_number_padded(&text, values[i], 30);
		text_string(&text, "|");
		text_hexadecimal(&text, values[i]);
		snprintf(expected, sizeof(expected), "%" PRIu64 "|%8" PRIu64 "|%30" PRIu64 "|0x%" PRIx64, values[i],
			 values[i], values[i], values[i]);
		assert_string_equal(buffer, expected);
		assert_int_equal(text.length, strlen(expected));
	}
}

static void cut_off(void **unused)
{
	char buffer[9] = "........";
	struct text text = {.buffer = buffer, .capacity = 6};

	(void)unused;
	text_string(&text, "abcd");
	text_string(&text, "");
	text_bytes(&text, "xyz", 0);
	assert_string_equal(buffer, "abcd....");
	text_string(&text, "efgh");
	assert_string_equal(buffer, "abcdef..");
	text_number(&text, 123);
	assert_string_equal(buffer, "abcdef..");
	assert_int_equal(text.length, 6);
	text_flush(&text); /* nowhere to go */
	assert_int_equal(text.length, 6);
}

struct sink {
	char text[4096];
	size_t length;
	size_t calls;
};

static void into_sink(struct text *text, void *context)
{
	struct sink *sink = context;

	memcpy(sink->text + sink->length, text->buffer, text->length);
	sink->length += text->length;
	sink->calls++;
	text->length = 0;
}

/* Pieces of all lengths through a buffer smaller than many of them: nothing lost, nothing twice, in order. */
static void flushed(void **unused)
{
	static struct sink sink;
	char expected[4096];
	char buffer[7];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer), .flush = into_sink, .context = &sink};
	size_t length = 0;

	(void)unused;
	text_flush(&text);
	assert_int_equal(sink.calls, 0);
	for (size_t piece = 0; piece < 60; piece++) {
		for (size_t at = 0; at < piece; at++)
			expected[length + at] = (char)('a' + (length + at) % 26);
		text_bytes(&text, expected + length, piece);
		length += piece;
	}
	text_flush(&text);
	assert_int_equal(sink.length, length);
	assert_memory_equal(sink.text, expected, length);
	assert_int_equal(text.length, 0);
}

static void on_signal(int signal)
{
	(void)signal;
}

/* More than a pipe holds at once, while a reader takes it in small bites and interrupts the writer before each. */
static void writes_all(void **unused)
{
	const struct sigaction interrupting = {.sa_handler = on_signal};
	const size_t size = 300000;
	char *bytes = test_malloc(size);
	int ends[2];
	pid_t child;
	int status;

	(void)unused;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 31 >> 3);
	assert_int_equal(pipe(ends), 0);
	sigaction(SIGUSR1, &interrupting, NULL);
	fflush(stdout);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char bite[1009];
		ssize_t taken;
		size_t at = 0;

		close(ends[1]);
		while (kill(getppid(), SIGUSR1) == 0 && (taken = read(ends[0], bite, sizeof(bite))) > 0) {
			child_check(at + (size_t)taken <= size && memcmp(bytes + at, bite, (size_t)taken) == 0);
			at += (size_t)taken;
		}
		_exit(at == size ? 0 : 1);
	}
	close(ends[0]);
	errno = EXDEV;
	assert_true(file_write(ends[1], bytes, size));
	assert_int_equal(errno, EXDEV);
	close(ends[1]);
	while (waitpid(child, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(status, 0);
	test_free(bytes);
}

/* Nowhere to write to. */
static void write_fails(void **unused)
{
	(void)unused;
	errno = EXDEV;
	assert_false(file_write(-1, "text", 4));
	assert_int_equal(errno, EBADF);
}

static void abort_with(const void *text)
{
	message_abort(text);
}

static void aborts(void **unused)
{
	struct captured captured;

	(void)unused;
	capture_child(abort_with, "what is wrong", &captured);
	assert_aborted(&captured);
	assert_string_equal(captured.text, "tiermalloc: what is wrong\n");
}

/* Too long for the buffer: cut off, and still one whole line. */
static void aborts_at_length(void **unused)
{
	char long_text[1000];
	struct captured captured;

	(void)unused;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	capture_child(abort_with, long_text, &captured);
	assert_aborted(&captured);
	assert_true(strlen(captured.text) >= 200);
	assert_int_equal(strncmp(captured.text, "tiermalloc: xxxx", 16), 0);
	assert_ptr_equal(strchr(captured.text, '\n'), captured.text + strlen(captured.text) - 1);
}

static void use_wrongly(const void *use)
{
	message_wrong_use(use);
}

static void wrong_use(void **unused)
{
	static char long_text[1000];
	static const struct {
		struct wrong_use use;
		const char *expected;
	} cases[] = {
		{{"free", (void *)0x7f0123456789, "pointer is inside an object, not at its start", 48, 0},
		 "tiermalloc: free(0x7f0123456789): pointer is inside an object, not at its start; size class 48\n"},
		{{"realloc", (void *)0x10, "object is already free (double free)", 0, 2097152},
		 "tiermalloc: realloc(0x10): object is already free (double free); size class large (2097152 bytes)\n"},
		{{"operator delete", NULL, "pointer was never allocated", 0, 0},
		 "tiermalloc: operator delete(0x0): pointer was never allocated\n"},
	};
	const struct wrong_use at_length = {"free", (void *)0x10, long_text, 8, 0};
	struct captured captured;

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		capture_child(use_wrongly, &cases[i].use, &captured);
		assert_aborted(&captured);
		assert_string_equal(captured.text, cases[i].expected);
	}
	memset(long_text, 'x', sizeof(long_text) - 1);
	capture_child(use_wrongly, &at_length, &captured);
	assert_aborted(&captured);
	assert_int_equal(strncmp(captured.text, "tiermalloc: free(0x10): xxxx", 28), 0);
	assert_ptr_equal(strchr(captured.text, '\n'), captured.text + strlen(captured.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),          cmocka_unit_test(cut_off),     cmocka_unit_test(flushed),
		cmocka_unit_test(writes_all),       cmocka_unit_test(write_fails), cmocka_unit_test(aborts),
		cmocka_unit_test(aborts_at_length), cmocka_unit_test(wrong_use),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}

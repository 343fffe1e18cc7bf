/*
 * Options: every key with what it takes and what it refuses, and the exact lines on stderr.
 * Relies on base/options, base/message.
 */
#include "support.h"

#include <limits.h>

#include "base/options.h"
#include "frontend/frontend.h"
#include "pageheap/pageheap.h"

/* Unlike any default and any value below, so that a change is seen. */
static const struct options before = {
	.stats_print = false,
	.deepbind = true,
	.background = true,
	.retain = 11,
	.decay_ms = 18,
	.peak_ms = 22,
	.trend_ms = 23,
	.release_rate = 19,
	.soft_limit = 20,
	.hard_limit = 21,
	.thread_cache_size = 12,
	.min_per_thread_cache = 13,
	.cpu_cache_size = 16,
	.frontend = 17,
	.thp = 18,
	.record = "before",
	.record_signal = 14,
	.record_period = 15,
	.trace_pages = "",
};

static void parse(const void *text)
{
	options_parse(text);
}

static void read_environment(const void *unused)
{
	(void)unused;
	options_read();
}

static void assert_options(const struct options *expected)
{
	assert_int_equal(options.stats_print, expected->stats_print);
	assert_int_equal(options.deepbind, expected->deepbind);
	assert_int_equal(options.background, expected->background);
	assert_int_equal(options.retain, expected->retain);
	assert_int_equal(options.decay_ms, expected->decay_ms);
	assert_int_equal(options.peak_ms, expected->peak_ms);
	assert_int_equal(options.trend_ms, expected->trend_ms);
	assert_int_equal(options.release_rate, expected->release_rate);
	assert_int_equal(options.soft_limit, expected->soft_limit);
	assert_int_equal(options.hard_limit, expected->hard_limit);
	assert_int_equal(options.thread_cache_size, expected->thread_cache_size);
	assert_int_equal(options.min_per_thread_cache, expected->min_per_thread_cache);
	assert_int_equal(options.cpu_cache_size, expected->cpu_cache_size);
	assert_int_equal(options.frontend, expected->frontend);
	assert_int_equal(options.thp, expected->thp);
	assert_string_equal(options.record, expected->record);
	assert_int_equal(options.record_signal, expected->record_signal);
	assert_int_equal(options.record_period, expected->record_period);
	assert_string_equal(options.trace_pages, expected->trace_pages);
}

static void accepted(const char *text, const struct options *expected)
{
	struct captured captured;

	options = before;
	capture_stderr(parse, text, &captured);
	assert_string_equal(captured.text, "");
	assert_options(expected);
}

static void refused(const char *text, const char *message)
{
	struct captured captured;

	options = before;
	capture_stderr(parse, text, &captured);
	assert_string_equal(captured.text, message);
	assert_options(&before);
}

static void switches(void **unused)
{
	struct options expected = before;

	(void)unused;
	expected.stats_print = true;
	accepted("stats_print:true", &expected);
	expected.deepbind = false;
	accepted("stats_print:true,deepbind:false", &expected);
	expected.background = false;
	accepted("background:false,stats_print:true,deepbind:false", &expected);
	expected.background = true;
	expected.stats_print = false;
	accepted("deepbind:false,stats_print:false", &expected);
	/* The last one counts. */
	accepted("deepbind:true,stats_print:true,deepbind:false,stats_print:false", &expected);
}

static void bad_switches(void **unused)
{
	static const char *const keys[] = {"stats_print", "deepbind", "background"};
	static const char *const values[] = {"", "1", "0", "yes", "True", "truex", "tru", " true", "true:false"};

	(void)unused;
	for (size_t key = 0; key < COUNT_OF(keys); key++) {
		for (size_t value = 0; value < COUNT_OF(values); value++) {
			char text[100];
			char message[200];

			snprintf(text, sizeof(text), "%s:%s", keys[key], values[value]);
			snprintf(message, sizeof(message),
				 "tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"%s\" (allowed: true or false)\n",
				 values[value], keys[key]);
			refused(text, message);
		}
	}
}

struct bytes_option {
	const char *key;
	size_t offset; /* in struct options */
};

static const struct bytes_option bytes_options[] = {
	{"retain", offsetof(struct options, retain)},
	{"release_rate", offsetof(struct options, release_rate)},
	{"soft_limit", offsetof(struct options, soft_limit)},
	{"hard_limit", offsetof(struct options, hard_limit)},
	{"thread_cache_size", offsetof(struct options, thread_cache_size)},
	{"min_per_thread_cache", offsetof(struct options, min_per_thread_cache)},
	{"cpu_cache_size", offsetof(struct options, cpu_cache_size)},
};

static void bytes(void **unused)
{
	static const struct {
		const char *text;
		size_t value;
	} values[] = {
		{"0", 0},
		{"1", 1},
		{"4096", 4096},
		{"007", 7},
		{"4K", 4096},
		{"4k", 4096},
		{"3M", 3u << 20},
		{"3m", 3u << 20},
		{"0G", 0},
		{"2G", (size_t)2 << 30},
		{"5g", (size_t)5 << 30},
		{"9223372036854775807", PTRDIFF_MAX},
		{"8589934591G", (size_t)8589934591 << 30},
	};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(bytes_options); i++) {
		for (size_t value = 0; value < COUNT_OF(values); value++) {
			struct options expected = before;
			char text[100];

			*(size_t *)((char *)&expected + bytes_options[i].offset) = values[value].value;
			snprintf(text, sizeof(text), "%s:%s", bytes_options[i].key, values[value].text);
			accepted(text, &expected);
		}
	}
}

static void bad_bytes(void **unused)
{
	static const char *const values[] = {
		"",
		"K",
		"G",
		"-1",
		"+1",
		" 1",
		"1 ",
		"1.5M",
		"1KB",
		"1T",
		"0x10",
		"ten",
		"KK",
		"1:2",
		"9223372036854775808",
		"18446744073709551616",
		"99999999999999999999999999",
		"8589934592G",
		"9007199254740992K",
	};

	(void)unused;
	for (size_t i = 0; i < COUNT_OF(bytes_options); i++) {
		for (size_t value = 0; value < COUNT_OF(values); value++) {
			char text[100];
			char message[250];

			snprintf(text, sizeof(text), "%s:%s", bytes_options[i].key, values[value]);
			snprintf(message, sizeof(message),
				 "tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"%s\" (allowed: a number of "
				 "bytes, or one with K, M or G)\n",
				 values[value], bytes_options[i].key);
			refused(text, message);
		}
	}
}

static void frontends(void **unused)
{
	static const char *const bad[] = {"", "0", "1", "threads", "cpus", "CPU", "thread ", "per-cpu", "cpu:1"};
	struct options expected = before;

	(void)unused;
	expected.frontend = FRONTEND_AUTO;
	accepted("frontend:auto", &expected);
	expected.frontend = FRONTEND_THREAD;
	accepted("frontend:thread", &expected);
	expected.frontend = FRONTEND_CPU;
	accepted("frontend:auto,frontend:cpu", &expected);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		char text[100];
		char message[200];

		snprintf(text, sizeof(text), "frontend:%s", bad[i]);
		snprintf(message, sizeof(message),
			 "tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"frontend\" (allowed: auto, thread or "
			 "cpu)\n",
			 bad[i]);
		refused(text, message);
	}
}

static void huge_pages(void **unused)
{
	struct options expected = before;

	(void)unused;
	expected.thp = HUGE_PAGES_AUTO;
	accepted("thp:auto", &expected);
	expected.thp = HUGE_PAGES_ALWAYS;
	accepted("thp:always", &expected);
	expected.thp = HUGE_PAGES_NEVER;
	accepted("thp:always,thp:never", &expected);
	refused("thp:madvise",
		"tiermalloc: TIERMALLOC_CONF: bad value \"madvise\" for \"thp\" (allowed: auto, always or "
		"never)\n");
}

/* As it is, with its percent signs and colons; a comma ends it. */
static void paths(void **unused)
{
	struct options expected = before;
	char text[PATH_MAX + 20] = "record:";
	char longest[PATH_MAX];
	char message[PATH_MAX + 200];
	struct captured captured;

	(void)unused;
	expected.record = "/tmp/%e.%p:x y%%";
	accepted("record:/tmp/%e.%p:x y%%", &expected);
	expected.record = "a";
	expected.deepbind = false;
	accepted("record:a,deepbind:false", &expected);
	expected.trace_pages = "/tmp/%e.trace";
	accepted("trace_pages:/tmp/%e.trace,record:a,deepbind:false", &expected);
	expected = before;
	memset(longest, 'x', PATH_MAX - 1);
	longest[PATH_MAX - 1] = '\0';
	expected.record = longest;
	strcat(text, longest);
	accepted(text, &expected);
	/* One more does not fit; the message is cut off. */
	strcat(text, "x");
	options = before;
	capture_stderr(parse, text, &captured);
	snprintf(message, sizeof(message), "tiermalloc: TIERMALLOC_CONF: bad value \"%s", text + strlen("record:"));
	assert_int_equal(captured.text[strlen(captured.text) - 1], '\n');
	assert_int_equal(strncmp(captured.text, message, strlen(captured.text) - 1), 0);
	assert_options(&before);
	refused("record:",
		"tiermalloc: TIERMALLOC_CONF: bad value \"\" for \"record\" (allowed: the path of a file)\n");
}

static void record_numbers(void **unused)
{
	static const char *const signals[] = {"", "0", "-1", "65", "9", "19", "USR1", "10 ", "18446744073709551626"};
	static const char *const periods[] = {"", "0", "-1", "4294967296", "1s", "0.5", "18446744073709551617"};
	struct options expected = before;
	char text[100];
	char message[200];

	(void)unused;
	expected.record_signal = 1;
	accepted("record_signal:1", &expected);
	expected.record_signal = 64;
	expected.record_period = 1;
	accepted("record_signal:64,record_period:1", &expected);
	expected.record_period = UINT32_MAX;
	accepted("record_period:4294967295,record_signal:64", &expected);
	for (size_t i = 0; i < COUNT_OF(signals); i++) {
		snprintf(text, sizeof(text), "record_signal:%s", signals[i]);
		snprintf(
			message, sizeof(message),
			"tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"record_signal\" (allowed: the number of a "
			"signal that can be handled)\n",
			signals[i]);
		refused(text, message);
	}
	for (size_t i = 0; i < COUNT_OF(periods); i++) {
		snprintf(text, sizeof(text), "record_period:%s", periods[i]);
		snprintf(message, sizeof(message),
			 "tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"record_period\" (allowed: a number of "
			 "seconds)\n",
			 periods[i]);
		refused(text, message);
	}
}

static void decay(void **unused)
{
	static const char *const bad[] = {"", "-1", "1s", "0.5", "86400001", "1K", "18446744073709551617"};
	struct options expected = before;
	char text[100];
	char message[200];

	(void)unused;
	expected.decay_ms = 0;
	accepted("decay_ms:0", &expected);
	expected.decay_ms = MOST_MS;
	accepted("decay_ms:5,decay_ms:86400000", &expected);
	expected.peak_ms = 6;
	expected.trend_ms = 7;
	accepted("decay_ms:86400000,trend_ms:7,peak_ms:6", &expected);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		snprintf(text, sizeof(text), "decay_ms:%s", bad[i]);
		snprintf(message, sizeof(message),
			 "tiermalloc: TIERMALLOC_CONF: bad value \"%s\" for \"decay_ms\" (allowed: a number of "
			 "milliseconds, at most a day)\n",
			 bad[i]);
		refused(text, message);
	}
}

static void without_value(void **unused)
{
	(void)unused;
	refused("stats_print",
		"tiermalloc: TIERMALLOC_CONF: bad value \"\" for \"stats_print\" (allowed: true or false)\n");
	refused("retain", "tiermalloc: TIERMALLOC_CONF: bad value \"\" for \"retain\" (allowed: a number "
			  "of bytes, or one with K, M or G)\n");
}

static void unknown_keys(void **unused)
{
	(void)unused;
	refused("foo", "tiermalloc: TIERMALLOC_CONF: unknown key \"foo\"\n");
	refused("foo:bar", "tiermalloc: TIERMALLOC_CONF: unknown key \"foo\"\n");
	refused(":true", "tiermalloc: TIERMALLOC_CONF: unknown key \"\"\n");
	refused("stats_prin:true", "tiermalloc: TIERMALLOC_CONF: unknown key \"stats_prin\"\n");
	refused("stats_printx:true", "tiermalloc: TIERMALLOC_CONF: unknown key \"stats_printx\"\n");
	refused(" deepbind:true", "tiermalloc: TIERMALLOC_CONF: unknown key \" deepbind\"\n");
	refused("a:1,b",
		"tiermalloc: TIERMALLOC_CONF: unknown key \"a\"\ntiermalloc: TIERMALLOC_CONF: unknown key \"b\"\n");
}

/* What is wrong does not keep what is right from counting; empty items are nothing. */
static void lists(void **unused)
{
	struct options expected = before;
	struct captured captured;

	(void)unused;
	accepted("", &before);
	accepted(",", &before);
	expected.retain = 1u << 20;
	expected.stats_print = true;
	accepted(",,retain:1M,,stats_print:true,", &expected);
	options = before;
	capture_stderr(parse, "foo:1,retain:1M,deepbind:maybe,stats_print:true", &captured);
	assert_string_equal(
		captured.text,
		"tiermalloc: TIERMALLOC_CONF: unknown key \"foo\"\n"
		"tiermalloc: TIERMALLOC_CONF: bad value \"maybe\" for \"deepbind\" (allowed: true or false)\n");
	assert_options(&expected);
}

static void long_key(void **unused)
{
	char text[1000];
	struct captured captured;

	(void)unused;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	options = before;
	capture_stderr(parse, text, &captured);
	assert_int_equal(strncmp(captured.text, "tiermalloc: TIERMALLOC_CONF: unknown key \"xxxx", 46), 0);
	assert_ptr_equal(strchr(captured.text, '\n'), captured.text + strlen(captured.text) - 1);
	assert_options(&before);
}

static void environment(void **unused)
{
	struct options expected = before;
	struct captured captured;

	(void)unused;
	options = before;
	unsetenv("TIERMALLOC_CONF");
	capture_stderr(read_environment, NULL, &captured);
	assert_string_equal(captured.text, "");
	assert_options(&before);
	setenv("TIERMALLOC_CONF", "thread_cache_size:64K,nonsense", 1);
	capture_stderr(read_environment, NULL, &captured);
	assert_string_equal(captured.text, "tiermalloc: TIERMALLOC_CONF: unknown key \"nonsense\"\n");
	expected.thread_cache_size = 65536;
	assert_options(&expected);
	unsetenv("TIERMALLOC_CONF");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(switches),  cmocka_unit_test(bad_switches),   cmocka_unit_test(bytes),
		cmocka_unit_test(bad_bytes), cmocka_unit_test(without_value),  cmocka_unit_test(unknown_keys),
		cmocka_unit_test(lists),     cmocka_unit_test(long_key),       cmocka_unit_test(environment),
		cmocka_unit_test(paths),     cmocka_unit_test(record_numbers), cmocka_unit_test(frontends),
		cmocka_unit_test(decay),     cmocka_unit_test(huge_pages),
	};
	const struct options at_start = options;
	int failed = cmocka_run_group_tests_name("options", tests, NULL, NULL);

	/* The process ends as it was set up. */
	options = at_start;
	return failed;
}

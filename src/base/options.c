/* Options from the environment. */
#define _GNU_SOURCE
#include "base/options.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/message.h"
#include "size_classes.h"

struct options options = {
	.retain = DEFAULT_RETAIN,
	.decay_ms = DEFAULT_DECAY_MS,
	.peak_ms = DEFAULT_PEAK_MS,
	.trend_ms = DEFAULT_TREND_MS,
	.thread_cache_size = THREAD_CACHE_SIZE,
	.min_per_thread_cache = MIN_PER_THREAD_CACHE,
	.cpu_cache_size = DEFAULT_CPU_CACHE_SIZE,
	.record = "",
	.trace_pages = "",
};

/* Apart from the options, which every process reads: few processes have paths. */
static char record[PATH_MAX];
static char trace_pages[PATH_MAX];

struct word {
	const char *start;
	size_t length;
};

struct option {
	const char *key;
	bool (*parse)(struct word value, void *target);
	void *target;
	const char *allowed;
};

static bool equals(struct word word, const char *string)
{
	return strlen(string) == word.length && memcmp(word.start, string, word.length) == 0;
}

static bool parse_switch(struct word value, void *target)
{
	bool on = equals(value, "true");

	if (!on && !equals(value, "false"))
		return false;
	*(bool *)target = on;
	return true;
}

static unsigned unit_shift(char unit)
{
	switch (unit) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	default:
		return 0;
	}
}

static bool parse_digits(struct word value, size_t *number)
{
	*number = 0;
	for (size_t i = 0; i < value.length; i++) {
		char digit = value.start[i];

		if (digit < '0' || digit > '9' || __builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (size_t)(digit - '0'), number))
			return false;
	}
	return value.length != 0;
}

static bool parse_bytes(struct word value, void *target)
{
	size_t bytes;
	unsigned shift;

	if (value.length == 0)
		return false;
	shift = unit_shift(value.start[value.length - 1]);
	if (shift != 0)
		value.length--;
	if (!parse_digits(value, &bytes) || bytes > (size_t)PTRDIFF_MAX >> shift)
		return false;
	*(size_t *)target = bytes << shift;
	return true;
}

static bool parse_choice(struct word value, const char *const choices[3], unsigned *target)
{
	for (unsigned choice = 0; choice < 3; choice++) {
		if (!equals(value, choices[choice]))
			continue;
		*target = choice;
		return true;
	}
	return false;
}

/* In the order of enum frontend_kind. */
static bool parse_frontend(struct word value, void *target)
{
	static const char *const kinds[] = {"auto", "thread", "cpu"};

	return parse_choice(value, kinds, target);
}

/* In the order of enum huge_page_policy. */
static bool parse_huge_pages(struct word value, void *target)
{
	static const char *const policies[] = {"auto", "always", "never"};

	return parse_choice(value, policies, target);
}

static bool parse_path(struct word value, char *buffer, void *target)
{
	if (value.length == 0 || value.length >= PATH_MAX)
		return false;
	memcpy(buffer, value.start, value.length);
	buffer[value.length] = '\0';
	*(const char **)target = buffer;
	return true;
}

static bool parse_record(struct word value, void *target)
{
	return parse_path(value, record, target);
}

static bool parse_trace_pages(struct word value, void *target)
{
	return parse_path(value, trace_pages, target);
}

static bool parse_signal(struct word value, void *target)
{
	size_t number;

	if (!parse_digits(value, &number) || number == 0 || number > 64 || number == SIGKILL || number == SIGSTOP)
		return false;
	*(uint64_t *)target = number;
	return true;
}

static bool parse_seconds(struct word value, void *target)
{
	size_t number;

	if (!parse_digits(value, &number) || number == 0 || number > UINT32_MAX)
		return false;
	*(uint64_t *)target = number;
	return true;
}

static bool parse_milliseconds(struct word value, void *target)
{
	size_t number;

	if (!parse_digits(value, &number) || number > MOST_MS)
		return false;
	*(uint64_t *)target = number;
	return true;
}

#define MILLISECONDS "a number of milliseconds, at most a day"
#define BYTES        "a number of bytes, or one with K, M or G"

static const struct option table[] = {
	{"stats_print", parse_switch, &options.stats_print, "true or false"},
	{"deepbind", parse_switch, &options.deepbind, "true or false"},
	{"background", parse_switch, &options.background, "true or false"},
	{"retain", parse_bytes, &options.retain, BYTES},
	{"decay_ms", parse_milliseconds, &options.decay_ms, MILLISECONDS},
	{"peak_ms", parse_milliseconds, &options.peak_ms, MILLISECONDS},
	{"trend_ms", parse_milliseconds, &options.trend_ms, MILLISECONDS},
	{"release_rate", parse_bytes, &options.release_rate, BYTES},
	{"soft_limit", parse_bytes, &options.soft_limit, BYTES},
	{"hard_limit", parse_bytes, &options.hard_limit, BYTES},
	{"thread_cache_size", parse_bytes, &options.thread_cache_size, BYTES},
	{"min_per_thread_cache", parse_bytes, &options.min_per_thread_cache, BYTES},
	{"frontend", parse_frontend, &options.frontend, "auto, thread or cpu"},
	{"cpu_cache_size", parse_bytes, &options.cpu_cache_size, BYTES},
	{"thp", parse_huge_pages, &options.thp, "auto, always or never"},
	{"record", parse_record, &options.record, "the path of a file"},
	{"record_signal", parse_signal, &options.record_signal, "the number of a signal that can be handled"},
	{"record_period", parse_seconds, &options.record_period, "a number of seconds"},
	{"trace_pages", parse_trace_pages, &options.trace_pages, "the path of a file"},
};

static void text_quoted(struct text *text, struct word word)
{
	text_string(text, "\"");
	text_bytes(text, word.start, word.length);
	text_string(text, "\"");
}

static void complain(const char *what, struct word word, const struct option *option)
{
	char buffer[256];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer) - 1};

	text_string(&text, "tiermalloc: TIERMALLOC_CONF: ");
	text_string(&text, what);
	text_quoted(&text, word);
	if (option != NULL) {
		text_string(&text, " for \"");
		text_string(&text, option->key);
		text_string(&text, "\" (allowed: ");
		text_string(&text, option->allowed);
		text_string(&text, ")");
	}
	buffer[text.length++] = '\n';
	file_write(STDERR_FILENO, buffer, text.length);
}

static const struct option *find(struct word key)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (equals(key, table[i].key))
			return &table[i];
	}
	return NULL;
}

static void apply(struct word item)
{
	const char *colon = memchr(item.start, ':', item.length);
	struct word key = {item.start, colon != NULL ? (size_t)(colon - item.start) : item.length};
	struct word value = {item.start + item.length, 0};
	const struct option *option = find(key);

	if (colon != NULL) {
		value.start = colon + 1;
		value.length = item.length - key.length - 1;
	}
	if (option == NULL)
		complain("unknown key ", key, NULL);
	else if (!option->parse(value, option->target))
		complain("bad value ", value, option);
}

void options_parse(const char *text)
{
	while (*text != '\0') {
		size_t length = strcspn(text, ",");

		if (length != 0)
			apply((struct word){text, length});
		text += length + (text[length] == ',');
	}
}

void options_read(void)
{
	const char *text = secure_getenv("TIERMALLOC_CONF");

	if (text != NULL)
		options_parse(text);
}

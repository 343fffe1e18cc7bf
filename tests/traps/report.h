/*
 * What malloc_info says, for the programs that look at figures of the allocator: which frontend serves, how much is in use,
 * and whether the figures add up.
 *
 * After the first reading none allocates. Not for several threads at a time. Relies on trap.h; C only.
 */
#ifndef TRAPS_REPORT_H
#define TRAPS_REPORT_H

#include "trap.h"

#include <malloc.h>
#include <stdbool.h>

struct report {
	char text[128 * 1024];
};

static inline void report_read(struct report *report)
{
	static FILE *stream;
	static char buffer[4096];

	if (!stream) {
		stream = fdopen(memfd_create("report", MFD_CLOEXEC), "w+");
		REQUIRE(stream, "memfd_create: %s", strerror(errno));
		setvbuf(stream, buffer, _IOFBF, sizeof buffer);
	}
	rewind(stream);
	REQUIRE(ftruncate(fileno(stream), 0) == 0, "ftruncate: %s", strerror(errno));
	REQUIRE(malloc_info(0, stream) == 0 && fflush(stream) == 0, "malloc_info: %s", strerror(errno));
	ssize_t length = pread(fileno(stream), report->text, sizeof report->text - 1, 0);
	REQUIRE(length > 0 && (size_t)length < sizeof report->text - 1, "a report of %zd bytes", length);
	report->text[length] = 0;
}

static inline const char *report_after(const struct report *report, const char *words)
{
	const char *found = strstr(report->text, words);

	REQUIRE(found, "no %s in what malloc_info says:\n%.300s", words, report->text);
	return found + strlen(words);
}

/* One of the figures in bytes, by its name there. */
static inline size_t report_bytes(const struct report *report, const char *type)
{
	char words[64];

	snprintf(words, sizeof words, "type=\"%s\" size=\"", type);
	return strtoul(report_after(report, words), NULL, 10);
}

static inline bool report_of_cpus(const struct report *report)
{
	return strncmp(report_after(report, "\" of=\""), "CPUs", 4) == 0;
}

static inline size_t report_caches(const struct report *report)
{
	return strtoul(report_after(report, "<frontend caches=\""), NULL, 10);
}

/*
 * While other threads work the figures belong to different moments: only for when they stand still. Nor in the child of a
 * fork that came in the middle of their work: pages that were on their way then belong to nobody.
 */
static inline void report_check(const struct report *report)
{
	size_t used = report_bytes(report, "in_use") + report_bytes(report, "cached") +
		      report_bytes(report, "transfer") + report_bytes(report, "central_free") +
		      report_bytes(report, "span_waste");
	size_t mapped = report_bytes(report, "pages_used") + report_bytes(report, "pages_free") +
			report_bytes(report, "pages_released");

	REQUIRE(used == report_bytes(report, "pages_used"), "the pages in use do not add up: %zu\n%s", used,
		report->text);
	REQUIRE(mapped == report_bytes(report, "pages_mapped"), "the heap does not add up: %zu\n%s", mapped,
		report->text);
	REQUIRE(report_bytes(report, "cached") <= report_bytes(report, "cache_capacity"),
		"more is cached than may be\n%s", report->text);
}

static inline size_t bytes_in_use(void)
{
	static struct report report;

	report_read(&report);
	report_check(&report);
	return report_bytes(&report, "in_use");
}

/* For programs that show nothing without the caches per CPU: the test is left out, and says so. */
static inline void require_cpus_or_skip(void)
{
	static struct report report;

	free(malloc(100));
	report_read(&report);
	if (report_of_cpus(&report))
		return;
	printf("left out: no caches per CPU here\n");
	exit(77);
}

#endif

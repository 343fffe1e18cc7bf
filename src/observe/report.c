/* Statistics as text for people, and as XML for malloc_info. */
#include <unistd.h>

#include "base/file.h"
#include "observe/recording.h"
#include "observe/statistics.h"

struct figure {
	const char *name;       /* for people */
	const char *identifier; /* in XML */
	size_t value;
};

#define FIGURES 24

struct figures {
	size_t count;
	struct figure list[FIGURES];
};

static void add(struct figures *figures, const char *name, const char *identifier, size_t value)
{
	/* One more than FIGURES says. */
	if (figures->count == FIGURES)
		__builtin_trap();
	figures->list[figures->count++] = (struct figure){name, identifier, value};
}

/* Of what has been recorded and is live: how much of the classes the program has asked for. */
static void collect_recorded(struct figures *figures)
{
	struct recording_statistics recorded;

	recording_read_statistics(&recorded);
	if (!recorded.on)
		return;
	add(figures, "recorded: requested of classes", "recorded_requested", recorded.requested);
	add(figures, "  given for it", "recorded_given", recorded.given);
	add(figures, "  left behind it by realloc", "recorded_room", recorded.room);
}

/* All figures in the order in which they add up. */
static void collect(struct figures *figures)
{
	struct statistics s;

	figures->count = 0;
	statistics_read(&s);
	add(figures, "in use", "in_use", s.in_use);
	add(figures, "  of these, large blocks", "in_use_large", s.in_use_large);
	add(figures, "in caches of threads or CPUs", "cached", s.cached);
	add(figures, "in transfer caches", "transfer", s.transfer);
	add(figures, "free in spans", "central_free", s.central_free);
	add(figures, "tails of spans", "span_waste", s.span_waste);
	add(figures, "= pages in use", "pages_used", s.pages.used);
	add(figures, "  of these, given back inside of spans", "pages_purged", s.pages.purged);
	add(figures, "free pages", "pages_free", s.pages.free);
	add(figures, "released pages", "pages_released", s.pages.released);
	add(figures, "= heap mapped", "pages_mapped", s.pages.mapped);
	add(figures, "metadata in use", "metadata_used", s.metadata.used);
	add(figures, "metadata free", "metadata_free", s.metadata.free);
	add(figures, "metadata mapped", "metadata_mapped", s.metadata.mapped + s.pages.map_bytes);
	add(figures, "counted by limits", "counted", s.pages.counted);
	add(figures, "caches may hold", "cache_capacity", s.threads.capacity);
	add(figures, "given back so far", "released_total", s.pages.released_total);
	add(figures, "kept before giving back", "kept", s.pages.release_limit);
	collect_recorded(figures);
}

static void write_class(struct text *text, unsigned class)
{
	struct class_totals totals;

	statistics_read_class(class, &totals);
	if (totals.central.spans == 0)
		return;
	text_number_padded(text, size_classes[class].size, 8);
	text_number_padded(text, totals.central.spans, 9);
	text_number_padded(text, totals.in_use, 13);
	text_number_padded(text, totals.cached, 10);
	text_number_padded(text, totals.central.transfer_free, 10);
	text_number_padded(text, totals.central.central_free, 12);
	text_string(text, "\n");
}

static void write_frontend(struct text *text)
{
	struct frontend_statistics frontend;

	frontend_read_statistics(&frontend);
	text_string(text, "caches: ");
	text_number(text, frontend.caches);
	text_string(text, ", of ");
	text_string(text, frontend.kind);
	text_string(text, "\n");
}

struct huge_page_figure {
	const char *before; /* for people */
	const char *identifier;
	uint64_t value;
};

#define HUGE_PAGE_FIGURES 4

static void collect_huge_pages(struct huge_page_figure figures[HUGE_PAGE_FIGURES])
{
	struct pageheap_statistics pages;

	pageheap_read_statistics(&pages);
	figures[0] = (struct huge_page_figure){"asked for ", "asked", pages.huge_pages.asked};
	figures[1] = (struct huge_page_figure){", found dear ", "dear", pages.huge_pages.dear};
	figures[2] = (struct huge_page_figure){", not asked for because of that ", "passed_over",
					       pages.huge_pages.passed_over};
	figures[3] = (struct huge_page_figure){", broken ", "broken", pages.huge_pages.broken};
}

static void write_huge_pages(struct text *text)
{
	struct huge_page_figure figures[HUGE_PAGE_FIGURES];

	collect_huge_pages(figures);
	text_string(text, "huge pages: ");
	for (size_t i = 0; i < HUGE_PAGE_FIGURES; i++) {
		text_string(text, figures[i].before);
		text_number(text, figures[i].value);
	}
	text_string(text, "\n");
}

static void write_huge_pages_xml(struct text *text)
{
	struct huge_page_figure figures[HUGE_PAGE_FIGURES];

	collect_huge_pages(figures);
	text_string(text, "<huge_pages");
	for (size_t i = 0; i < HUGE_PAGE_FIGURES; i++) {
		text_string(text, " ");
		text_string(text, figures[i].identifier);
		text_string(text, "=\"");
		text_number(text, figures[i].value);
		text_string(text, "\"");
	}
	text_string(text, "/>\n");
}

void statistics_write(struct text *text)
{
	struct figures figures;

	collect(&figures);
	text_string(text, "tiermalloc statistics, bytes\n");
	for (size_t i = 0; i < figures.count; i++) {
		text_number_padded(text, figures.list[i].value, 16);
		text_string(text, "  ");
		text_string(text, figures.list[i].name);
		text_string(text, "\n");
	}
	write_frontend(text);
	write_huge_pages(text);
	text_string(text, "classes, objects\n    size    spans       in use    cached  transfer     in spans\n");
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		write_class(text, class);
	text_flush(text);
}

static void write_class_xml(struct text *text, unsigned class)
{
	struct class_totals totals;

	statistics_read_class(class, &totals);
	if (totals.central.spans == 0)
		return;
	text_string(text, "<class size=\"");
	text_number(text, size_classes[class].size);
	text_string(text, "\" spans=\"");
	text_number(text, totals.central.spans);
	text_string(text, "\" in_use=\"");
	text_number(text, totals.in_use);
	text_string(text, "\" cached=\"");
	text_number(text, totals.cached);
	text_string(text, "\" transfer=\"");
	text_number(text, totals.central.transfer_free);
	text_string(text, "\" central_free=\"");
	text_number(text, totals.central.central_free);
	text_string(text, "\"/>\n");
}

void statistics_write_xml(struct text *text)
{
	struct figures figures;
	struct frontend_statistics frontend;

	collect(&figures);
	text_string(text, "<malloc version=\"1\" allocator=\"tiermalloc\">\n");
	for (size_t i = 0; i < figures.count; i++) {
		text_string(text, "<bytes type=\"");
		text_string(text, figures.list[i].identifier);
		text_string(text, "\" size=\"");
		text_number(text, figures.list[i].value);
		text_string(text, "\"/>\n");
	}
	frontend_read_statistics(&frontend);
	text_string(text, "<frontend caches=\"");
	text_number(text, frontend.caches);
	text_string(text, "\" of=\"");
	text_string(text, frontend.kind);
	text_string(text, "\"/>\n");
	write_huge_pages_xml(text);
	text_string(text, "<classes>\n");
	for (unsigned class = 1; class < CLASS_COUNT; class ++)
		write_class_xml(text, class);
	text_string(text, "</classes>\n</malloc>\n");
	text_flush(text);
}

static void flush_to_stderr(struct text *text, void *unused)
{
	(void)unused;
	file_write(STDERR_FILENO, text->buffer, text->length);
	text->length = 0;
}

void statistics_print_to_stderr(void)
{
	char buffer[1024];
	struct text text = {.buffer = buffer, .capacity = sizeof(buffer), .flush = flush_to_stderr};

	statistics_write(&text);
}

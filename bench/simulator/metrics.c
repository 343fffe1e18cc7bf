/* What is measured while a trace runs. */
#include "metrics.h"

#include <stdlib.h>
#include <time.h>

#include "account.h"
#include "drivers/histogram.h"
#include "drivers/ticks.h"

/* While less than this part of the peak is used, ratios to what is used say little: in powers of two. */
#define LEAST_SHARE_SHIFT 3
#define USED_STEPS        64

struct sample {
	uint64_t event;
	uint64_t milliseconds;
	size_t used;
	size_t resident;
	size_t occupied;
	size_t intact;
	uint64_t given_back;
	size_t mappings;
};

/* Sums over time of what the account says, in bytes times milliseconds. */
struct sums {
	double used;
	double resident;
	double occupied;
	double intact;
	double milliseconds;
};

static struct {
	uint64_t start; /* milliseconds of the clock */
	uint64_t events;
	uint64_t elsewhere; /* runs that lie elsewhere than when the trace was recorded */
	size_t peak_used;
	size_t peak_resident;
	size_t worst_excess; /* resident beyond used */
	double worst_ratio
		[USED_STEPS]; /* of resident to used bytes, by log2 of the latter: the peak is not known yet */
	double worst_occupied[USED_STEPS];
	size_t most_mappings;
	struct sums sums;

	struct sample *samples;
	size_t capacity;
	size_t count;
	uint64_t stride; /* events from one sample to the next */

	uint64_t ticks_before;
	uint64_t account_before;
	uint64_t least_call; /* ticks that measuring itself takes */
	struct histogram calls[TIMED_OPERATIONS];
	double ticks[TIMED_OPERATIONS];
	uint64_t first_ticks;
	struct timespec first_time;
} metrics;

static uint64_t measure_least_call(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 1000; i++) {
		uint64_t before = read_ticks();
		uint64_t ticks = read_ticks() - before;

		least = ticks < least ? ticks : least;
	}
	return least;
}

void metrics_begin(size_t samples)
{
	metrics.capacity = samples;
	metrics.stride = 1;
	metrics.start = account.milliseconds;
	metrics.samples = calloc(samples + 1, sizeof(*metrics.samples));
	if (metrics.samples == NULL) {
		fprintf(stderr, "simulate: out of memory\n");
		exit(1);
	}
	metrics.least_call = measure_least_call();
	metrics.first_ticks = read_ticks();
	clock_gettime(CLOCK_MONOTONIC, &metrics.first_time);
}

static struct sample present_sample(void)
{
	size_t mappings = account_mappings();

	if (mappings > metrics.most_mappings)
		metrics.most_mappings = mappings;
	return (struct sample){
		.event = metrics.events,
		.milliseconds = account.milliseconds - metrics.start,
		.used = account.used,
		.resident = account.resident,
		.occupied = account.occupied,
		.intact = account.intact,
		.given_back = account.given_back,
		.mappings = mappings,
	};
}

/* When there are too many, every other one goes. */
static void take_sample(void)
{
	if (metrics.count == metrics.capacity) {
		for (size_t i = 0; i < metrics.count / 2; i++)
			metrics.samples[i] = metrics.samples[2 * i + 1];
		metrics.count /= 2;
		metrics.stride *= 2;
	}
	if (metrics.events % metrics.stride == 0)
		metrics.samples[metrics.count++] = present_sample();
}

static void raise(double *worst, size_t bytes)
{
	double ratio = (double)bytes / (double)account.used;
	unsigned step = log2_floor(account.used);

	worst[step] = ratio > worst[step] ? ratio : worst[step];
}

/* While at least an eighth of the peak's power of two was used. */
static double worst_of(const double *worst)
{
	unsigned last = metrics.peak_used != 0 ? log2_floor(metrics.peak_used) : 0;
	double result = 0;

	for (unsigned step = last > LEAST_SHARE_SHIFT ? last - LEAST_SHARE_SHIFT : 0; step <= last; step++)
		result = worst[step] > result ? worst[step] : result;
	return result;
}

void metrics_note_event(void)
{
	metrics.events++;
	if (account.used > metrics.peak_used)
		metrics.peak_used = account.used;
	if (account.resident > metrics.peak_resident)
		metrics.peak_resident = account.resident;
	if (account.resident > account.used && account.resident - account.used > metrics.worst_excess)
		metrics.worst_excess = account.resident - account.used;
	if (account.used != 0) {
		raise(metrics.worst_ratio, account.resident);
		raise(metrics.worst_occupied, account.occupied);
	}
	if (metrics.events % metrics.stride == 0)
		take_sample();
}

void metrics_note_place(bool same)
{
	metrics.elsewhere += !same;
}

void metrics_note_time(uint64_t milliseconds)
{
	double time = (double)milliseconds;

	metrics.sums.used += time * (double)account.used;
	metrics.sums.resident += time * (double)account.resident;
	metrics.sums.occupied += time * (double)account.occupied;
	metrics.sums.intact += time * (double)account.intact;
	metrics.sums.milliseconds += time;
}

void metrics_begin_call(void)
{
	metrics.account_before = account.own_ticks;
	metrics.ticks_before = read_ticks();
}

void metrics_end_call(enum timed_operation operation)
{
	uint64_t ticks = read_ticks() - metrics.ticks_before;
	uint64_t not_its_own = account.own_ticks - metrics.account_before + metrics.least_call;

	ticks = ticks > not_its_own ? ticks - not_its_own : 0;
	histogram_add(&metrics.calls[operation], ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX);
	metrics.ticks[operation] += (double)ticks;
}

static double ns_per_tick(void)
{
	struct timespec now;
	uint64_t ticks = read_ticks() - metrics.first_ticks;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((double)(now.tv_sec - metrics.first_time.tv_sec) * 1e9 +
		(double)(now.tv_nsec - metrics.first_time.tv_nsec)) /
	       (double)ticks;
}

static void print_calls(FILE *file)
{
	static const char *const names[] = {"allocate", "allocate_long", "free", "other"};
	double scale = ns_per_tick();

	fprintf(file, "  \"own_ns\": {\n");
	for (int i = 0; i < TIMED_OPERATIONS; i++) {
		const struct histogram *calls = &metrics.calls[i];
		double count = (double)calls->total;

		fprintf(file,
			"    \"%s\": {\"count\": %.0f, \"mean\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
			"\"max\": %.1f}%s\n",
			names[i], count, count != 0 ? metrics.ticks[i] / count * scale : 0,
			histogram_quantile(calls, 0.5) * scale, histogram_quantile(calls, 0.99) * scale,
			histogram_quantile(calls, 0.999) * scale, histogram_quantile(calls, 1) * scale,
			i + 1 < TIMED_OPERATIONS ? "," : "");
	}
	fprintf(file, "  },\n");
}

static void print_state(FILE *file, const char *name, const struct sums *sums)
{
	fprintf(file, "  \"%s\": {\"used\": %.0f, \"resident\": %.0f, \"occupied\": %.0f, \"intact\": %.0f},\n", name,
		sums->used, sums->resident, sums->occupied, sums->intact);
}

static void print_samples(FILE *file)
{
	fprintf(file, "  \"series\": [");
	for (size_t i = 0; i < metrics.count; i++) {
		const struct sample *sample = &metrics.samples[i];

		fprintf(file, "%s\n    [%llu, %llu, %zu, %zu, %zu, %zu, %llu, %zu]", i == 0 ? "" : ",",
			(unsigned long long)sample->event, (unsigned long long)sample->milliseconds, sample->used,
			sample->resident, sample->occupied, sample->intact, (unsigned long long)sample->given_back,
			sample->mappings);
	}
	fprintf(file, "\n  ]\n");
}

static void print_count(FILE *file, const char *name, uint64_t count)
{
	fprintf(file, "  \"%s\": %llu,\n", name, (unsigned long long)count);
}

void metrics_print(FILE *file, const char *heap)
{
	const struct sums end = {(double)account.used, (double)account.resident, (double)account.occupied,
				 (double)account.intact, 1};
	double time = metrics.sums.milliseconds;
	const struct sums average = {metrics.sums.used / time, metrics.sums.resident / time,
				     metrics.sums.occupied / time, metrics.sums.intact / time, 1};

	metrics.samples[metrics.count++] = present_sample();
	fprintf(file, "{\n  \"format\": 1,\n  \"heap\": \"%s\",\n", heap);
	print_count(file, "events", metrics.events);
	print_count(file, "elsewhere", metrics.elsewhere);
	fprintf(file, "  \"milliseconds\": %.0f,\n", time);
	print_count(file, "peak_used", metrics.peak_used);
	print_count(file, "peak_resident", metrics.peak_resident);
	/* A trace in which no time passes is as it ends. */
	print_state(file, "average", time != 0 ? &average : &end);
	print_state(file, "end", &end);
	print_count(file, "worst_excess", metrics.worst_excess);
	fprintf(file, "  \"worst_ratio\": %.4f,\n  \"worst_occupied_ratio\": %.4f,\n", worst_of(metrics.worst_ratio),
		worst_of(metrics.worst_occupied));
	print_count(file, "given_back", account.given_back);
	print_count(file, "faults", account.faults);
	print_count(file, "faulted", account.faulted);
	print_count(file, "populated", account.populated);
	print_count(file, "faulted_again", account.faulted_again);
	print_count(file, "huge_at_end", account.huge);
	print_count(file, "system_ns", account.system_ns);
	print_count(file, "calls_map", account.calls[OS_MAP]);
	print_count(file, "calls_unmap", account.calls[OS_UNMAP]);
	print_count(file, "calls_release", account.calls[OS_RELEASE]);
	print_count(file, "calls_populate", account.calls[OS_POPULATE]);
	print_count(file, "calls_move", account.calls[OS_MOVE]);
	print_count(file, "calls_advise", account.calls[OS_ADVISE]);
	print_count(file, "mappings_at_most", metrics.most_mappings);
	print_calls(file);
	print_samples(file);
	fprintf(file, "}\n");
}

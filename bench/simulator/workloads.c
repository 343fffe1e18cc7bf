/* The workloads. What each is like is said in the table at the end, in the words of docs/simulator.md. */
#include "workloads.h"

#include <math.h>

/* Requests: most of what they take goes with them, some stays for a second, a little for much longer; the load swings. */
static void run_server(void)
{
	struct lives *lives = lives_new();
	uint64_t end = workload_time + 90 * SECOND;

	while (workload_time < end) {
		uint64_t phase = workload_time / SECOND % 20;
		uint64_t load = phase < 10 ? 3 + phase : 23 - phase; /* 3 to 13, up and down */
		double fate = random_share();
		uint64_t mean = fate < 0.92 ? MILLISECOND : fate < 0.97 ? SECOND : 40 * SECOND;

		lives_add(lives, random_long_tail(64, 1 * MIB), random_exponential(mean));
		lives_end(lives);
		pass((uint64_t)((double)(26 * MICROSECOND / load) / workload_scale));
	}
}

/* A key with its value, and the record of both. */
static void add_key(struct lives *lives, uint64_t life)
{
	lives_add(lives, 48, life);
	lives_add(lives, random_size(24, 72), life);
	lives_add(lives, random_long_tail(64, 16 * KIB), life);
}

static void run_expire(void)
{
	struct lives *lives = lives_new();
	uint64_t interval = 16 * SECOND / scaled(800000);

	for (size_t i = 0; i < scaled(800000); i++) {
		uint64_t life = 10 * SECOND + random_below(50 * SECOND);

		add_key(lives, random_share() < 0.02 ? 1000 * SECOND : life);
		block_free(block_allocate(16 * KIB));
		lives_end(lives);
		pass(interval);
	}
	for (int i = 0; i < 60; i++) {
		for (int tenth = 0; tenth < 10; tenth++) {
			light_activity(SECOND / 10);
			lives_end(lives);
		}
	}
}

static void fill(struct blocks *blocks, size_t bytes, size_t smallest, size_t largest, uint64_t nanoseconds)
{
	size_t count = bytes / ((smallest + largest) / 2);

	for (size_t i = 0; i < count; i++) {
		blocks_add(blocks, random_size(smallest, largest));
		pass(nanoseconds / count);
	}
}

static void run_phases(void)
{
	static const size_t sizes[][2] = {{64, 512}, {1 * KIB, 8 * KIB}, {64 * KIB, 1 * MIB}};
	struct blocks blocks = {0};

	for (int phase = 0; phase < 3; phase++) {
		fill(&blocks, scaled(600 * MIB), sizes[phase][0], sizes[phase][1], 6 * SECOND);
		light_activity(10 * SECOND);
		blocks_free_down_to(&blocks, blocks.count / 10, 3 * SECOND / blocks.count);
		light_activity(10 * SECOND);
	}
}

static void run_peak(void)
{
	struct blocks blocks = {0};

	for (size_t bytes = 0; bytes < scaled(419 * MIB);) {
		size_t size = random_long_tail(16, 8 * KIB);

		blocks_add(&blocks, size);
		bytes += size;
		pass(100);
	}
	blocks_free_down_to(&blocks, 0, 50);
}

/* After a peak everything is freed but one block in a hundred. */
static void leave_residue(size_t smallest, size_t largest)
{
	struct blocks blocks = {0};

	fill(&blocks, scaled(1 * GIB), smallest, largest, 2 * SECOND);
	blocks_free_down_to(&blocks, blocks.count / 100, SECOND / blocks.count);
	light_activity(10 * SECOND);
}

static void run_residue_small(void)
{
	leave_residue(16, 1 * KIB);
}

static void run_residue_100k(void)
{
	leave_residue(90 * KIB, 110 * KIB);
}

static void run_residue_3m(void)
{
	leave_residue(5 * MIB / 2, 7 * MIB / 2);
}

static void run_churn(void)
{
	struct blocks blocks = {0};

	for (int round = 0; round < 50; round++) {
		fill(&blocks, scaled(100 * MIB), 256, 4 * KIB, 60 * MILLISECOND);
		blocks_free_down_to(&blocks, 0, 40 * MILLISECOND / blocks.count);
	}
}

/* Sizes with a long tail. */
struct mixture {
	size_t smallest;
	size_t largest;
	uint64_t interval; /* between two steps */
};

static void add_of(struct blocks *blocks, const struct mixture *mixture)
{
	blocks_add(blocks, random_long_tail(mixture->smallest, mixture->largest));
	pass(mixture->interval);
}

/* As many as have so many bytes together on the average. */
static size_t fill_with(struct blocks *blocks, const struct mixture *mixture, size_t bytes)
{
	double mean = (double)mixture->smallest * log((double)mixture->largest / (double)mixture->smallest);
	size_t count = (size_t)((double)bytes / mean);

	while (blocks->count < count)
		add_of(blocks, mixture);
	return count;
}

static void replace_at_random(struct blocks *blocks, const struct mixture *mixture, size_t steps)
{
	for (size_t i = 0; i < steps; i++) {
		blocks_free_random(blocks);
		add_of(blocks, mixture);
	}
}

static void run_steady(void)
{
	const struct mixture mixture = {2 * KIB, 1 * MIB, 5 * MICROSECOND};
	struct blocks blocks = {0};

	fill_with(&blocks, &mixture, scaled(512 * MIB));
	replace_at_random(&blocks, &mixture, scaled(4000000));
}

static void run_huge(void)
{
	const struct mixture mixture = {4 * KIB, 64 * MIB, 10 * MICROSECOND};
	struct blocks blocks = {0};

	for (int swing = 0; swing < 3; swing++) {
		size_t count = fill_with(&blocks, &mixture, scaled(100 * GIB));

		replace_at_random(&blocks, &mixture, count / 2);
		blocks_free_down_to(&blocks, count / 10 * 6, mixture.interval);
	}
}

/* Vectors that grow, several at a time, among blocks that come and go. */
static void run_vectors(void)
{
	struct lives *lives = lives_new();
	void *vectors[8] = {NULL};
	size_t sizes[8] = {0};

	for (size_t step = 0; step < scaled(200000); step++) {
		size_t chosen = random_below(8);

		sizes[chosen] += sizes[chosen] / 8 + 4 * KIB;
		if (sizes[chosen] > 64 * MIB) {
			block_free(vectors[chosen]);
			vectors[chosen] = NULL;
			sizes[chosen] = 4 * KIB;
		}
		vectors[chosen] = block_resize(vectors[chosen], sizes[chosen]);
		for (int i = 0; i < 10; i++)
			lives_add(lives, random_long_tail(32, 128 * KIB), random_exponential(100 * MILLISECOND));
		pass(100 * MICROSECOND);
		lives_end(lives);
	}
}

const struct workload workloads[] = {
	{"server", "requests of random sizes and lifetimes, under a load that swings", run_server},
	{"expire", "a cache fills with 800,000 keys and values, which then expire", run_expire},
	{"phases", "grows to 600 MiB and shrinks to a tenth, three times, with other sizes each time", run_phases},
	{"peak", "419 MiB of small objects are freed, all of them, in random order", run_peak},
	{"residue-small", "1 GiB of small objects is freed but for 1 % at random, then 10 s of light activity",
	 run_residue_small},
	{"residue-100k", "the same with 100 KiB each", run_residue_100k},
	{"residue-3m", "the same with 3 MiB each", run_residue_3m},
	{"churn", "the same 100 MiB are taken and freed 50 times in 5 s", run_churn},
	{"steady", "512 MiB, in which objects of 2 KiB to 1 MiB are replaced at random", run_steady},
	{"vectors", "vectors grow by realloc to 64 MiB among objects that come and go", run_vectors},
	{"huge",
	 "100 GiB in objects of 4 KiB to 64 MiB, replaced at random; shrinks by 40 % and grows again, three times",
	 run_huge},
	{0},
};

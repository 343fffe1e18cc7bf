/*
 * The policy for transparent huge pages.
 *
 * A huge page makes 2 MiB resident in a quarter of the time that small pages take, and saves misses of the TLB. But it
 * is all resident, whatever is written to; and it may be dear: a virtual machine that reports its free memory to the
 * host gets it back at 2 to 5 ms for 2 MiB, while single pages still come from the kernel's lists of warm ones. So
 *
 * - small heaps are left alone;
 * - a hugepage of the filler is asked for only if what lies in such hugepages is written to, all of it: now and then
 *   one is left to small pages, and when two others have been begun after it, it is looked at (mincore);
 * - a run of hugepages is asked for unless it should read zero (who asks for that is likely to use a part of it) or is
 *   about to be moved to; what a run gains by growing is, if the run is long;
 * - the first touch is made here and timed (processor time of the thread). What that saves against small pages, as they
 *   lately were, is kept as a balance, and so is what it costs beyond them. While the balance is below zero hugepages are
 *   left to small pages, and each of these pays a small part of the debt: so what is lost stays a small part of the
 *   whole. Of a run a few hugepages are touched, and only if nothing has been measured for a second; others are asked
 *   for in proportion to those that have been cheap;
 * - a hugepage of which a part is given back is not to be a huge page again before it is wholly free: the kernel's
 *   khugepaged would fill it up.
 *
 * Hugepages that are advised differently are different mappings for the kernel, of which a process may have 65530. So
 * the borders between them are counted and limited.
 *
 * Collapsing (MADV_COLLAPSE) what has been filled by small pages was measured and left out: docs/huge-pages.md.
 */
#include "pageheap/huge_pages.h"

#include "base/os.h"
#include "pageheap/limits.h"

/*
 * Nothing is asked for while less is in use. With 32 MiB here Python, Lua and SQLite with 40 to 49 MiB took 1 MiB more (up to
 * 3 %) and were not faster.
 */
#define LEAST_USED ((size_t)64 << 20 >> PAGE_SHIFT)

/* From here on it is looked at how hugepages fill, to know it by LEAST_USED. */
#define LEAST_WATCHED (LEAST_USED / 2)

/* A hugepage counts as well filled with so much of it resident: objects at the ends of spans may not be in use yet. */
#define WELL_FILLED (HUGEPAGE_SIZE / 8 * 7)

/* Of so many hugepages that would be asked for one is left to small pages, to see whether they still fill. */
#define TRIAL_PERIOD 16

/* A run that has grown to so many hugepages is likely to be written to where it grows. */
#define LEAST_GROWN ((size_t)16 * HUGEPAGE_PAGES)

/* What 2 MiB of small pages cost, until it has been measured. */
#define USUAL_SMALL_NS 700000

/*
 * A hugepage that is left to small pages pays this part of what they cost: no more than that is lost. A cold huge page
 * (4.5 ms instead of 0.7) is paid by 174.
 */
#define PAID_PART 32

/* At most so much is saved for dear ones, in hugepages of small pages: two cold ones. */
#define MOST_SAVED 12

/* Of a run, one hugepage in so many is touched to measure, at most MOST_SAMPLES. */
#define SAMPLE_PART  64
#define MOST_SAMPLES 8

/*
 * For each one that was cheap so many hugepages of runs are asked for unmeasured. A few warm ones say little about
 * others: a block of 1 GiB of which 8 were touched and all were warm took 2.26 s instead of 0.51.
 */
#define TRUSTED    2
#define MOST_TRUST 4096

/* A measurement serves for runs for so long: free memory is reported to the host after two seconds. */
#define MEASURED_FOR_MS 1000

/* Borders between hugepages of different advice: asking ends here; breaking goes on for a while (extend_to_border). */
#define MOST_BORDERS 128

/* Hugepages of one kind of the filler. */
struct filling {
	size_t begun[2]; /* the last ones: number + 1 where they are left to small pages, or 0; the newest first */
	unsigned asked;  /* since one was left to small pages */
	bool well;       /* whether they fill; atomic */
};

static struct {
	enum huge_page_policy policy;
	enum os_huge_pages kernel; /* NEVER until the options are read */
	bool unknown;              /* the kernel has refused: atomic */
	size_t borders;
	struct filling fillings[PAGE_KINDS];
	int64_t balance;      /* nanoseconds that huge pages have saved */
	size_t trust;         /* hugepages that may be asked for unmeasured */
	uint64_t measured_at; /* milliseconds; 0: never */
	uint64_t small_ns;    /* for 2 MiB; atomic */
	uint64_t asked;       /* hugepages, as the others */
	uint64_t passed_over;
	uint64_t dear;
	uint64_t broken;
} huge = {.small_ns = USUAL_SMALL_NS};

/* Also without the lock, for a hugepage in use. */
static enum huge_page_advice advice_of(size_t number)
{
	if (number >= load_relaxed(&heap.top))
		return ADVICE_NONE;
	return (enum huge_page_advice)load_relaxed(&hugepage_records[number].advice);
}

/* Whether this hugepage and the one below it are different mappings. */
static size_t is_border(size_t number)
{
	return advice_of(number) != (number == 0 ? ADVICE_NONE : advice_of(number - 1));
}

static void set_advice(size_t first, size_t count, enum huge_page_advice advice)
{
	for (size_t number = first; number < first + count; number++) {
		huge.borders -= is_border(number) + is_border(number + 1);
		store_relaxed(&hugepage_records[number].advice, (uint8_t)advice);
		huge.borders += is_border(number) + is_border(number + 1);
	}
}

/* Asking must leave room for the two borders of a break. */
static bool may_ask(size_t first, size_t count)
{
	/* All of the last one counts as backed. */
	if (load_relaxed(&huge.unknown) || limits_room() < HUGEPAGE_PAGES)
		return false;
	return huge.borders + 2 <= MOST_BORDERS || advice_of(first + count) == ADVICE_HUGE ||
	       (first != 0 && advice_of(first - 1) == ADVICE_HUGE);
}

static void plan(struct huge_page_work *work, size_t first, size_t count, bool ask)
{
	set_advice(first, count, ask ? ADVICE_HUGE : ADVICE_SMALL);
	work->first = first;
	work->count = count;
	work->huge = ask;
	if (ask)
		huge.asked += count;
}

/* Leaves hugepages to small pages. Only what has been asked for before has to be told to the kernel. */
static void plan_small(struct huge_page_work *work, size_t first, size_t count)
{
	for (size_t number = first; number < first + count; number++) {
		if (advice_of(number) == ADVICE_HUGE) {
			plan(work, first, count, false);
			return;
		}
	}
}

/* Whether so many hugepages are to be left to small pages because huge ones have been dear; they pay for that. */
static bool passes_over(size_t count)
{
	if (huge.balance >= 0)
		return false;
	huge.balance += (int64_t)(load_relaxed(&huge.small_ns) / PAID_PART * count);
	huge.passed_over += count;
	return true;
}

/* All free pages of a hugepage count as backed. */
static void note_backed(size_t number)
{
	struct hugepage *hugepage = &hugepage_records[number];
	size_t pages = hugepage->released_count;

	if (pages == 0)
		return;
	bits_clear_range(hugepage->released, 0, HUGEPAGE_PAGES);
	hugepage->released_count = 0;
	heap.released -= pages;
	filler_update(number);
}

/* Whether hugepages like this are worth asking for; now and then not, to see whether they still are. */
static bool fills_well(struct filling *filling)
{
	if (!load_relaxed(&filling->well))
		return false;
	filling->asked++;
	if (filling->asked < TRIAL_PERIOD)
		return true;
	filling->asked = 0;
	return false;
}

/* A hugepage has been begun by the filler. */
static void choose_begun(size_t number, enum page_kind kind, struct huge_page_work *work)
{
	struct filling *filling = &huge.fillings[kind];
	bool ask = heap.used >= LEAST_USED && may_ask(number, 1) && fills_well(filling) && !passes_over(1);

	work->trial = filling->begun[1];
	work->kind = kind;
	filling->begun[1] = filling->begun[0];
	filling->begun[0] = ask ? 0 : number + 1;
	if (ask) {
		plan(work, number, 1, true);
		work->samples = 1;
		note_backed(number);
	} else {
		plan_small(work, number, 1);
	}
}

/* As many of them as may be asked for unmeasured. Others keep what they were advised before, which is rare. */
static void plan_trusted(struct huge_page_work *work, size_t first, size_t count)
{
	size_t trusted = minimum(count, huge.trust);

	huge.trust -= trusted;
	huge.passed_over += count - trusted;
	if (trusted != 0)
		plan(work, first, trusted, true);
	else
		plan_small(work, first, count);
}

/* Whole hugepages have become part of a run. */
static void choose_whole(size_t first, size_t count, bool ask, struct huge_page_work *work)
{
	if (count == 0)
		return;
	if (!ask || heap.used < LEAST_USED || !may_ask(first, count)) {
		plan_small(work, first, count);
	} else if (huge.measured_at == 0 || os_milliseconds() - huge.measured_at >= MEASURED_FOR_MS) {
		work->samples = minimum(maximum(count / SAMPLE_PART, 1), MOST_SAMPLES);
		plan(work, first, work->samples, true);
		work->rest = count - work->samples;
	} else if (passes_over(count)) {
		plan_small(work, first, count);
	} else {
		plan_trusted(work, first, count);
	}
}

/* Where nothing is measured: every fresh hugepage is advised in the same way. */
static void choose_all(size_t first, size_t end, bool ask, struct huge_page_work *work)
{
	if (ask && !may_ask(first, end - first))
		return;
	plan(work, first, end - first, ask);
	if (ask)
		note_backed(end - 1);
}

static size_t hugepage_up(size_t page)
{
	return (page + HUGEPAGE_PAGES - 1) / HUGEPAGE_PAGES;
}

/* What holds for all kinds of runs: true if all has been said. */
static bool choose_by_policy(size_t first, size_t end, struct huge_page_work *work)
{
	bool always = huge.kernel == OS_HUGE_ALWAYS;

	if (huge.policy == HUGE_PAGES_ALWAYS || (huge.policy == HUGE_PAGES_NEVER && always))
		choose_all(first, end, huge.policy == HUGE_PAGES_ALWAYS, work);
	else if (always && advice_of(first) == ADVICE_SMALL && may_ask(first, end - first))
		/* It had been broken, and is whole again: as the others. */
		plan(work, first, end - first, true);
	return huge.policy != HUGE_PAGES_AUTO || always;
}

void huge_pages_choose(size_t page, const struct page_request *request, bool fresh, struct huge_page_work *work)
{
	bool within = request->pages < HUGEPAGE_PAGES;
	size_t first = within ? page / HUGEPAGE_PAGES : hugepage_up(page);
	size_t end = hugepage_up(page + request->pages);
	const struct hugepage *last = &hugepage_records[end - 1];
	bool begun;

	*work = (struct huge_page_work){0};
	if (!fresh || huge.kernel == OS_HUGE_NEVER || end <= first)
		return;
	/* The last hugepage, for a short run the only one, holds nothing else. */
	begun = last->used_count == (page + request->pages) - maximum(page, (end - 1) * HUGEPAGE_PAGES) &&
		last->used_count + last->released_count == HUGEPAGE_PAGES;
	if (!begun || (heap.used < LEAST_WATCHED && huge.policy == HUGE_PAGES_AUTO && huge.kernel != OS_HUGE_ALWAYS))
		return;
	if (choose_by_policy(first, end, work))
		return;
	if (end - first == 1 && request->pages < HUGEPAGE_PAGES)
		choose_begun(first, request->kind, work);
	else
		choose_whole(first, (page + request->pages) / HUGEPAGE_PAGES - first,
			     !request->zeroed && !request->growing, work);
}

void huge_pages_choose_grown(size_t page, size_t count, size_t pages, bool fresh, struct huge_page_work *work)
{
	size_t first = hugepage_up(page);
	size_t end = (page + count) / HUGEPAGE_PAGES;

	*work = (struct huge_page_work){0};
	if (!fresh || huge.kernel == OS_HUGE_NEVER || end <= first || choose_by_policy(first, end, work))
		return;
	choose_whole(first, end - first, pages >= LEAST_GROWN, work);
}

static uintptr_t address_of(size_t number)
{
	return page_address(number * HUGEPAGE_PAGES);
}

static bool advise(size_t first, size_t count, bool ask)
{
	bool done = os_advise_huge(address_of(first), count << HUGEPAGE_SHIFT, ask) == OS_DONE;

	if (!done && ask)
		store_relaxed(&huge.unknown, true);
	return done;
}

/* Makes one resident, and notes what it has cost. Returns whether more of them are wanted. */
static bool measure(size_t number)
{
	uint64_t began = os_thread_nanoseconds();
	int64_t cost;
	int64_t small;
	bool wanted;

	os_populate(address_of(number), HUGEPAGE_SIZE);
	cost = (int64_t)(os_thread_nanoseconds() - began);
	small = (int64_t)load_relaxed(&huge.small_ns);
	lock_acquire(&heap.lock);
	huge.measured_at = os_milliseconds();
	huge.dear += cost > small;
	huge.trust = cost > small ? 0 : minimum(huge.trust + TRUSTED, MOST_TRUST);
	huge.balance += small - cost;
	if (huge.balance > MOST_SAVED * small)
		huge.balance = MOST_SAVED * small;
	/* Another thread may have broken it before it was asked for. */
	if (advice_of(number) != ADVICE_HUGE)
		os_advise_huge(address_of(number), HUGEPAGE_SIZE, false);
	wanted = huge.balance >= 0;
	lock_release(&heap.lock);
	return wanted;
}

/* The hugepages of a run behind those that have been measured. */
static void finish_run(size_t first, size_t count, bool ask)
{
	struct huge_page_work work = {0};

	lock_acquire(&heap.lock);
	if (ask)
		plan_trusted(&work, first, count);
	else
		plan_small(&work, first, count);
	lock_release(&heap.lock);
	if (work.count != 0)
		advise(work.first, work.count, work.huge);
}

static void measure_samples(const struct huge_page_work *work)
{
	size_t end = work->first + work->count + work->rest;
	size_t number = work->first;
	bool wanted = true;

	while (wanted && number < work->first + work->samples)
		wanted = measure(number++);
	if (number < end)
		finish_run(number, end - number, wanted);
}

/*
 * A full hugepage of small pages is advised like its neighbours, to be one mapping with them; it stays as it is unless
 * khugepaged joins it. Under the lock, so that nobody breaks or unmaps it meanwhile; there are few.
 */
static void join_neighbours(size_t number)
{
	const struct hugepage *hugepage = &hugepage_records[number];

	lock_acquire(&heap.lock);
	if (number != 0 && advice_of(number - 1) == ADVICE_HUGE && advice_of(number + 1) == ADVICE_HUGE &&
	    hugepage->state == HUGEPAGE_MAPPED && hugepage->used_count != 0 && hugepage->released_count == 0 &&
	    advise(number, 1, true))
		set_advice(number, 1, ADVICE_HUGE);
	lock_release(&heap.lock);
}

void huge_pages_perform(const struct huge_page_work *work)
{
	bool done = work->count != 0 && advise(work->first, work->count, work->huge);

	if (done && work->samples != 0)
		measure_samples(work);
	if (work->trial != 0) {
		bool well = os_resident(address_of(work->trial - 1), HUGEPAGE_SIZE) >= WELL_FILLED;

		store_relaxed(&huge.fillings[work->kind].well, well);
		if (well)
			join_neighbours(work->trial - 1);
	}
}

bool huge_pages_may_be(size_t number)
{
	return hugepage_records[number].state == HUGEPAGE_MAPPED &&
	       (advice_of(number) == ADVICE_HUGE ||
		(advice_of(number) == ADVICE_NONE && huge.kernel == OS_HUGE_ALWAYS));
}

/*
 * Where there are too many borders, all up to the nearest border is left to small pages: that makes no new one. What is a
 * huge page there stays one.
 */
static size_t extend_to_border(size_t number, size_t *count)
{
	size_t low = number;
	size_t high = number + 1;

	if (huge.borders < MOST_BORDERS)
		return number;
	while (low > 0 && high < heap.top && huge_pages_may_be(low - 1) && huge_pages_may_be(high)) {
		low--;
		high++;
	}
	if (low == 0 || !huge_pages_may_be(low - 1)) {
		*count = number + 1 - low;
		return low;
	}
	*count = high - number;
	return number;
}

size_t huge_pages_plan_break(size_t number, size_t *first)
{
	size_t count = 1;

	if (huge.kernel == OS_HUGE_NEVER || !huge_pages_may_be(number))
		return 0;
	*first = extend_to_border(number, &count);
	huge.broken++;
	set_advice(*first, count, ADVICE_SMALL);
	return count;
}

void huge_pages_perform_break(size_t first, size_t count)
{
	if (count != 0)
		os_advise_huge(address_of(first), count << HUGEPAGE_SHIFT, false);
}

void huge_pages_break(size_t number)
{
	size_t first;
	size_t count = huge_pages_plan_break(number, &first);

	huge_pages_perform_break(first, count);
}

void huge_pages_forget(size_t number)
{
	set_advice(number, 1, ADVICE_NONE);
}

void huge_pages_moved(size_t from, size_t to, size_t pages)
{
	if (from % HUGEPAGE_PAGES != 0 || to % HUGEPAGE_PAGES != 0)
		return;
	for (size_t at = 0; at < pages / HUGEPAGE_PAGES; at++)
		set_advice(to / HUGEPAGE_PAGES + at, 1, advice_of(from / HUGEPAGE_PAGES + at));
}

void huge_pages_note_small(uint64_t nanoseconds, size_t bytes)
{
	uint64_t mean = load_relaxed(&huge.small_ns);
	uint64_t whole = nanoseconds * (HUGEPAGE_SIZE / bytes);

	/* The mean of the last sixteen, more or less. */
	store_relaxed(&huge.small_ns, mean - mean / 16 + whole / 16);
}

static void forget_measurements(void)
{
	for (unsigned kind = 0; kind < PAGE_KINDS; kind++)
		huge.fillings[kind] = (struct filling){0};
	store_relaxed(&huge.unknown, false);
	store_relaxed(&huge.small_ns, USUAL_SMALL_NS);
	huge.balance = 0;
	huge.trust = 0;
	huge.measured_at = 0;
}

void pageheap_set_huge_pages(enum huge_page_policy policy, enum os_huge_pages kernel)
{
	lock_acquire(&heap.lock);
	huge.policy = policy;
	huge.kernel = kernel;
	forget_measurements();
	/* The first hugepage may be in use already. */
	if (policy == HUGE_PAGES_NEVER && kernel == OS_HUGE_ALWAYS) {
		for (size_t number = 0; number < heap.top; number++)
			huge_pages_break(number);
	}
	lock_release(&heap.lock);
}

void huge_pages_read_statistics(struct huge_page_statistics *statistics)
{
	*statistics = (struct huge_page_statistics){
		.asked = huge.asked,
		.passed_over = huge.passed_over,
		.dear = huge.dear,
		.broken = huge.broken,
	};
}

bool huge_pages_count_is_right(void)
{
	size_t borders = 0;

	for (size_t number = 0; number <= heap.top; number++)
		borders += is_border(number);
	return borders == huge.borders;
}

/*
 * What is left when the demand for small objects has gone: a cache's few objects, freed at random, hold one span each.
 *
 * A thread or CPU that comes with a full stack, or looks at one that is not used any more, is told to give it up if that
 * lets spans go: the class is sparse, the stack's objects are a part of those that still are out, and the sparse spans of
 * all classes are more than the page heap would keep if they were free. That leaves a program alone whose demand swings: it
 * takes again what has gone, which the page heap sees as a swing of the demand, and then would keep it.
 *
 * No lock: all is of a moment, and a wrong answer costs one refill.
 */
#include "central/central.h"
#include "central/free_list.h"
#include "central/transfer_cache.h"
#include "pageheap/pageheap.h"

/* A class is sparse if no more than one object in so many is out. */
#define SPARSE_SHARE 8

/* A stack counts that holds, with the transfer cache, one in so many of the objects that are out: each thread has a part. */
#define HELD_SHARE 16

/* Asked again when one in so many of the objects that are elsewhere have come back. */
#define STEP_SHARE 4

/* Less is not worth the refills that follow. */
#define LEAST_PAGES (((size_t)64 << 10) >> PAGE_SHIFT)

struct level {
	size_t objects; /* in all spans */
	size_t out;     /* of them not free in a span: the program's, or in caches */
	size_t pages;
};

static struct level level_of(unsigned class)
{
	const struct free_list *list = &free_lists[class];
	size_t spans = load_relaxed(&list->spans);
	size_t objects = spans * size_classes[class].objects;

	return (struct level){objects, objects - minimum(load_relaxed(&list->free), objects),
			      spans * size_classes[class].pages};
}

static bool is_sparse(const struct level *level)
{
	return level->out * SPARSE_SHARE <= level->objects;
}

static size_t sparse_pages(void)
{
	size_t pages = 0;

	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		struct level level;

		if (load_relaxed(&free_lists[class].spans) == 0)
			continue;
		level = level_of(class);
		if (is_sparse(&level))
			pages += level.pages;
	}
	return pages;
}

bool central_wants_back(unsigned class, size_t held)
{
	struct level level = level_of(class);
	size_t mark = load_relaxed(&free_lists[class].mark);
	size_t idle = held + transfer_count(class);
	size_t elsewhere = level.out - minimum(idle, level.out);

	/* The most likely first: since the mark was set no more have come back than a little. */
	if (elsewhere + elsewhere / STEP_SHARE >= mark || idle * HELD_SHARE < level.out || !is_sparse(&level) ||
	    level.pages < LEAST_PAGES)
		return false;
	store_relaxed(&free_lists[class].mark, elsewhere);
	return !pageheap_would_keep(sparse_pages());
}

/* A set of free extents. */
#include "extents.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct extent_node {
	struct extent extent;
	size_t longest; /* count of the longest extent in this subtree */
	uint64_t priority;
	struct extent_node *children[2];
};

static struct extent_node *unused_nodes;

static uint64_t next_priority(void)
{
	static uint64_t state = 1;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static struct extent_node *make_node(struct extent extent)
{
	struct extent_node *node = unused_nodes;

	if (node != NULL)
		unused_nodes = node->children[0];
	else
		node = malloc(sizeof(*node));
	if (node == NULL) {
		fprintf(stderr, "simulate: out of memory\n");
		exit(1);
	}
	*node = (struct extent_node){.extent = extent, .longest = extent.count, .priority = next_priority()};
	return node;
}

static size_t longest_of(const struct extent_node *node)
{
	return node != NULL ? node->longest : 0;
}

static void update(struct extent_node *node)
{
	size_t left = longest_of(node->children[0]);
	size_t right = longest_of(node->children[1]);

	node->longest = node->extent.count;
	node->longest = left > node->longest ? left : node->longest;
	node->longest = right > node->longest ? right : node->longest;
}

static bool comes_before(enum extent_order order, struct extent a, struct extent b)
{
	if (order == BY_LENGTH && a.count != b.count)
		return a.count < b.count;
	return a.first < b.first;
}

/* Splits a tree into what comes before the extent and the rest. */
static void split(enum extent_order order, struct extent_node *tree, struct extent at, struct extent_node *halves[2])
{
	if (tree == NULL) {
		halves[0] = halves[1] = NULL;
	} else if (comes_before(order, tree->extent, at)) {
		struct extent_node *rest[2];

		split(order, tree->children[1], at, rest);
		tree->children[1] = rest[0];
		update(tree);
		halves[0] = tree;
		halves[1] = rest[1];
	} else {
		struct extent_node *rest[2];

		split(order, tree->children[0], at, rest);
		tree->children[0] = rest[1];
		update(tree);
		halves[0] = rest[0];
		halves[1] = tree;
	}
}

/* All of `low` comes before all of `high`. */
static struct extent_node *join(struct extent_node *low, struct extent_node *high)
{
	if (low == NULL || high == NULL)
		return low != NULL ? low : high;
	if (low->priority > high->priority) {
		low->children[1] = join(low->children[1], high);
		update(low);
		return low;
	}
	high->children[0] = join(low, high->children[0]);
	update(high);
	return high;
}

void extents_insert(struct extents *extents, struct extent extent)
{
	struct extent_node *halves[2];

	split(extents->order, extents->root, extent, halves);
	extents->root = join(join(halves[0], make_node(extent)), halves[1]);
}

static struct extent_node *remove_from(enum extent_order order, struct extent_node *tree, struct extent extent)
{
	if (tree->extent.first == extent.first) {
		struct extent_node *rest = join(tree->children[0], tree->children[1]);

		tree->children[0] = unused_nodes;
		unused_nodes = tree;
		return rest;
	}
	bool right = comes_before(order, tree->extent, extent);
	tree->children[right] = remove_from(order, tree->children[right], extent);
	update(tree);
	return tree;
}

void extents_remove(struct extents *extents, struct extent extent)
{
	extents->root = remove_from(extents->order, extents->root, extent);
}

struct extent extents_find(const struct extents *extents, size_t count)
{
	const struct extent_node *node = extents->root;

	if (longest_of(node) < count)
		return (struct extent){0, 0};
	for (;;) {
		if (longest_of(node->children[0]) >= count)
			node = node->children[0];
		else if (node->extent.count >= count)
			return node->extent;
		else
			node = node->children[1];
	}
}

struct extent extents_at_or_below(const struct extents *extents, size_t page)
{
	const struct extent_node *node = extents->root;
	struct extent found = {0, 0};

	while (node != NULL) {
		if (node->extent.first <= page) {
			found = node->extent;
			node = node->children[1];
		} else {
			node = node->children[0];
		}
	}
	return found;
}

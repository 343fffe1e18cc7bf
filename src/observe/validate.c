/* The whole-heap validator. */
#include "observe/validate.h"

#include "observe/statistics.h"

static const char *check_classes(void)
{
	for (unsigned class = 1; class < CLASS_COUNT; class ++) {
		struct class_totals totals;

		statistics_read_class(class, &totals);
		if (totals.cached + totals.central.transfer_free + totals.central.central_free > totals.central.objects)
			return "more objects of a class are free than there are";
	}
	return NULL;
}

static const char *check_sums(void)
{
	struct statistics s;

	statistics_read(&s);
	if (s.pages.used != s.in_use + s.cached + s.transfer + s.central_free + s.span_waste)
		return "the pages in use do not add up";
	if (s.pages.purged != s.purged)
		return "the pages given back inside of spans do not add up";
	if (s.pages.mapped != s.pages.used + s.pages.free + s.pages.released)
		return "the mapped pages do not add up";
	return NULL;
}

const char *heap_validate(void)
{
	const char *(*const checks[])(void) = {frontend_validate, central_validate, pageheap_validate, check_classes,
					       check_sums};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const char *wrong = checks[i]();

		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

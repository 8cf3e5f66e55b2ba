/*
 * upper - full Unicode upper-casing of one code point, without locale: what Python's str.upper()
 * does to each.
 *
 * The C library's towupper() depends on the locale and knows no special casing, hence a table of
 * our own. Runs and a binary search keep it at 4 KiB, short enough to read in a review; predicates
 * that need it are rare, ASCII never comes here. The table is Unicode 15 (Debian 12's
 * unicode-data). Python 3.11 has Unicode 14, and 15 gave no letter of 14 a new upper case, so the
 * two agree on every code point that both know.
 */
#include "route/predicate.h"
#include "route/upper_table.h"

static const struct upper_run *
find_run(uint32_t code_point)
{
	size_t low = 0;
	size_t high = sizeof(upper_runs) / sizeof(upper_runs[0]);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct upper_run *run = &upper_runs[middle];

		if (code_point > run->last)
			low = middle + 1;
		else if (code_point < run->first)
			high = middle;
		else
			return (run);
	}
	return (NULL);
}

unsigned
spr_upper(uint32_t code_point, uint32_t out[3])
{
	const struct upper_run *run = find_run(code_point);
	unsigned n = 0;

	out[0] = code_point;
	if (run == NULL)
		return (1);
	if (run->stride > 0) {
		if ((code_point - run->first) % run->stride == 0)
			out[0] = code_point + (uint32_t)run->delta;
		return (1);
	}
	const uint16_t *special = special_upper[(uint32_t)run->delta + code_point - run->first];

	while (n < 3 && special[n] != 0) {
		out[n] = special[n];
		n++;
	}
	return (n);
}

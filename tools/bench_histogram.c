/*
 * bench_histogram - merging and reading. A quantile walks the slots: it is asked for at the end of a run, recording is what has
 * to be fast.
 */
#include "bench_histogram.h"

#include <math.h>

void
bench_histogram_merge(bench_histogram *into, const bench_histogram *from)
{
	if (from->n == 0)
		return;
	if (into->n == 0 || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->n += from->n;
	into->sum += from->sum;
	for (unsigned i = 0; i < BENCH_HISTOGRAM_SLOTS; i++)
		into->slot[i] += from->slot[i];
}

static uint64_t
middle_of(unsigned slot)
{
	unsigned block = slot >> BENCH_HISTOGRAM_STEP_BITS;
	unsigned shift = block > 0 ? block - 1 : 0;
	uint64_t first = (uint64_t)(slot - (shift << BENCH_HISTOGRAM_STEP_BITS)) << shift;

	return (first + ((UINT64_C(1) << shift) - 1) / 2);
}

uint64_t
bench_histogram_at(const bench_histogram *h, double share)
{
	uint64_t seen = 0, value;
	double wanted = ceil(share * (double)h->n);
	unsigned slot = 0;

	if (h->n == 0)
		return (0);
	for (; slot < BENCH_HISTOGRAM_SLOTS - 1; slot++) {
		seen += h->slot[slot];
		if (seen > 0 && (double)seen >= wanted)
			break;
	}
	value = middle_of(slot);
	if (value < h->min)
		return (h->min);
	return (value > h->max ? h->max : value);
}

double
bench_histogram_mean(const bench_histogram *h)
{
	return (h->n == 0 ? 0 : (double)h->sum / (double)h->n);
}

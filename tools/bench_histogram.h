/*
 * bench_histogram - how often which value came, log-linear: exact below 256, then 128 steps to each power of two, so that a
 * value read back is off by less than 1/128. Recording is a shift and an add; histograms of several threads are merged.
 *
 * Threads     one writer; merged and read when it has stopped
 * Ownership   plain memory, no allocation; zeroed is empty
 * Limits      a value over BENCH_HISTOGRAM_MAX counts as that one (73 minutes, in nanoseconds)
 */
#pragma once

#include <stdint.h>

#define BENCH_HISTOGRAM_STEP_BITS 7
#define BENCH_HISTOGRAM_BITS      42
#define BENCH_HISTOGRAM_MAX       ((UINT64_C(1) << BENCH_HISTOGRAM_BITS) - 1)
#define BENCH_HISTOGRAM_SLOTS \
	((BENCH_HISTOGRAM_BITS - BENCH_HISTOGRAM_STEP_BITS + 1) << BENCH_HISTOGRAM_STEP_BITS)

typedef struct bench_histogram {
	uint64_t n, sum, min, max; /* of the values as they were recorded, after the limit */
	uint64_t slot[BENCH_HISTOGRAM_SLOTS];
} bench_histogram;

/* The slot of a value within the limit: its leading eight bits, and how far they were shifted. */
static inline unsigned
bench_histogram_slot(uint64_t value)
{
	unsigned shift = 63 - BENCH_HISTOGRAM_STEP_BITS -
			 (unsigned)__builtin_clzll(value | 1 << BENCH_HISTOGRAM_STEP_BITS);

	return ((shift << BENCH_HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift));
}

static inline void
bench_histogram_add(bench_histogram *h, uint64_t value, uint64_t times)
{
	if (value > BENCH_HISTOGRAM_MAX)
		value = BENCH_HISTOGRAM_MAX;
	if (h->n == 0 || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->n += times;
	h->sum += value * times;
	h->slot[bench_histogram_slot(value)] += times;
}

/* Adds what is in `from`. */
void bench_histogram_merge(bench_histogram *into, const bench_histogram *from);
/*
 * The least value that at least this share (0 to 1) of all values is not above: the middle of its slot, within min and max. 0
 * when it is empty.
 */
uint64_t bench_histogram_at(const bench_histogram *h, double share);
/* 0 when it is empty. */
double bench_histogram_mean(const bench_histogram *h);

/*
 * test_bench_histogram - quantiles against those of the sorted values, the bound of the error, the ends of the range, merging.
 */
#include "bench_histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define N 20000

static const double shares[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y ? -1 : x > y);
}

static void
expect_near(uint64_t got, uint64_t wanted)
{
	double off = fabs((double)got - (double)wanted);

	if (off > (double)wanted * 0.01)
		fail_msg("%llu is more than 1 %% off %llu", (unsigned long long)got,
			 (unsigned long long)wanted);
}

static void
test_empty(void **state)
{
	static bench_histogram h;

	(void)state;
	assert_int_equal(bench_histogram_at(&h, 0.5), 0);
	assert_true(bench_histogram_mean(&h) == 0);
}

/* Every slot's both ends, and every value while they are exact. */
static void
test_one_value(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < BENCH_HISTOGRAM_BITS; bit++) {
		for (unsigned step = 0; step < 512; step++) {
			uint64_t value = (UINT64_C(1) << bit) + ((UINT64_C(1) << bit) * step >> 9);
			unsigned slot = bench_histogram_slot(value);
			bench_histogram h = {0};

			assert_in_range(slot, 0, BENCH_HISTOGRAM_SLOTS - 1);
			assert_in_range(bench_histogram_slot(value - 1), slot > 0 ? slot - 1 : 0,
					slot);
			bench_histogram_add(&h, value, 1);
			h.min = 0; /* the slot's own middle, not what min and max say */
			h.max = UINT64_MAX;
			if (value < 256)
				assert_int_equal(bench_histogram_at(&h, 0.5), value);
			expect_near(bench_histogram_at(&h, 0.5), value);
		}
	}
}

static void
test_over_the_limit(void **state)
{
	static bench_histogram h;

	(void)state;
	bench_histogram_add(&h, UINT64_MAX, 1);
	assert_int_equal(h.max, BENCH_HISTOGRAM_MAX);
	assert_int_equal(h.slot[BENCH_HISTOGRAM_SLOTS - 1], 1);
	assert_int_equal(bench_histogram_at(&h, 1), BENCH_HISTOGRAM_MAX);
}

static void
test_quantiles(void **state)
{
	static bench_histogram h, parts[3];
	static uint64_t values[N];
	uint64_t random = spr_test_seed();

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		/* as many small as large ones */
		values[i] = spr_test_random(&random) >> (23 + spr_test_below(&random, 41));
		bench_histogram_add(&parts[i % 3], values[i], 1);
	}
	for (unsigned i = 0; i < 3; i++)
		bench_histogram_merge(&h, &parts[i]);
	bench_histogram_merge(&h, &(bench_histogram){0});
	qsort(values, N, sizeof(values[0]), compare);
	assert_int_equal(h.n, N);
	assert_int_equal(h.min, values[0]);
	assert_int_equal(h.max, values[N - 1]);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		double rank = ceil(shares[i] * N);

		expect_near(bench_histogram_at(&h, shares[i]),
			    values[rank > 0 ? (size_t)rank - 1 : 0]);
	}
}

/* The same value many times in one call is as many calls. */
static void
test_times(void **state)
{
	static bench_histogram h;

	(void)state;
	bench_histogram_add(&h, 100, 99);
	bench_histogram_add(&h, 100000, 1);
	assert_int_equal(h.n, 100);
	assert_int_equal(bench_histogram_at(&h, 0.99), 100);
	assert_int_equal(bench_histogram_at(&h, 0.999), 100000);
	assert_true(bench_histogram_mean(&h) == 1099);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_empty),          cmocka_unit_test(test_one_value),
	    cmocka_unit_test(test_over_the_limit), cmocka_unit_test(test_quantiles),
	    cmocka_unit_test(test_times),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

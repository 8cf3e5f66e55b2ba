/*
 * test_bench_tally - what is missing, came twice or is foreign, against a naive count; widths beside and at the words' ends.
 */
#include "bench_tally.h"

#include <string.h>

#include "spr_test.h"

#define NUMBERS 50
#define WORKERS 3

static bool
is_even(const void *arg, uint32_t number)
{
	(void)arg;
	return (number % 2 == 0);
}

static bool
is_any(const void *arg, uint32_t number)
{
	(void)arg;
	(void)number;
	return (true);
}

typedef struct scene {
	bench_tally tally[WORKERS];
	const bench_tally *tallies[WORKERS];
} scene;

static void
begin(scene *s, unsigned width, bool is_counting)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_true(bench_tally_init(&s->tally[i], NUMBERS, width, is_counting));
		s->tallies[i] = &s->tally[i];
	}
}

static void
end(scene *s)
{
	for (unsigned i = 0; i < WORKERS; i++)
		bench_tally_fini(&s->tally[i]);
}

static void
expect(scene *s, uint64_t missing, uint64_t twice, uint64_t foreign)
{
	bench_verdict v = bench_tally_judge(s->tallies, WORKERS, NUMBERS, is_any, NULL);

	assert_int_equal(v.missing, missing);
	assert_int_equal(v.twice, twice);
	assert_int_equal(v.foreign, foreign);
}

/* All once, over the workers at random; then each fault in turn. */
static void
test_each_once(void **state)
{
	static const unsigned widths[] = {1, 2, 63, 64, 65, 200};
	uint64_t random = spr_test_seed();

	(void)state;
	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
		unsigned width = widths[w];
		scene s;

		begin(&s, width, false);
		expect(&s, (uint64_t)NUMBERS * width, 0, 0);
		for (unsigned number = 0; number < NUMBERS; number++) {
			assert_false(bench_tally_is_whole(s.tallies, WORKERS, number));
			for (unsigned c = 0; c < width; c++)
				assert_true(bench_tally_add(
				    &s.tally[spr_test_below(&random, WORKERS)], number, c));
			assert_true(bench_tally_is_whole(s.tallies, WORKERS, number));
		}
		expect(&s, 0, 0, 0);
		for (unsigned i = 0; i < WORKERS; i++)
			bench_tally_add(&s.tally[i], NUMBERS / 2, width - 1);
		expect(&s, 0, WORKERS, 0); /* one of them had it, the others make it three */
		assert_false(bench_tally_add(&s.tally[0], NUMBERS, 0));
		assert_false(bench_tally_add(&s.tally[0], 0, width));
		expect(&s, 0, WORKERS, 2);
		end(&s);
	}
}

static void
test_random(void **state)
{
	uint64_t random = spr_test_seed();
	unsigned width = 70;
	static unsigned times[NUMBERS][70];
	uint64_t missing = 0, twice = 0;
	scene s;

	(void)state;
	begin(&s, width, false);
	memset(times, 0, sizeof(times));
	for (unsigned i = 0; i < NUMBERS * width; i++) {
		unsigned number = (unsigned)spr_test_below(&random, NUMBERS),
			 c = (unsigned)spr_test_below(&random, width);

		bench_tally_add(&s.tally[spr_test_below(&random, WORKERS)], number, c);
		times[number][c]++;
	}
	for (unsigned number = 0; number < NUMBERS; number++) {
		for (unsigned c = 0; c < width; c++) {
			missing += times[number][c] == 0;
			twice += times[number][c] > 1 ? times[number][c] - 1 : 0;
		}
	}
	expect(&s, missing, twice, 0);
	end(&s);
}

/* Jobs of a notification that nobody is subscribed to are foreign. */
static void
test_misses(void **state)
{
	bench_verdict v;
	scene s;

	(void)state;
	begin(&s, 3, false);
	for (unsigned number = 0; number < NUMBERS; number += 2) {
		for (unsigned c = 0; c < 3; c++)
			bench_tally_add(&s.tally[0], number, c);
	}
	v = bench_tally_judge(s.tallies, WORKERS, NUMBERS, is_even, NULL);
	assert_int_equal(v.missing + v.twice + v.foreign, 0);
	bench_tally_add(&s.tally[1], 7, 1);
	v = bench_tally_judge(s.tallies, WORKERS, NUMBERS, is_even, NULL);
	assert_int_equal(v.missing + v.twice, 0);
	assert_int_equal(v.foreign, 1);
	end(&s);
}

static void
test_counting(void **state)
{
	scene s;

	(void)state;
	begin(&s, 2, true);
	for (unsigned number = 0; number < NUMBERS; number++) {
		bench_tally_add(&s.tally[0], number, 0);
		bench_tally_add(&s.tally[number % WORKERS], number, 0);
	}
	expect(&s, 0, 0, 0);
	bench_tally_add(&s.tally[2], 9, 0);
	expect(&s, 0, 1, 0);
	assert_false(bench_tally_add(&s.tally[2], NUMBERS, 0));
	expect(&s, 0, 1, 1);
	end(&s);
	begin(&s, 2, true);
	bench_tally_add(&s.tally[0], 0, 0);
	expect(&s, 2 * NUMBERS - 1, 0, 0);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_once),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_misses),
	    cmocka_unit_test(test_counting),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

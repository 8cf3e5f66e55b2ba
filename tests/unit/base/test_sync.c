/*
 * test_sync - edges yield as often as they are told to. The program's own sched_yield() takes the C library's place.
 */
#include "spr_test.h"

#include "base/sync.h"

#define N_EDGES 10000

int sched_yield(void);

static unsigned n_yields;

int
sched_yield(void)
{
	n_yields++;
	return (0);
}

static unsigned
yields_at(unsigned percent)
{
	n_yields = 0;
	spr_sync_yield_percent(percent);
	for (int i = 0; i < N_EDGES; i++)
		SPR_YIELD();
	spr_sync_yield_percent(0);
	return (n_yields);
}

static void
test_yields_as_often_as_told(void **state)
{
	(void)state;
	assert_int_equal(yields_at(0), 0);
	assert_int_equal(yields_at(100), N_EDGES);
	assert_in_range(yields_at(50), N_EDGES / 3, N_EDGES * 2 / 3);
	assert_in_range(yields_at(1), 1, N_EDGES / 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_yields_as_often_as_told),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * test_ep_load - who is given the next frame, and when one that was full is asked again.
 */
#include "spr_test.h"

#include "net/ep_load.h"

#define N 40

static spr_ep_load load[N];

static void
begin(spr_ep_loads *loads, size_t limit, unsigned n)
{
	*loads = (spr_ep_loads){.limit = limit};
	for (unsigned i = 0; i < n; i++) {
		load[i] = (spr_ep_load){0};
		spr_ep_loads_add(loads, &load[i]);
	}
}

static void
test_equals_take_turns(void **state)
{
	spr_ep_loads loads;

	(void)state;
	begin(&loads, 100, 3);
	for (unsigned n = 0; n < 9; n++) {
		assert_ptr_equal(spr_ep_loads_pick(&loads), &load[n % 3]);
		spr_ep_loads_give(&loads, &load[n % 3], 10);
	}
	for (unsigned i = 0; i < 3; i++)
		spr_ep_loads_remove(&loads, &load[i]);
	spr_ep_loads_remove(&loads, &load[0]); /* fine */
	assert_null(spr_ep_loads_pick(&loads));
	assert_int_equal(loads.n, 0);
}

static void
test_the_least_burdened_goes_first(void **state)
{
	spr_ep_loads loads;

	(void)state;
	begin(&loads, 1000, SPR_EP_LOAD_PROBES);
	for (unsigned i = 0; i < SPR_EP_LOAD_PROBES; i++)
		spr_ep_loads_give(&loads, &load[i], 100 + i);
	for (unsigned i = SPR_EP_LOAD_PROBES; i-- > 0;) { /* whoever passes something on is next */
		assert_false(spr_ep_load_give_back(&load[i], 50 + i));
		assert_ptr_equal(spr_ep_loads_pick(&loads), &load[i]);
		spr_ep_loads_give(&loads, &load[i], 500);
	}
	/* of more than that many the first few are looked at, and those at the back come round */
	begin(&loads, 1000, N);
	for (unsigned i = 0; i < N; i++)
		spr_ep_loads_give(&loads, &load[i], 100);
	assert_false(spr_ep_load_give_back(&load[N - 1], 100));
	for (unsigned n = 0; n < N; n++) {
		spr_ep_load *next = spr_ep_loads_pick(&loads);

		if (next == &load[N - 1])
			return;
		spr_ep_loads_give(&loads, next, 10);
	}
	fail_msg("the idle one was not found");
}

static void
test_limits(void **state)
{
	spr_ep_loads loads;

	(void)state;
	begin(&loads, 100, 1);
	assert_true(spr_ep_loads_has_room(&loads, &load[0], 0, 100));
	assert_true(spr_ep_loads_has_room(&loads, &load[0], 0, 1000)); /* alone */
	assert_false(spr_ep_loads_has_room(&loads, &load[0], 1, 1000));
	assert_true(spr_ep_loads_has_room(&loads, &load[0], 60, 40));
	assert_false(spr_ep_loads_has_room(&loads, &load[0], 60, 41));
	spr_ep_loads_give(&loads, &load[0], 60);
	assert_true(spr_ep_loads_has_room(&loads, &load[0], 0, 40));
	assert_false(spr_ep_loads_has_room(&loads, &load[0], 0, 41));
	assert_false(spr_ep_loads_has_room(&loads, &load[0], 1, SIZE_MAX));
}

/* From what it holds when it is full to what it must hold to be asked again. */
static void
expect_wake(size_t limit, size_t held, size_t bytes, size_t wakes_at)
{
	spr_ep_loads loads;

	begin(&loads, limit, 1);
	spr_ep_loads_give(&loads, &load[0], held);
	spr_ep_loads_set_full(&loads, &load[0], bytes);
	assert_null(spr_ep_loads_pick(&loads));
	while (held > wakes_at + 1) {
		assert_false(spr_ep_load_give_back(&load[0], 1));
		held--;
	}
	assert_true(spr_ep_load_give_back(&load[0], 1));
	assert_null(spr_ep_loads_pick(&loads)); /* until it is listed again */
	spr_ep_loads_add(&loads, &load[0]);
	assert_ptr_equal(spr_ep_loads_pick(&loads), &load[0]);
	assert_true(spr_ep_loads_has_room(&loads, &load[0], 0, bytes));
	while (--held > 0)
		assert_false(spr_ep_load_give_back(&load[0], 1)); /* once is enough */
}

static void
test_full_and_not_any_more(void **state)
{
	spr_ep_loads loads;

	(void)state;
	expect_wake(100, 100, 1, 50);
	expect_wake(100, 95, 10, 50);
	expect_wake(100, 95, 60, 40); /* half would not do */
	expect_wake(100, 40, 100, 0);
	expect_wake(100, 40, 101, 0); /* longer than the limit: alone */
	/* it passed on what it held while it was being taken off */
	begin(&loads, 100, 1);
	spr_ep_loads_set_full(&loads, &load[0], 10);
	assert_ptr_equal(spr_ep_loads_pick(&loads), &load[0]);
	assert_false(spr_ep_load_give_back(&load[0], 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_equals_take_turns),
	    cmocka_unit_test(test_the_least_burdened_goes_first),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_full_and_not_any_more),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

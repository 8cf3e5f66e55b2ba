/*
 * test_budget - a budget of 1,000 bytes and three dispatchers' shares of it; a chunk is a quarter.
 */
#include "spr_test.h"

#include "fake_waiters.h"
#include "path/budget.h"

#define MAX   1000
#define CHUNK (MAX / 4)

typedef struct scene {
	spr_fake_waiters dispatchers;
	spr_budget budget;
	spr_budget_share share[3];
} scene;

static scene s;

static int
open_scene(void **state)
{
	(void)state;
	s = (scene){0};
	spr_fake_waiters_init(&s.dispatchers, 3);
	spr_budget_init(&s.budget, MAX, &s.dispatchers.waiters);
	for (unsigned d = 0; d < 3; d++)
		spr_budget_join(&s.budget, &s.share[d], &s.dispatchers.waiter[d]);
	return (0);
}

static void
want(unsigned d)
{
	spr_waiter_want(&s.dispatchers.waiter[d], SPR_WANT_BYTES);
}

/* What jobs have is one thing, what is kept for the next ones another. */
static void
test_an_allowance_saves_the_common_count(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 100));
	assert_int_equal(s.budget.used, 100 + CHUNK);
	assert_int_equal(spr_budget_in_use(&s.budget), 100);
	assert_true(spr_budget_take(&s.share[0], CHUNK));
	assert_int_equal(s.budget.used, 100 + CHUNK);
	spr_budget_give_back(&s.share[0], 100);
	spr_budget_give_back(&s.share[0], CHUNK);
	assert_int_equal(s.budget.used, 100 + CHUNK);
	assert_int_equal(spr_budget_in_use(&s.budget), 0);
	assert_true(spr_budget_take(&s.share[0], 100 + CHUNK)); /* the same again */
	assert_int_equal(s.budget.used, 100 + CHUNK);
	assert_int_equal(spr_budget_in_use(&s.budget), 100 + CHUNK);
}

static void
test_little_is_kept(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 900));
	spr_budget_give_back(&s.share[0], 2 * CHUNK);
	assert_int_equal(s.budget.used, 900);
	spr_budget_give_back(&s.share[0], 1);
	assert_int_equal(s.budget.used, 900 - 2 * CHUNK - 1);
	assert_int_equal(spr_budget_in_use(&s.budget), 900 - 2 * CHUNK - 1);
}

static void
test_the_bound_is_hard(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 550));
	assert_true(spr_budget_take(&s.share[0], 50));  /* and a chunk */
	assert_true(spr_budget_take(&s.share[1], 100)); /* no chunk any more */
	assert_int_equal(s.budget.used, 600 + CHUNK + 100);
	assert_false(spr_budget_take(&s.share[1], 51));
	assert_true(spr_budget_take(&s.share[1], 50));
	assert_int_equal(s.budget.used, MAX);
	assert_int_equal(spr_budget_in_use(&s.budget), 750);
	assert_false(spr_budget_take(&s.share[1], 1));
}

/* What others have spare is had by whoever waits, also when they do nothing any more. */
static void
test_whoever_waits_takes_what_is_spare(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 2 * CHUNK));
	spr_budget_give_back(&s.share[0], 2 * CHUNK);
	assert_true(spr_budget_take(&s.share[1], CHUNK - 1));
	spr_budget_end_turn(&s.share[0]);
	spr_budget_give_back(&s.share[1], CHUNK - 1);
	assert_int_equal(spr_budget_in_use(&s.budget), 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 2), 0);
	assert_false(spr_budget_take(&s.share[2], MAX));
	want(2);
	want(1);
	spr_budget_end_turn(&s.share[1]);
	assert_true(spr_budget_take_all(&s.share[2], MAX));
	assert_int_equal(s.budget.used, MAX);
	assert_true(spr_fake_wakes(&s.dispatchers, 1) > 0); /* there may be more than he takes */
}

/* While somebody waits nothing is kept, and whoever gives back wakes. */
static void
test_nothing_is_kept_from_who_waits(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 100));
	assert_true(spr_budget_take(&s.share[1], 500));
	want(2);
	assert_false(spr_budget_take_all(&s.share[2], 600));
	(void)spr_fake_wakes(&s.dispatchers, 2);
	assert_int_equal(s.share[0].allowance, CHUNK);
	spr_budget_end_turn(&s.share[0]);
	assert_int_equal(s.share[0].allowance + s.share[0].spare, 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 2), 1);
	assert_true(spr_budget_take(&s.share[0], 10)); /* and no chunk */
	assert_int_equal(s.share[0].allowance, 0);
	spr_budget_give_back(&s.share[0], 110);
	assert_int_equal(s.share[0].spare, 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 2), 1);
	spr_budget_end_turn(&s.share[1]);
	spr_budget_give_back(&s.share[1], 500);
	assert_int_equal(s.budget.used, 0);
	assert_true(spr_budget_take_all(&s.share[2], 600));
}

static void
test_a_single_one_may_be_larger(void **state)
{
	(void)state;
	assert_true(spr_budget_take(&s.share[0], 1));
	assert_false(spr_budget_take(&s.share[0], 2 * MAX));
	want(0);
	assert_false(spr_budget_take_all(&s.share[0], 2 * MAX));
	spr_budget_give_back(&s.share[0], 1);
	assert_true(spr_budget_take_all(&s.share[0], 2 * MAX));
	assert_int_equal(spr_budget_in_use(&s.budget), 2 * MAX);
	assert_false(spr_budget_take(&s.share[1], 1));
	spr_budget_give_back(&s.share[0], 2 * MAX);
	assert_int_equal(s.budget.used, 0);
}

static void
test_a_small_budget_is_one_of_single_bytes(void **state)
{
	(void)state;
	spr_budget_init(&s.budget, 3, &s.dispatchers.waiters);
	assert_true(spr_budget_take(&s.share[0], 3));
	spr_budget_give_back(&s.share[0], 3);
	assert_int_equal(s.budget.used, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_an_allowance_saves_the_common_count, open_scene),
	    cmocka_unit_test_setup(test_little_is_kept, open_scene),
	    cmocka_unit_test_setup(test_the_bound_is_hard, open_scene),
	    cmocka_unit_test_setup(test_whoever_waits_takes_what_is_spare, open_scene),
	    cmocka_unit_test_setup(test_nothing_is_kept_from_who_waits, open_scene),
	    cmocka_unit_test_setup(test_a_single_one_may_be_larger, open_scene),
	    cmocka_unit_test_setup(test_a_small_budget_is_one_of_single_bytes, open_scene),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

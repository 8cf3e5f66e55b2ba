/*
 * Credits and the line for them: first come, first served, from the middle too, and past it only for whoever may.
 */
#include "path/credits.h"
#include "spr_test.h"

static spr_credits *
credits_new(uint32_t capacity)
{
	spr_credits *credits = spr_mem_zalloc_aligned(sizeof(*credits));

	assert_non_null(credits);
	spr_credits_init(credits, capacity);
	return (credits);
}

static void
credits_free(spr_credits *credits)
{
	assert_int_equal(spr_credits_reserved(credits), 0);
	assert_int_equal(spr_credits_waiting(credits), 0);
	spr_mem_free(credits);
}

/* As a dispatcher does it: granted, so out of the line. */
static bool
get(spr_credits *credits, unsigned d, uint32_t n)
{
	if (!spr_credits_reserve_in_turn(credits, d, n))
		return (false);
	spr_credits_leave(credits, d);
	return (true);
}

static void
without_a_line_they_go_to_whoever_comes(void **state)
{
	spr_credits *credits = credits_new(10);

	(void)state;
	assert_true(get(credits, 3, 6));
	assert_true(get(credits, 1, 4));
	assert_true(get(credits, 2, 0));
	assert_int_equal(spr_credits_wanted(credits), 0);
	assert_int_equal(spr_credits_reserved(credits), 10);
	spr_credits_give_back(credits, 10);
	credits_free(credits);
}

static void
small_ones_do_not_pass_a_large_one(void **state)
{
	spr_credits *credits = credits_new(10);

	(void)state;
	assert_true(get(credits, 0, 1));
	assert_false(get(credits, 1, 10));
	assert_int_equal(spr_credits_wanted(credits), 10);
	assert_false(get(credits, 0, 1));
	assert_false(get(credits, 2, 1));
	assert_int_equal(spr_credits_waiting(credits), 3);
	spr_credits_give_back(credits, 1);
	assert_false(get(credits, 0, 1));
	assert_true(get(credits, 1, 10));
	assert_int_equal(spr_credits_wanted(credits), 1);
	spr_credits_give_back(credits, 10);
	assert_false(get(credits, 2, 1)); /* it came behind */
	assert_true(get(credits, 0, 1));
	assert_true(get(credits, 2, 1));
	spr_credits_give_back(credits, 2);
	credits_free(credits);
}

static void
a_place_is_kept_until_it_is_left(void **state)
{
	spr_credits *credits = credits_new(4);

	(void)state;
	assert_true(spr_credits_reserve(credits, 4));
	assert_false(spr_credits_reserve_in_turn(credits, 5, 2));
	spr_credits_give_back(credits, 4);
	assert_true(spr_credits_reserve_in_turn(credits, 5, 2));
	assert_false(get(credits, 6, 1));
	spr_credits_leave(credits, 5);
	spr_credits_leave(credits, 5); /* nothing */
	assert_true(get(credits, 6, 1));
	spr_credits_give_back(credits, 3);
	credits_free(credits);
}

static void
the_line_is_left_from_the_middle(void **state)
{
	spr_credits *credits = credits_new(4);

	(void)state;
	assert_true(spr_credits_reserve(credits, 4));
	for (unsigned d = 0; d < 3; d++)
		assert_false(get(credits, d, 2 + d));
	spr_credits_leave(credits, 1);
	assert_int_equal(spr_credits_wanted(credits), 2);
	spr_credits_leave(credits, 0);
	assert_int_equal(spr_credits_wanted(credits), 4);
	assert_false(get(credits, 1, 1)); /* anew: behind */
	spr_credits_give_back(credits, 4);
	assert_true(get(credits, 2, 4));
	spr_credits_give_back(credits, 4);
	assert_true(get(credits, 1, 1));
	spr_credits_give_back(credits, 1);
	credits_free(credits);
}

static void
whoever_comes_back_passes_by(void **state)
{
	spr_credits *credits = credits_new(4);

	(void)state;
	assert_true(spr_credits_reserve(credits, 1));
	assert_false(get(credits, 0, 4));
	assert_true(spr_credits_reserve(credits, 3));
	assert_false(spr_credits_reserve(credits, 1));
	assert_int_equal(spr_credits_waiting(credits), 1);
	spr_credits_give_back(credits, 4);
	assert_true(get(credits, 0, 4));
	spr_credits_give_back(credits, 4);
	credits_free(credits);
}

static void
every_dispatcher_has_a_place(void **state)
{
	spr_credits *credits = credits_new(1);

	(void)state;
	assert_true(spr_credits_reserve(credits, 1));
	for (unsigned d = SPR_CREDITS_PLACES; d-- > 0;)
		assert_false(get(credits, d, 1));
	for (unsigned d = SPR_CREDITS_PLACES; d-- > 0;) {
		spr_credits_give_back(credits, 1);
		if (d > 0)
			assert_false(get(credits, 0, 1));
		assert_true(get(credits, d, 1));
	}
	spr_credits_give_back(credits, 1);
	credits_free(credits);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_a_line_they_go_to_whoever_comes),
	    cmocka_unit_test(small_ones_do_not_pass_a_large_one),
	    cmocka_unit_test(a_place_is_kept_until_it_is_left),
	    cmocka_unit_test(the_line_is_left_from_the_middle),
	    cmocka_unit_test(whoever_comes_back_passes_by),
	    cmocka_unit_test(every_dispatcher_has_a_place),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

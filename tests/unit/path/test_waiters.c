/*
 * test_waiters - who is woken by what: only those who want it, and work wakes only those who want nothing.
 */
#include "spr_test.h"

#include "fake_waiters.h"

static void
test_notify_wakes_only_those_who_want_it(void **state)
{
	spr_fake_waiters fake;

	(void)state;
	spr_fake_waiters_init(&fake, 3);
	spr_waiters_notify(&fake.waiters, SPR_WANT_BYTES);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(spr_fake_wakes(&fake, i), 0);

	spr_waiter_want(&fake.waiter[1], SPR_WANT_BYTES);
	spr_waiter_want(&fake.waiter[2], SPR_WANT_SLOT);
	spr_waiters_notify(&fake.waiters, SPR_WANT_BYTES);
	assert_int_equal(spr_fake_wakes(&fake, 0), 0);
	assert_int_equal(spr_fake_wakes(&fake, 1), 1);
	assert_int_equal(spr_fake_wakes(&fake, 2), 0);

	spr_waiter_notify(&fake.waiter[2], SPR_WANT_SLOT);
	spr_waiter_notify(&fake.waiter[1], SPR_WANT_SLOT);
	assert_int_equal(spr_fake_wakes(&fake, 1), 0);
	assert_int_equal(spr_fake_wakes(&fake, 2), 1);
}

static void
test_wants_add_up_until_cleared(void **state)
{
	spr_fake_waiters fake;

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	spr_waiter_want(&fake.waiter[0], SPR_WANT_SLOT);
	spr_waiter_want(&fake.waiter[0], SPR_WANT_INFLIGHT);
	assert_int_equal(spr_fake_wants(&fake, 0), SPR_WANT_SLOT | SPR_WANT_INFLIGHT);
	/* being woken clears nothing: the waiter does that itself, before it looks */
	spr_waiters_notify(&fake.waiters, SPR_WANT_SLOT);
	spr_waiters_notify(&fake.waiters, SPR_WANT_INFLIGHT);
	assert_int_equal(spr_fake_wakes(&fake, 0), 2);
	spr_waiter_clear(&fake.waiter[0]);
	spr_waiter_clear(&fake.waiter[0]);
	assert_int_equal(spr_fake_wants(&fake, 0), 0);
	spr_waiters_notify(&fake.waiters, SPR_WANT_SLOT);
	assert_int_equal(spr_fake_wakes(&fake, 0), 0);
}

static void
test_work_wakes_only_who_wants_nothing(void **state)
{
	spr_fake_waiters fake;

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	spr_waiter_offer(&fake.waiter[0]);
	assert_int_equal(spr_fake_wakes(&fake, 0), 1);
	spr_waiter_want(&fake.waiter[0], SPR_WANT_BYTES);
	spr_waiter_offer(&fake.waiter[0]);
	assert_int_equal(spr_fake_wakes(&fake, 0), 0);
	spr_waiter_clear(&fake.waiter[0]);
	spr_waiter_offer(&fake.waiter[0]);
	assert_int_equal(spr_fake_wakes(&fake, 0), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_notify_wakes_only_those_who_want_it),
	    cmocka_unit_test(test_wants_add_up_until_cleared),
	    cmocka_unit_test(test_work_wakes_only_who_wants_nothing),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

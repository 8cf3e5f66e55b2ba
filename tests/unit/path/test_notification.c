/*
 * test_notification - the pool of records, the pending count, and the first reason that wins.
 */
#include "spr_test.h"

#include "fake_waiters.h"
#include "path/notification.h"

#define CAPACITY 3

static void
test_each_record_once(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;
	spr_notification *taken[CAPACITY];

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	assert_ok(spr_notifications_init(&pool, CAPACITY, 1, &fake.waiters));
	assert_int_equal(spr_notifications_in_flight(&pool), 0);
	for (unsigned i = 0; i < CAPACITY; i++) {
		assert_non_null(taken[i] = spr_notification_take(&pool, 0));
		assert_int_equal(spr_notifications_in_flight(&pool), i + 1);
		for (unsigned k = 0; k < i; k++)
			assert_ptr_not_equal(taken[i], taken[k]);
	}
	assert_null(spr_notification_take(&pool, 0));
	assert_int_equal(spr_notifications_in_flight(&pool), CAPACITY);
	/* the record given back last is the warm one */
	spr_notification_give_back(&pool, taken[0]);
	spr_notification_give_back(&pool, taken[1]);
	assert_int_equal(spr_notifications_in_flight(&pool), CAPACITY - 2);
	assert_ptr_equal(spr_notification_take(&pool, 0), taken[1]);
	assert_ptr_equal(spr_notification_take(&pool, 0), taken[0]);
	assert_null(spr_notification_take(&pool, 0));
	spr_notifications_fini(&pool);
	assert_null(pool.slab);
	spr_notifications_fini(&pool);
}

static void
test_a_record_back_wakes_who_waits_for_one(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;
	spr_notification *only;

	(void)state;
	spr_fake_waiters_init(&fake, 2);
	assert_ok(spr_notifications_init(&pool, 1, 1, &fake.waiters));
	assert_non_null(only = spr_notification_take(&pool, 0));
	spr_waiter_want(&fake.waiter[0], SPR_WANT_SLOT);
	spr_waiter_want(&fake.waiter[1], SPR_WANT_INFLIGHT);
	spr_notification_give_back(&pool, only);
	assert_int_equal(spr_fake_wakes(&fake, 0), 0);
	assert_int_equal(spr_fake_wakes(&fake, 1), 1);
	spr_notifications_fini(&pool);
}

static void
test_many_go_back_together(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;
	spr_notification *taken[3];
	spr_notification_chains chains = {0};

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	assert_ok(spr_notifications_init(&pool, 3, 1, &fake.waiters));
	for (unsigned i = 0; i < 3; i++) {
		assert_non_null(taken[i] = spr_notification_take(&pool, 0));
		spr_notification_begin(taken[i], 5);
	}
	spr_notifications_give_back(&pool, &chains); /* none */
	for (unsigned i = 0; i < 2; i++)
		spr_notification_add_free(&chains, taken[i]);
	assert_int_equal(spr_notifications_in_flight(&pool), 3);
	spr_waiter_want(&fake.waiter[0], SPR_WANT_INFLIGHT);
	spr_notifications_give_back(&pool, &chains);
	assert_int_equal(spr_fake_wakes(&fake, 0), 1);
	assert_int_equal(spr_notifications_in_flight(&pool), 1);
	assert_int_equal(spr_notification_received_ns(taken[0]), 0);
	assert_int_equal(spr_notifications_oldest_ns(&pool), 5); /* the third */
	assert_ptr_equal(spr_notification_take(&pool, 0), taken[1]);
	assert_ptr_equal(spr_notification_take(&pool, 0), taken[0]);
	assert_null(spr_notification_take(&pool, 0));
	spr_notifications_fini(&pool);
}

/* Two dispatchers with two records each; who has none left takes the other's, and each goes back to where it came from. */
static void
test_dispatchers_take_their_own_first(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;
	spr_notification *taken[4];
	spr_notification_chains chains = {0};

	(void)state;
	spr_fake_waiters_init(&fake, 2);
	assert_ok(spr_notifications_init(&pool, 4, 2, &fake.waiters));
	assert_ptr_equal(taken[0] = spr_notification_take(&pool, 0), &pool.slab[0]);
	assert_ptr_equal(taken[2] = spr_notification_take(&pool, 1), &pool.slab[2]);
	assert_ptr_equal(taken[3] = spr_notification_take(&pool, 1), &pool.slab[3]);
	assert_ptr_equal(taken[1] = spr_notification_take(&pool, 1), &pool.slab[1]);
	assert_null(spr_notification_take(&pool, 0));
	assert_null(spr_notification_take(&pool, 1));
	assert_int_equal(spr_notifications_in_flight(&pool), 4);
	for (unsigned i = 0; i < 4; i++)
		spr_notification_begin(taken[i], 9 - i);
	assert_int_equal(spr_notifications_oldest_ns(&pool), 6);
	for (unsigned i = 1; i < 4; i += 2)
		spr_notification_add_free(&chains, taken[i]);
	spr_waiter_want(&fake.waiter[1], SPR_WANT_INFLIGHT);
	spr_notifications_give_back(&pool, &chains);
	assert_int_equal(spr_fake_wakes(&fake, 1), 1);
	assert_int_equal(spr_notifications_in_flight(&pool), 2);
	assert_int_equal(spr_notifications_oldest_ns(&pool), 7);
	assert_ptr_equal(spr_notification_take(&pool, 1), taken[3]);
	assert_ptr_equal(spr_notification_take(&pool, 0), taken[1]);
	spr_notifications_fini(&pool);
}

/* More dispatchers than shards, and than records. */
static void
test_any_number_of_dispatchers(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	for (unsigned capacity = 1; capacity < 20; capacity++)
		for (unsigned n = 1; n < 20; n++) {
			assert_ok(spr_notifications_init(&pool, capacity, n, &fake.waiters));
			for (unsigned i = 0; i < capacity; i++)
				assert_non_null(spr_notification_take(&pool, i % n));
			for (unsigned i = 0; i < n; i++)
				assert_null(spr_notification_take(&pool, i));
			assert_int_equal(spr_notifications_in_flight(&pool), capacity);
			spr_notifications_fini(&pool);
		}
}

static void
test_release_tells_the_last_one(void **state)
{
	spr_notification notification = {0};

	(void)state;
	spr_notification_open(&notification, 6, 0);
	assert_false(spr_notification_release(&notification, 1, 0));
	assert_false(spr_notification_release(&notification, 3, 0));
	assert_false(spr_notification_release(&notification, 1, 0));
	assert_true(spr_notification_release(&notification, 1, 0));
	spr_notification_open(&notification, 4, 0);
	assert_true(spr_notification_release(&notification, 4, 0));
	/* pushes and receipts end in any order */
	spr_notification_open(&notification, 2, 2);
	assert_false(spr_notification_release(&notification, 2, 0));
	assert_false(spr_notification_release(&notification, 0, 1));
	assert_true(spr_notification_release(&notification, 0, 1));
	spr_notification_open(&notification, 3, UINT32_MAX);
	assert_false(spr_notification_release(&notification, 0, UINT32_MAX));
	assert_false(spr_notification_release(&notification, 2, 0));
	assert_true(spr_notification_release(&notification, 1, 0));
	spr_notification_open(&notification, 1, 1);
	assert_true(spr_notification_release(&notification, 1, 1));
}

static void
test_the_first_reason_wins(void **state)
{
	spr_notification notification = {0};

	(void)state;
	assert_int_equal(spr_notification_failure(&notification), SPREADER_REASON_NONE);
	spr_notification_fail(&notification, SPREADER_REASON_PUSH_FAILED);
	spr_notification_fail(&notification, SPREADER_REASON_OVERLOAD);
	assert_int_equal(spr_notification_failure(&notification), SPREADER_REASON_PUSH_FAILED);
	/* but what a worker reported wins */
	spr_notification_fail(&notification, SPREADER_REASON_RECEIPT_ERROR);
	spr_notification_fail(&notification, SPREADER_REASON_RECEIPT_TIMEOUT);
	assert_int_equal(spr_notification_failure(&notification), SPREADER_REASON_RECEIPT_ERROR);
}

static void
test_no_memory(void **state)
{
	spr_fake_waiters fake;
	spr_notifications pool;

	(void)state;
	spr_fake_waiters_init(&fake, 1);
	spr_mem_fail_at(1);
	assert_fails(spr_notifications_init(&pool, CAPACITY, 1, &fake.waiters), SPR_E_NOMEM);
	assert_int_equal(spr_mem_count(), 1); /* all in one piece */
	spr_mem_fail_at(0);
	spr_notifications_fini(&pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_record_once),
	    cmocka_unit_test(test_a_record_back_wakes_who_waits_for_one),
	    cmocka_unit_test(test_many_go_back_together),
	    cmocka_unit_test(test_dispatchers_take_their_own_first),
	    cmocka_unit_test(test_any_number_of_dispatchers),
	    cmocka_unit_test(test_release_tells_the_last_one),
	    cmocka_unit_test(test_the_first_reason_wins),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

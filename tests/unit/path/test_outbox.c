/*
 * test_outbox - slots, bytes, wake-ups and pending counts of posted jobs, one a message.
 */
#include "outbox_scene.h"

#include "base/clock.h"

static void
test_a_job_is_prefix_payload_and_brace(void **state)
{
	scene s;
	spr_notification *notification;
	spr_job job = {.prefix = PREFIX, .prefix_len = strlen(PREFIX)};
	uint64_t posted = spr_counter_sum(SPR_C_JOBS_POSTED);
	uint64_t bytes = spr_counter_sum(SPR_C_JOB_BYTES);
	char *text;

	(void)state;
	open_scene(&s);
	notification = take(&s, 1);
	job.payload = (const uint8_t *)"{\"x\":1}, and what follows";
	job.payload_len = strlen("{\"x\":1}");
	assert_int_equal(spr_outbox_post(s.lane[1], &job, notification), SPR_POST_OK);
	assert_int_equal(spr_outbox_bytes(s.outbox), strlen(PREFIX "{\"x\":1}}"));
	assert_int_equal(spr_outbox_taken(s.outbox), 0);
	assert_false(spr_outbox_is_idle(s.outbox));
	assert_null(spr_fake_end(0, SPR_OK)); /* it is in the lane that was named */
	assert_non_null(text = spr_fake_end(1, SPR_OK));
	assert_string_equal(text, PREFIX "{\"x\":1}}");
	free(text);
	assert_int_equal(spr_outbox_taken(s.outbox), 1);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_POSTED) - posted, 1);
	assert_int_equal(spr_counter_sum(SPR_C_JOB_BYTES) - bytes, strlen(PREFIX "{\"x\":1}}"));
	release(&s, notification, 1);
	close_scene(&s);
}

static void
test_no_slot_blocks_and_half_a_lane_wakes(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT);
	spr_outbox_config config;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.max_bytes = SIZE_MAX;
	assert_ok(spr_outbox_new(&s.outbox, &config));
	for (unsigned d = 0; d < 2; d++)
		assert_ok(spr_outbox_lane_open(&s.lane[d], s.outbox, d));
	notification = take(&s, SPR_OUTBOX_SLOTS);
	for (unsigned i = 0; i < SPR_OUTBOX_SLOTS; i++)
		assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 0), 0);
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 0), SPR_WANT_SLOT);
	assert_int_equal(spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT) - waits, 1);
	assert_int_equal(spr_outbox_bytes(s.outbox), 30 * SPR_OUTBOX_SLOTS);
	spr_waiter_want(&s.dispatchers.waiter[1], SPR_WANT_SLOT); /* of its own lane */

	for (unsigned left = SPR_OUTBOX_SLOTS - 1; left > SPR_OUTBOX_SLOTS / 2; left--) {
		free(spr_fake_end(0, SPR_OK));
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	}
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 0);
	spr_waiter_clear(&s.dispatchers.waiter[0]);
	spr_fake_end_all(0, SPR_OK);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	release(&s, notification, 1);
	close_scene(&s);
}

/* Workers that stand still have more than half of the lane: the others' slots come back, and are enough. */
static void
test_what_stands_still_is_not_waited_for(void **state)
{
	const uint64_t t = SPR_NS_PER_S, ms = SPR_NS_PER_MS;
	scene s;
	spr_notification *notification;
	spr_outbox_config config;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.max_bytes = SIZE_MAX;
	assert_ok(spr_outbox_new(&s.outbox, &config));
	for (unsigned d = 0; d < 2; d++)
		assert_ok(spr_outbox_lane_open(&s.lane[d], s.outbox, d));
	notification = take(&s, SPR_OUTBOX_SLOTS + 10);
	for (unsigned i = 0; i < SPR_OUTBOX_SLOTS; i++)
		assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_BLOCKED);
	for (unsigned i = 0; i < 10; i++)
		free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	assert_int_equal(spr_outbox_look_again(s.lane[0], t), t + 20 * ms);
	assert_int_equal(spr_outbox_look_again(s.lane[0], t + 19 * ms), t + 20 * ms);
	assert_int_equal(spr_outbox_look_again(s.lane[0], t + 20 * ms), t + 20 * ms); /* now */
	spr_waiter_clear(&s.dispatchers.waiter[0]);
	assert_int_equal(spr_outbox_look_again(s.lane[0], t + 21 * ms), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	spr_waiter_want(&s.dispatchers.waiter[0], SPR_WANT_SLOT);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
		free(spr_fake_end(0, SPR_OK));
	}
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1); /* half of what moves */
	/* what is known is forgotten in time, or as soon as it cannot be */
	assert_int_equal(spr_outbox_look_again(s.lane[0], t + 30 * ms), t + 50 * ms);
	assert_int_equal(spr_outbox_look_again(s.lane[0], 3 * t), 3 * t);
	assert_int_equal(spr_outbox_look_again(s.lane[0], 3 * t + 1), 0);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_outbox_look_again(s.lane[0], 3 * t + 1), 3 * t + 1 + 20 * ms);
	spr_waiter_clear(&s.dispatchers.waiter[0]);
	spr_fake_end_all(0, SPR_OK);
	release(&s, notification, 1);
	close_scene(&s);
}

/* Says that there is no room, and all sends end at that very moment, before anybody has asked to be woken. */
static unsigned
room_that_comes_late(spr_push_lane *lane)
{
	unsigned room = spr_transport_fake.lane_room(lane);

	if (room == 0)
		spr_fake_end_all(0, SPR_OK);
	return (room);
}

static void
test_slots_that_come_back_unnoticed_are_found(void **state)
{
	scene s;
	spr_transport transport = spr_transport_fake;
	spr_notification *notification;
	spr_outbox_config config;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.max_bytes = SIZE_MAX;
	config.transport = &transport;
	transport.lane_room = room_that_comes_late;
	assert_ok(spr_outbox_new(&s.outbox, &config));
	assert_ok(spr_outbox_lane_open(&s.lane[0], s.outbox, 0));
	notification = take(&s, SPR_OUTBOX_SLOTS + 1);
	for (unsigned i = 0; i <= SPR_OUTBOX_SLOTS; i++)
		assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	assert_int_equal(spr_fake_busy(0), 1);
	spr_fake_end_all(0, SPR_OK);
	release(&s, notification, 1);
	close_scene(&s);
}

static void
test_no_bytes_blocks_and_every_end_wakes(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES);

	(void)state;
	open_scene(&s);
	notification = take(&s, 3);
	assert_int_equal(post(&s, 0, notification, MAX_BYTES / 2), SPR_POST_OK);
	assert_int_equal(post(&s, 0, notification, MAX_BYTES / 2), SPR_POST_OK);
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_BLOCKED);
	assert_int_equal(post(&s, 1, notification, 30), SPR_POST_BLOCKED);
	assert_int_equal(spr_outbox_bytes(s.outbox), MAX_BYTES);
	for (unsigned d = 0; d < 2; d++)
		assert_int_equal(spr_fake_wants(&s.dispatchers, d), SPR_WANT_BYTES);
	assert_int_equal(spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES) - waits, 2);
	free(spr_fake_end(0, SPR_OK));
	for (unsigned d = 0; d < 2; d++)
		assert_int_equal(spr_fake_wakes(&s.dispatchers, d), 1);
	assert_int_equal(post(&s, 1, notification, MAX_BYTES / 2 + 1), SPR_POST_BLOCKED);
	assert_int_equal(post(&s, 1, notification, MAX_BYTES / 2), SPR_POST_OK);
	for (unsigned d = 0; d < 2; d++)
		free(spr_fake_end(d, SPR_OK));
	release(&s, notification, 1);
	close_scene(&s);
}

static void
test_a_job_larger_than_the_budget_goes_alone(void **state)
{
	scene s;
	spr_notification *notification;

	(void)state;
	open_scene(&s);
	notification = take(&s, 3);
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	assert_int_equal(post(&s, 0, notification, 2 * MAX_BYTES), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 0), SPR_WANT_BYTES);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1);
	assert_int_equal(post(&s, 0, notification, 2 * MAX_BYTES), SPR_POST_OK);
	assert_int_equal(spr_outbox_bytes(s.outbox), 2 * MAX_BYTES);
	assert_int_equal(post(&s, 1, notification, 30), SPR_POST_BLOCKED);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(post(&s, 1, notification, 30), SPR_POST_OK);
	free(spr_fake_end(1, SPR_OK));
	release(&s, notification, 1);
	close_scene(&s);
}

static void
test_a_failed_send_fails_its_notification_only(void **state)
{
	scene s;
	spr_notification *failed, *fine;
	uint64_t n_failed = spr_counter_sum(SPR_C_JOBS_FAILED);

	(void)state;
	open_scene(&s);
	failed = take(&s, 3);
	fine = take(&s, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(post(&s, 0, failed, 30), SPR_POST_OK);
	assert_int_equal(post(&s, 0, fine, 30), SPR_POST_OK);
	release(&s, failed, 1);
	release(&s, fine, 1);
	free(spr_fake_end(0, SPR_OK));
	free(spr_fake_end(0, SPR_E_CLOSED));
	assert_int_equal(spr_notification_failure(failed), SPREADER_REASON_PUSH_FAILED);
	assert_int_equal(atomic_load(&failed->pending), 1);
	assert_int_equal(spr_notifications_in_flight(&s.pool), 2);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(atomic_load(&failed->pending), 0);
	assert_int_equal(spr_notifications_in_flight(&s.pool), 1);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_notification_failure(fine), SPREADER_REASON_NONE);
	assert_int_equal(spr_outbox_taken(s.outbox), 3);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_FAILED) - n_failed, 1);
	close_scene(&s);
}

static void
test_an_aborted_lane_fails_for_the_reason_given(void **state)
{
	scene s;
	spr_notification *first, *second;

	(void)state;
	open_scene(&s);
	first = take(&s, 2);
	second = take(&s, 1);
	assert_int_equal(post(&s, 0, first, 30), SPR_POST_OK);
	assert_int_equal(post(&s, 0, first, 30), SPR_POST_OK);
	assert_int_equal(post(&s, 1, second, 30), SPR_POST_OK);
	spr_outbox_abort(s.lane[0], SPREADER_REASON_SHUTTING_DOWN);
	for (unsigned d = 0; d < 2; d++) /* lane 1 was not aborted */
		spr_fake_end_all(d, SPR_OK);
	release(&s, first, 1);
	release(&s, second, 1);
	assert_int_equal(spr_notification_failure(first), SPREADER_REASON_SHUTTING_DOWN);
	assert_int_equal(spr_notification_failure(second), SPREADER_REASON_NONE);
	assert_int_equal(spr_outbox_taken(s.outbox), 1);
	close_scene(&s);
}

/* The count is the caller's to give back; the bytes are free again, and who waits for them is told. */
static void
test_no_memory_for_a_job(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t n_failed = spr_counter_sum(SPR_C_JOBS_FAILED);

	(void)state;
	open_scene(&s);
	notification = take(&s, 2);
	spr_waiter_want(&s.dispatchers.waiter[1], SPR_WANT_BYTES);
	spr_fake_refuse_outs(true);
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_FAILED);
	spr_fake_refuse_outs(false);
	assert_int_equal(spr_outbox_bytes(s.outbox), 0);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 1);
	assert_int_equal(spr_notification_failure(notification), SPREADER_REASON_OVERLOAD);
	assert_int_equal(atomic_load(&notification->pending), 3);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_FAILED) - n_failed, 1);
	/* the others are still tried */
	assert_int_equal(post(&s, 0, notification, 30), SPR_POST_OK);
	free(spr_fake_end(0, SPR_OK));
	release(&s, notification, 2);
	assert_int_equal(spr_notification_failure(notification), SPREADER_REASON_OVERLOAD);
	close_scene(&s);
}

static void
test_endpoints_pipes_and_flush(void **state)
{
	scene s;
	char bound[SPR_URL_MAX];
	uint64_t added = spr_counter_sum(SPR_C_PIPES_ADDED_OUTBOX);
	uint64_t removed = spr_counter_sum(SPR_C_PIPES_REMOVED_OUTBOX);

	(void)state;
	open_scene(&s);
	assert_ok(spr_outbox_listen(s.outbox, "fake://here", bound));
	assert_string_equal(bound, "fake://here");
	assert_ok(spr_outbox_dial(s.outbox, "fake://there"));
	assert_int_equal(spr_outbox_peers(s.outbox), 0);
	spr_fake_push_pipe(1);
	spr_fake_push_pipe(1);
	assert_int_equal(spr_outbox_peers(s.outbox), 2);
	spr_fake_push_pipe(-1);
	assert_int_equal(spr_outbox_peers(s.outbox), 1);
	assert_int_equal(spr_counter_sum(SPR_C_PIPES_ADDED_OUTBOX) - added, 2);
	assert_int_equal(spr_counter_sum(SPR_C_PIPES_REMOVED_OUTBOX) - removed, 1);
	assert_true(spr_outbox_flush(s.outbox, 0));
	spr_fake_set_flushed(false);
	assert_false(spr_outbox_flush(s.outbox, 0));
	close_scene(&s);
	spr_outbox_free(NULL);
}

static void
test_no_memory(void **state)
{
	scene s;
	spr_outbox_config config;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	for (unsigned long n = 1; n <= 2; n++) { /* itself, the push */
		spr_mem_fail_at(n);
		assert_fails(spr_outbox_new(&s.outbox, &config), SPR_E_NOMEM);
		spr_mem_fail_at(0);
		assert_null(s.outbox);
	}
	spr_mem_fail_at(3);
	assert_ok(spr_outbox_new(&s.outbox, &config));
	for (unsigned long n = 1; n <= 2; n++) { /* itself, the push's lane */
		spr_mem_fail_at(n);
		assert_fails(spr_outbox_lane_open(&s.lane[0], s.outbox, 0), SPR_E_NOMEM);
		assert_null(s.lane[0]);
	}
	spr_mem_fail_at(3);
	assert_ok(spr_outbox_lane_open(&s.lane[0], s.outbox, 0));
	spr_mem_fail_at(0);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_job_is_prefix_payload_and_brace),
	    cmocka_unit_test(test_no_slot_blocks_and_half_a_lane_wakes),
	    cmocka_unit_test(test_what_stands_still_is_not_waited_for),
	    cmocka_unit_test(test_slots_that_come_back_unnoticed_are_found),
	    cmocka_unit_test(test_no_bytes_blocks_and_every_end_wakes),
	    cmocka_unit_test(test_a_job_larger_than_the_budget_goes_alone),
	    cmocka_unit_test(test_a_failed_send_fails_its_notification_only),
	    cmocka_unit_test(test_an_aborted_lane_fails_for_the_reason_given),
	    cmocka_unit_test(test_no_memory_for_a_job),
	    cmocka_unit_test(test_endpoints_pipes_and_flush),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

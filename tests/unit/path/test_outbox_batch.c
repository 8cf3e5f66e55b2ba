/*
 * Batches of the outbox: what goes into one message, when it is sent, and that it ends as a whole.
 */
#include "outbox_scene.h"

#include "base/clock.h"

#define BATCH  100
#define JOB(p) PREFIX p "}"
#define JOB_30 JOB("123")
_Static_assert(sizeof(JOB_30) - 1 == 30,
	       "three and their line breaks fit into a batch, four do not");

static void
open_batches(scene *s, size_t max_bytes)
{
	spr_outbox_config config;

	open_ledger(s);
	config = make_config(s);
	config.max_bytes = max_bytes;
	config.batch_bytes = BATCH;
	open_lanes(s, &config);
}

static spr_post
post_payload(scene *s, unsigned d, spr_notification *notification, const char *payload)
{
	spr_job job = {
	    .prefix = PREFIX,
	    .prefix_len = strlen(PREFIX),
	    .payload = (const uint8_t *)payload,
	    .payload_len = strlen(payload),
	};

	return (spr_outbox_post(s->lane[d], &job, notification));
}

static void
post_30(scene *s, unsigned d, spr_notification *notification)
{
	assert_int_equal(post_payload(s, d, notification, "123"), SPR_POST_OK);
}

static void
expect_message(unsigned d, spr_err result, const char *expected)
{
	char *text = spr_fake_end(d, result);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void
test_jobs_are_lines_of_a_message_that_is_full(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t posted = spr_counter_sum(SPR_C_JOBS_POSTED);
	uint64_t bytes = spr_counter_sum(SPR_C_JOB_BYTES);

	(void)state;
	open_batches(&s, MAX_BYTES);
	notification = take(&s, 4);
	for (unsigned i = 0; i < 3; i++)
		post_30(&s, 0, notification);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_true(spr_outbox_has_batch(s.lane[0]));
	assert_false(spr_outbox_has_batch(s.lane[1]));
	assert_int_equal(spr_outbox_lane_out(s.lane[0]), 0);
	assert_int_equal(post_payload(&s, 0, notification, "5"),
			 SPR_POST_OK); /* over it by a few */
	assert_int_equal(spr_fake_busy(0), 1);
	assert_int_equal(spr_outbox_lane_out(s.lane[0]), 1);
	expect_message(0, SPR_OK, JOB_30 "\n" JOB_30 "\n" JOB_30);
	assert_int_equal(spr_outbox_taken(s.outbox), 1);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_POSTED) - posted, 3);
	assert_int_equal(spr_counter_sum(SPR_C_JOB_BYTES) - bytes, 90);
	assert_int_equal(atomic_load(&notification->pending), 2);
	spr_outbox_send_batch(s.lane[0]);
	assert_false(spr_outbox_has_batch(s.lane[0]));
	spr_outbox_send_batch(s.lane[0]); /* nothing to send */
	expect_message(0, SPR_OK, JOB("5"));
	assert_null(spr_fake_end(0, SPR_OK));
	release(&s, notification, 1);
	close_scene(&s);
}

/* To the byte: what fits goes in. */
static void
test_a_message_of_just_so_many_bytes(void **state)
{
	scene s;
	spr_notification *notification;

	(void)state;
	open_batches(&s, MAX_BYTES);
	notification = take(&s, 4);
	post_30(&s, 0, notification);
	post_30(&s, 0, notification);
	assert_int_equal(post_payload(&s, 0, notification, "12345678901"), SPR_POST_OK);
	assert_int_equal(spr_fake_busy(0), 0);
	post_30(&s, 0, notification);
	expect_message(0, SPR_OK, JOB_30 "\n" JOB_30 "\n" JOB("12345678901"));
	spr_outbox_send_batch(s.lane[0]);
	expect_message(0, SPR_OK, JOB_30);
	release(&s, notification, 1);
	close_scene(&s);
}

/* The longer one does not wait for company, the ones before it do not wait for it. */
static void
test_a_longer_job_goes_alone(void **state)
{
	scene s;
	spr_notification *notification;
	char payload[2 * BATCH] = {0}, expected[3 * BATCH];

	(void)state;
	open_batches(&s, MAX_BYTES);
	memset(payload, '7', sizeof(payload) - 1);
	snprintf(expected, sizeof(expected), JOB("%s"), payload);
	notification = take(&s, 3);
	post_30(&s, 0, notification);
	assert_int_equal(post_payload(&s, 0, notification, payload), SPR_POST_OK);
	post_30(&s, 0, notification);
	spr_outbox_send_batch(s.lane[0]);
	expect_message(0, SPR_OK, JOB_30);
	expect_message(0, SPR_OK, expected);
	expect_message(0, SPR_OK, JOB_30);
	release(&s, notification, 1);
	close_scene(&s);
}

/* While turns follow and bring jobs it stays open; the last turn, or one that brings none, sends it. */
static void
test_the_end_of_a_turn(void **state)
{
	scene s;
	spr_notification *notification;

	(void)state;
	open_batches(&s, MAX_BYTES);
	notification = take(&s, 3);
	spr_outbox_end_turn(s.lane[0], false);
	post_30(&s, 0, notification);
	spr_outbox_end_turn(s.lane[0], true);
	assert_int_equal(spr_fake_busy(0), 0);
	post_30(&s, 0, notification);
	spr_outbox_end_turn(s.lane[0], true);
	assert_int_equal(spr_fake_busy(0), 0);
	spr_outbox_end_turn(s.lane[0], true);
	expect_message(0, SPR_OK, JOB_30 "\n" JOB_30);
	post_30(&s, 0, notification);
	spr_outbox_end_turn(s.lane[0], false);
	expect_message(0, SPR_OK, JOB_30);
	release(&s, notification, 1);
	close_scene(&s);
}

/* Each notification gets its own counts, whatever else is in the message. */
static void
test_a_failed_batch_fails_all_that_is_in_it(void **state)
{
	scene s;
	spr_notification *a, *b, *other;
	uint64_t n_failed = spr_counter_sum(SPR_C_JOBS_FAILED);
	uint64_t nacked = spr_counter_sum(SPR_C_NACKED_PUSH_FAILED);

	(void)state;
	open_batches(&s, MAX_BYTES);
	a = take(&s, 3);
	b = take(&s, 1);
	other = take(&s, 1);
	post_30(&s, 0, a);
	post_30(&s, 0, b);
	post_30(&s, 0, a);
	post_30(&s, 0, a); /* in the next message */
	post_30(&s, 1, other);
	spr_outbox_send_batch(s.lane[0]);
	spr_outbox_send_batch(s.lane[1]);
	release(&s, a, 1);
	release(&s, b, 1);
	release(&s, other, 1);
	expect_message(0, SPR_E_CLOSED, JOB_30 "\n" JOB_30 "\n" JOB_30);
	assert_int_equal(spr_notification_failure(a), SPREADER_REASON_PUSH_FAILED);
	assert_int_equal(spr_notification_failure(b), SPREADER_REASON_PUSH_FAILED);
	assert_int_equal(atomic_load(&a->pending), 1);
	assert_int_equal(spr_notifications_in_flight(&s.pool), 2);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_FAILED) - n_failed, 3);
	assert_int_equal(spr_outbox_taken(s.outbox), 0);
	expect_message(0, SPR_OK, JOB_30);
	expect_message(1, SPR_OK, JOB_30);
	assert_int_equal(spr_counter_sum(SPR_C_NACKED_PUSH_FAILED) - nacked, 2);
	close_scene(&s);
}

/* What is still open is aborted too. */
static void
test_an_abort_takes_the_open_batch_along(void **state)
{
	scene s;
	spr_notification *notification;

	(void)state;
	open_batches(&s, MAX_BYTES);
	notification = take(&s, 2);
	post_30(&s, 0, notification);
	post_30(&s, 0, notification);
	spr_outbox_abort(s.lane[0], SPREADER_REASON_SHUTTING_DOWN);
	assert_false(spr_outbox_has_batch(s.lane[0]));
	expect_message(0, SPR_OK, JOB_30 "\n" JOB_30);
	release(&s, notification, 1);
	assert_int_equal(spr_notification_failure(notification), SPREADER_REASON_SHUTTING_DOWN);
	close_scene(&s);
}

static void
test_slots_are_messages(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT);

	(void)state;
	open_batches(&s, SIZE_MAX);
	notification = take(&s, 3 * SPR_OUTBOX_SLOTS);
	for (unsigned i = 0; i < 3 * SPR_OUTBOX_SLOTS; i++)
		post_30(&s, 0, notification);
	assert_int_equal(spr_fake_busy(0), SPR_OUTBOX_SLOTS - 1);
	/* it does not fit: what is collected goes first, so nothing waits unsent */
	assert_int_equal(post_payload(&s, 0, notification, "123"), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_busy(0), SPR_OUTBOX_SLOTS);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 0), SPR_WANT_SLOT);
	assert_int_equal(spr_counter_sum(SPR_C_DISPATCHER_WAITS_SLOT) - waits, 1);
	for (unsigned left = SPR_OUTBOX_SLOTS - 1; left > SPR_OUTBOX_SLOTS / 2; left--) {
		free(spr_fake_end(0, SPR_OK));
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 0);
	}
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 0), 1);
	spr_waiter_clear(&s.dispatchers.waiter[0]);
	spr_fake_end_all(0, SPR_OK);
	assert_int_equal(atomic_load(&notification->pending), 1);
	release(&s, notification, 1);
	close_scene(&s);
}

/* However many slots there are: a small job is not to wait behind all that full batches can hold. */
static void
test_bytes_that_are_out_have_a_limit(void **state)
{
	enum { N = 64 << 10, LEN = 60000, MAX_OUT = 5 }; /* the fifth is begun at 240,000 */
	const uint64_t t = SPR_NS_PER_S;
	scene s;
	spr_outbox_config config;
	spr_notification *notification;
	char *payload = malloc(LEN);
	unsigned n_ended = 0;

	(void)state;
	assert_non_null(payload);
	memset(payload, '1', LEN);
	payload[LEN - strlen(PREFIX) - 1] = '\0';
	open_ledger(&s);
	config = make_config(&s);
	config.max_bytes = SIZE_MAX;
	config.batch_bytes = N;
	open_lanes(&s, &config);
	notification = take(&s, 100);
	for (unsigned i = 0; i < MAX_OUT; i++)
		assert_int_equal(post_payload(&s, 0, notification, payload), SPR_POST_OK);
	assert_int_equal(spr_fake_busy(0), MAX_OUT - 1);
	assert_int_equal(post_payload(&s, 0, notification, payload), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_busy(0), MAX_OUT);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 0), SPR_WANT_SLOT);
	assert_int_equal(post_payload(&s, 1, notification, payload), SPR_POST_OK); /* its own */
	while (spr_fake_wakes(&s.dispatchers, 0) == 0) {
		free(spr_fake_end(0, SPR_OK));
		n_ended++;
	}
	assert_int_equal(n_ended, 3); /* 120,000 are out: less than half */
	/* two stand still, and as much as before goes past them */
	assert_int_equal(spr_outbox_look_again(s.lane[0], t), t + 20 * SPR_NS_PER_MS);
	assert_int_equal(spr_outbox_look_again(s.lane[0], 2 * t), 2 * t);
	for (unsigned i = 0; i < MAX_OUT; i++)
		assert_int_equal(post_payload(&s, 0, notification, payload), SPR_POST_OK);
	assert_int_equal(post_payload(&s, 0, notification, payload), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_busy(0), 2 + MAX_OUT);
	spr_outbox_send_batch(s.lane[1]);
	for (unsigned d = 0; d < 2; d++)
		spr_fake_end_all(d, SPR_OK);
	release(&s, notification, 100 + 1 - 2 * MAX_OUT - 1);
	free(payload);
	close_scene(&s);
}

/* The budget counts what messages are made with. What is left of it makes a small one. */
static void
test_bytes_are_those_of_the_message(void **state)
{
	scene s;
	spr_notification *notification;
	uint64_t waits = spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES);

	(void)state;
	open_batches(&s, BATCH + 70);
	notification = take(&s, 5);
	post_30(&s, 0, notification);
	assert_int_equal(spr_outbox_bytes(s.outbox), BATCH);
	post_30(&s, 1, notification);
	assert_int_equal(spr_outbox_bytes(s.outbox), BATCH + 30);
	assert_int_equal(spr_fake_wants(&s.dispatchers, 1), 0);
	post_30(&s, 1, notification);
	assert_int_equal(spr_fake_busy(1), 1);
	assert_int_equal(post_payload(&s, 1, notification, "123"), SPR_POST_BLOCKED);
	assert_int_equal(spr_fake_busy(1), 2); /* nothing that could be sent is kept */
	assert_int_equal(spr_fake_wants(&s.dispatchers, 1), SPR_WANT_BYTES);
	assert_int_equal(spr_counter_sum(SPR_C_DISPATCHER_WAITS_BYTES) - waits, 1);
	spr_outbox_send_batch(s.lane[0]);
	expect_message(0, SPR_OK, JOB_30);
	assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 1);
	post_30(&s, 1, notification);
	spr_outbox_send_batch(s.lane[1]);
	spr_fake_end_all(1, SPR_OK);
	release(&s, notification, 2);
	close_scene(&s);
}

/* Many short jobs: what is noted of them grows. */
static void
test_more_jobs_than_were_ever_noted(void **state)
{
	scene s;
	spr_outbox_config config;
	spr_notification *a, *b;
	unsigned n = 200;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.max_bytes = SIZE_MAX;
	config.batch_bytes = n * 31;
	open_lanes(&s, &config);
	a = take(&s, n / 2);
	b = take(&s, n / 2);
	for (unsigned i = 0; i < n; i++)
		post_30(&s, 0, i % 2 ? a : b);
	assert_int_equal(spr_fake_busy(0), 0);
	spr_outbox_send_batch(s.lane[0]);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(atomic_load(&a->pending), 1);
	assert_int_equal(atomic_load(&b->pending), 1);
	release(&s, a, 1);
	release(&s, b, 1);
	close_scene(&s);
}

/* Without memory for a message its first job fails; without memory for what is noted, the message goes as it is. */
static void
test_no_memory_for_a_batch(void **state)
{
	scene s;
	spr_outbox_config config;
	spr_notification *notification;
	uint64_t n_failed = spr_counter_sum(SPR_C_JOBS_FAILED);

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.batch_bytes = MAX_BYTES * 10;
	config.max_bytes = SIZE_MAX;
	open_lanes(&s, &config);
	notification = take(&s, 36);
	spr_waiter_want(&s.dispatchers.waiter[1], SPR_WANT_BYTES);
	for (unsigned long n = 1; n <= 2; n++) { /* what is noted, the message */
		spr_mem_fail_at(n);
		assert_int_equal(post_payload(&s, 0, notification, "1"), SPR_POST_FAILED);
		spr_mem_fail_at(0);
		assert_int_equal(spr_outbox_bytes(s.outbox), 0);
		assert_int_equal(spr_fake_wakes(&s.dispatchers, 1), 1);
	}
	assert_int_equal(spr_notification_failure(notification), SPREADER_REASON_OVERLOAD);
	assert_int_equal(spr_counter_sum(SPR_C_JOBS_FAILED) - n_failed, 2);
	for (unsigned i = 0; i < 32; i++)
		post_30(&s, 0, notification);
	assert_int_equal(spr_fake_busy(0), 0);
	spr_mem_fail_at(1);
	assert_int_equal(post_payload(&s, 0, notification, "1"), SPR_POST_FAILED);
	spr_mem_fail_at(0);
	assert_int_equal(spr_fake_busy(0), 1); /* the 32 */
	post_30(&s, 0, notification);
	spr_outbox_send_batch(s.lane[0]);
	spr_fake_end_all(0, SPR_OK);
	release(&s, notification, 4);
	close_scene(&s);
}

static void
test_no_memory_for_lanes(void **state)
{
	scene s;
	spr_outbox_config config;

	(void)state;
	open_ledger(&s);
	config = make_config(&s);
	config.batch_bytes = BATCH;
	assert_ok(spr_outbox_new(&s.outbox, &config));
	for (unsigned long n = 1; n <= 3; n++) { /* itself, the batches, the push's lane */
		spr_mem_fail_at(n);
		assert_fails(spr_outbox_lane_open(&s.lane[0], s.outbox, 0), SPR_E_NOMEM);
		assert_null(s.lane[0]);
	}
	spr_mem_fail_at(0);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_jobs_are_lines_of_a_message_that_is_full),
	    cmocka_unit_test(test_a_message_of_just_so_many_bytes),
	    cmocka_unit_test(test_a_longer_job_goes_alone),
	    cmocka_unit_test(test_the_end_of_a_turn),
	    cmocka_unit_test(test_a_failed_batch_fails_all_that_is_in_it),
	    cmocka_unit_test(test_an_abort_takes_the_open_batch_along),
	    cmocka_unit_test(test_slots_are_messages),
	    cmocka_unit_test(test_bytes_that_are_out_have_a_limit),
	    cmocka_unit_test(test_bytes_are_those_of_the_message),
	    cmocka_unit_test(test_more_jobs_than_were_ever_noted),
	    cmocka_unit_test(test_no_memory_for_a_batch),
	    cmocka_unit_test(test_no_memory_for_lanes),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

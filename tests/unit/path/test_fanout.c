/*
 * Fan-outs by hand: slices, blocks in the middle of one, failures, and who holds what at each moment.
 */
#include "path_scene.h"

#include "base/mem.h"
#include "route/callbacks.h"

#define LANE 1 /* the fan-out's own; lane 0 is the dispatcher's */

typedef struct opened {
	scene *s;
	spr_epoch_record *record;
	spr_outbox_lane *lane;
	spr_fanout_env env;
	spr_fanout fanout;
	spr_notification *notification;
	spr_callback *first, *last; /* callbacks; the index interns them */
} opened;

static void
resolve(opened *o)
{
	spr_predicate predicate;

	assert_ok(spr_predicate_normalise(&predicate, "UN", 2));
	assert_ok(spr_subscriptions_resolve(o->s->subscriptions, o->record, &predicate,
					    spr_clock_wall_s(), 1000000, &o->fanout.matches));
}

/* A fan-out of n jobs with nobody to answer, so that its record is free as soon as it is done. */
static opened *
opened_new(unsigned n, size_t outbox_bytes)
{
	opened *o = calloc(1, sizeof(*o));
	spr_document document = {.payload = {(const uint8_t *)"{}", 2}};

	assert_non_null(o);
	o->s = scene_open((scene_wants){.outbox_bytes = outbox_bytes});
	o->env = o->s->fanouts;
	assert_ok(spr_outbox_lane_open(&o->lane, o->s->outbox, 0));
	assert_ok(spr_epoch_register(o->s->epoch, &o->record));
	subscribe_many(o->s, "UN", n);
	resolve(o);
	assert_int_equal(o->fanout.matches.n, n);
	o->first = o->fanout.matches.callback[0];
	o->last = o->fanout.matches.callback[n - 1];
	assert_ok(spr_fanout_set_payload(&o->fanout, &document, true, false, 100));
	o->notification = spr_notification_take(&o->s->notifications, 0);
	o->notification->entry = SPR_ANSWER_NONE;
	o->notification->upstream = SPR_UPSTREAM_NONE;
	o->fanout.notification = o->notification;
	o->fanout.message = spr_fake_buf("{}", 2);
	assert_true(spr_fanout_open(&o->fanout, &o->env));
	return (o);
}

static void
opened_free(opened *o)
{
	assert_int_equal(spr_notifications_in_flight(&o->s->notifications), 0);
	assert_int_equal(atomic_load(&o->first->refs), 1); /* the index's own */
	assert_int_equal(atomic_load(&o->last->refs), 1);
	spr_fanout_fini(&o->fanout);
	spr_epoch_unregister(o->record);
	scene_close(o->s);
	free(o);
}

static spr_slice
post(opened *o, unsigned max)
{
	return (spr_fanout_post(&o->fanout, &o->env, o->lane, max));
}

static unsigned
pending(const opened *o)
{
	return (atomic_load(&o->notification->pending));
}

static bool
is_in_flight(const opened *o)
{
	return (spr_notifications_in_flight(&o->s->notifications) == 1);
}

static void
payload_of_a_document(void **state)
{
	static const uint8_t text[] = "{\"a\":\"b\"}";
	spr_fanout fanout = {0};
	spr_document document = {.payload = {text, sizeof(text) - 1}};
	(void)state;

	assert_ok(spr_fanout_set_payload(&fanout, &document, true, false, 0));
	assert_ptr_equal(fanout.payload.at, text);
	document.payload_is_message = true;
	assert_ok(spr_fanout_set_payload(&fanout, &document, false, false, 0));
	assert_ptr_equal(fanout.payload.at, text);
	assert_int_equal(fanout.payload.len, 9);
	assert_null(fanout.encoded);

	assert_ok(spr_fanout_set_payload(&fanout, &document, true, false, 15));
	assert_int_equal(fanout.payload.len, 15);
	assert_memory_equal(fanout.payload.at, "\"{\\\"a\\\":\\\"b\\\"}\"", 15);
	fanout.matches.longest_prefix = 20;
	assert_int_equal(spr_fanout_longest_job(&fanout), 20 + 15 + 1);
	spr_fanout_fini(&fanout);
}

static void
payload_on_one_line(void **state)
{
	static const uint8_t plain[] = "{\"a\":\t\"b\"}", broken[] = "[1,\n2\r]";
	spr_fanout fanout = {0};
	spr_document document = {.payload = {plain, sizeof(plain) - 1}};
	(void)state;

	assert_ok(spr_fanout_set_payload(&fanout, &document, false, true, 0));
	assert_ptr_equal(fanout.payload.at, plain);
	document.payload = (spr_range){broken, sizeof(broken) - 1};
	spr_mem_fail_at(1);
	assert_fails(spr_fanout_set_payload(&fanout, &document, false, true, 0), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_ok(spr_fanout_set_payload(&fanout, &document, false, true, 0));
	assert_int_equal(fanout.payload.len, 7);
	assert_memory_equal(fanout.payload.at, "[1, 2 ]", 7);
	spr_fanout_fini(&fanout);
}

/* What is too large is refused before it takes memory, and memory that is there is used again. */
static void
memory_of_a_payload(void **state)
{
	spr_fanout fanout = {0};
	spr_document document = {.payload_is_message = true,
				 .payload = {(const uint8_t *)"[1,2]", 5}};
	(void)state;

	spr_mem_fail_at(0);
	assert_fails(spr_fanout_set_payload(&fanout, &document, true, false, 6), SPR_E_TOO_LARGE);
	assert_int_equal(spr_mem_count(), 0);
	spr_mem_fail_at(1);
	assert_fails(spr_fanout_set_payload(&fanout, &document, true, false, 7), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	assert_ok(spr_fanout_set_payload(&fanout, &document, true, false, 7));
	assert_int_equal(spr_mem_count(), 1);
	document.payload.len = 3;
	assert_ok(spr_fanout_set_payload(&fanout, &document, true, false, 7));
	assert_int_equal(spr_mem_count(), 1);
	assert_int_equal(fanout.payload.len, 5);
	spr_fanout_fini(&fanout);
}

static void
done_when_the_last_job_has_ended(void **state)
{
	opened *o = opened_new(3, 0);
	(void)state;

	assert_int_equal(pending(o), 4);
	assert_int_equal(o->notification->n_jobs, 3);
	assert_int_equal(post(o, 1024), SPR_SLICE_DONE);
	assert_int_equal(spr_fake_bufs(), 0); /* the message is not needed any more */
	assert_null(o->fanout.message);
	assert_int_equal(pending(o), 3);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 3);
	assert_false(is_in_flight(o));
	assert_int_equal(counted(o->s, SPR_C_ACKED_DISPATCHED), 1);
	assert_int_equal(counted(o->s, SPR_C_JOBS_POSTED), 3);
	opened_free(o);
}

static void
not_done_before_the_last_job_has_ended(void **state)
{
	opened *o = opened_new(3, 0);
	(void)state;

	assert_int_equal(post(o, 2), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 2);
	assert_true(is_in_flight(o)); /* all that was posted has ended, but not all is posted */
	assert_int_equal(pending(o), 2);
	assert_int_equal(post(o, 2), SPR_SLICE_DONE);
	assert_true(is_in_flight(o));
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 1);
	assert_false(is_in_flight(o));
	opened_free(o);
}

static void
slices_have_a_limit(void **state)
{
	opened *o = opened_new(8, 0);
	(void)state;

	assert_int_equal(post(o, 3), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_busy(LANE), 3);
	assert_int_equal(post(o, 3), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_busy(LANE), 6);
	assert_int_equal(post(o, 2), SPR_SLICE_DONE); /* the last job is the last of the slice */
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 8);
	opened_free(o);
}

/* Blocked and resumed, whatever number is taken meanwhile: each callback gets its job once. */
static void
blocked_goes_on_where_it_stopped(void **state)
{
	enum { N = 200 };
	opened *o = opened_new(N, 0);
	bool told[N] = {false};
	unsigned n_ended = 0, number;
	spr_slice slice = SPR_SLICE_BLOCKED;
	char *text;
	(void)state;

	while (n_ended < N) {
		if (slice == SPR_SLICE_BLOCKED)
			slice = post(o, 1024);
		assert_int_equal(spr_fake_busy(LANE),
				 n_ended + SPR_OUTBOX_SLOTS < N ? SPR_OUTBOX_SLOTS : N - n_ended);
		for (unsigned i = 0; i < 7 && (text = spr_fake_end(LANE, SPR_OK)) != NULL; i++) {
			assert_int_equal(
			    sscanf(text, "{\"s\":\"http://many/%u\",\"payload\":{}}", &number), 1);
			assert_true(number < N && !told[number]);
			told[number] = true;
			free(text);
			n_ended++;
		}
	}
	assert_int_equal(slice, SPR_SLICE_DONE);
	opened_free(o);
}

/* A slice is used up by jobs, not by calls. */
static void
blocked_slice_keeps_its_rest(void **state)
{
	opened *o = opened_new(250, 0);
	(void)state;

	assert_int_equal(post(o, 100), SPR_SLICE_BLOCKED);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 64);
	assert_int_equal(post(o, 100), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 36);
	assert_int_equal(post(o, 100), SPR_SLICE_BLOCKED);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 64);
	assert_int_equal(post(o, 100), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 36);
	assert_int_equal(post(o, 100), SPR_SLICE_DONE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 50);
	opened_free(o);
}

static void
blocked_by_bytes(void **state)
{
	size_t job = strlen("{\"s\":\"http://many/0\",\"payload\":{}}");
	opened *o = opened_new(4, 2 * job + job / 2);
	(void)state;

	assert_int_equal(post(o, 1024), SPR_SLICE_BLOCKED);
	assert_int_equal(spr_fake_busy(LANE), 2);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 2);
	assert_int_equal(post(o, 1024), SPR_SLICE_DONE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 2);
	opened_free(o);
}

/* The others are still tried. */
static void
job_without_memory(void **state)
{
	(void)state;
	for (unsigned bad = 0; bad < 3; bad++) {
		opened *o = opened_new(3, 0);

		for (unsigned i = 0; i < 3; i++) {
			spr_fake_refuse_outs(i == bad);
			assert_int_equal(post(o, 1), i < 2 ? SPR_SLICE_MORE : SPR_SLICE_DONE);
		}
		spr_fake_refuse_outs(false);
		assert_true(is_in_flight(o));
		assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 2);
		assert_false(is_in_flight(o));
		assert_int_equal(counted(o->s, SPR_C_NACKED_OVERLOAD), 1);
		assert_int_equal(counted(o->s, SPR_C_JOBS_FAILED), 1);
		assert_int_equal(counted(o->s, SPR_C_JOBS_POSTED), 2);
		assert_int_equal(spr_outbox_bytes(o->s->outbox), 0);
		opened_free(o);
	}
}

static void
no_memory_for_any_job(void **state)
{
	opened *o = opened_new(3, 0);
	(void)state;

	spr_fake_refuse_outs(true);
	assert_int_equal(post(o, 1024), SPR_SLICE_DONE);
	spr_fake_refuse_outs(false);
	assert_false(is_in_flight(o));
	assert_int_equal(counted(o->s, SPR_C_NACKED_OVERLOAD), 1);
	assert_int_equal(counted(o->s, SPR_C_JOBS_FAILED), 3);
	opened_free(o);
}

static void
failed_push(void **state)
{
	opened *o = opened_new(3, 0);
	char *text;
	(void)state;

	assert_int_equal(post(o, 1024), SPR_SLICE_DONE);
	text = spr_fake_end(LANE, SPR_E_CLOSED);
	free(text);
	assert_true(is_in_flight(o));
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 2);
	assert_int_equal(counted(o->s, SPR_C_NACKED_PUSH_FAILED), 1);
	assert_int_equal(counted(o->s, SPR_C_JOBS_FAILED), 1);
	opened_free(o);
}

static void
the_rest_fails_together(void **state)
{
	opened *o = opened_new(100, 0);
	(void)state;

	assert_int_equal(post(o, 1024), SPR_SLICE_BLOCKED);
	spr_fanout_fail_rest(&o->fanout, &o->env, SPREADER_REASON_SHUTTING_DOWN);
	assert_int_equal(counted(o->s, SPR_C_JOBS_FAILED), 36);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_int_equal(pending(o), 64);
	assert_true(is_in_flight(o)); /* what was posted is still out */
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 64);
	assert_false(is_in_flight(o));
	assert_int_equal(counted(o->s, SPR_C_NACKED_SHUTTING_DOWN), 1);
	opened_free(o);
}

static void
the_first_reason_counts(void **state)
{
	opened *o = opened_new(3, 0);
	(void)state;

	spr_fake_refuse_outs(true);
	assert_int_equal(post(o, 1), SPR_SLICE_MORE);
	spr_fake_refuse_outs(false);
	spr_fanout_fail_rest(&o->fanout, &o->env, SPREADER_REASON_SHUTTING_DOWN);
	assert_int_equal(counted(o->s, SPR_C_NACKED_OVERLOAD), 1);
	assert_int_equal(counted(o->s, SPR_C_NACKED_SHUTTING_DOWN), 0);
	assert_int_equal(counted(o->s, SPR_C_JOBS_FAILED), 3);
	opened_free(o);
}

/* The same fan-out again: a slice that was used in part does not shorten the next one's. */
static void
used_again(void **state)
{
	opened *o = opened_new(5, 0);
	(void)state;

	assert_int_equal(post(o, 3), SPR_SLICE_MORE);
	assert_int_equal(post(o, 3), SPR_SLICE_DONE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 5);
	resolve(o);
	o->notification = spr_notification_take(&o->s->notifications, 0);
	o->fanout.notification = o->notification;
	o->fanout.message = spr_fake_buf("{}", 2);
	assert_true(spr_fanout_open(&o->fanout, &o->env));
	assert_int_equal(post(o, 3), SPR_SLICE_MORE);
	assert_int_equal(spr_fake_busy(LANE), 3);
	assert_int_equal(post(o, 3), SPR_SLICE_DONE);
	assert_int_equal(spr_fake_end_all(LANE, SPR_OK), 5);
	opened_free(o);
}

static void
look_up_anew(opened *o)
{
	spr_predicate predicate;

	spr_matches_drop_from(o->s->subscriptions, &o->fanout.matches, 0);
	assert_ok(spr_predicate_normalise(&predicate, "UN", 2));
	assert_ok(spr_subscriptions_look_up(o->s->subscriptions, &predicate, spr_clock_wall_s(),
					    1000000, &o->fanout.matches));
	assert_int_equal(o->fanout.matches.n, 2);
	assert_int_equal(atomic_load(&o->first->refs), 1);
}

/* What is posted within the section that found it counts nothing; what stays open holds what it needs. */
static void
only_what_stays_open_is_held(void **state)
{
	opened *o = opened_new(2, strlen("{\"s\":\"http://many/0\",\"payload\":{}}"));
	spr_buf *message = o->fanout.message;
	(void)state;

	spr_epoch_enter(o->record);
	look_up_anew(o);
	assert_int_equal(post(o, 100), SPR_SLICE_BLOCKED);
	assert_int_equal(atomic_load(&o->first->refs), 1); /* it is posted */
	assert_int_equal(atomic_load(&o->last->refs), 2);
	assert_int_equal(atomic_load(&message->refs), 2);
	spr_epoch_leave(o->record);
	assert_int_equal(post(o, 100), SPR_SLICE_BLOCKED);
	assert_int_equal(atomic_load(&o->last->refs), 2);
	(void)spr_fake_end_all(LANE, SPR_OK);
	assert_int_equal(post(o, 100), SPR_SLICE_DONE);
	assert_int_equal(atomic_load(&message->refs), 1);
	(void)spr_fake_end_all(LANE, SPR_OK);
	spr_buf_drop(message);
	opened_free(o);

	o = opened_new(2, 0);
	message = o->fanout.message;
	spr_epoch_enter(o->record);
	look_up_anew(o);
	assert_int_equal(post(o, 100), SPR_SLICE_DONE);
	spr_epoch_leave(o->record);
	assert_int_equal(atomic_load(&message->refs), 1);
	(void)spr_fake_end_all(LANE, SPR_OK);
	spr_buf_drop(message);
	opened_free(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(payload_of_a_document),
	    cmocka_unit_test(payload_on_one_line),
	    cmocka_unit_test(memory_of_a_payload),
	    cmocka_unit_test(done_when_the_last_job_has_ended),
	    cmocka_unit_test(not_done_before_the_last_job_has_ended),
	    cmocka_unit_test(slices_have_a_limit),
	    cmocka_unit_test(blocked_goes_on_where_it_stopped),
	    cmocka_unit_test(blocked_slice_keeps_its_rest),
	    cmocka_unit_test(blocked_by_bytes),
	    cmocka_unit_test(job_without_memory),
	    cmocka_unit_test(no_memory_for_any_job),
	    cmocka_unit_test(failed_push),
	    cmocka_unit_test(the_rest_fails_together),
	    cmocka_unit_test(the_first_reason_counts),
	    cmocka_unit_test(used_again),
	    cmocka_unit_test(only_what_stays_open_is_held),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * When a dispatcher sends the batch of jobs it has collected: as soon as it has nothing more to do, before it waits for anything,
 * and not sooner.
 */
#include "path_scene.h"

#define BODY  "{\"predicate\":\"UN.A\"}"
#define SMALL "{\"predicate\":\"ZZ\"}"
#define BATCH 65536

static scene *
batch_scene(void)
{
	return (scene_open((scene_wants){.has_upstream = true, .batch_bytes = BATCH}));
}

/* One message of documents 0 ... n - 1. */
static void
deliver_many(unsigned n, const char *body)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; i < n; i++)
		fprintf(out, "{\"id\":\"%u\",\"body\":%s}\n", i, body);
	fclose(out);
	deliver(text);
	free(text);
}

static unsigned
lines(const char *text)
{
	unsigned n = 1;

	while ((text = strchr(text, '\n')) != NULL) {
		text++;
		n++;
	}
	return (n);
}

/* The oldest message ends; it has so many jobs. */
static void
expect_jobs(spr_err result, unsigned n)
{
	char *text = spr_fake_end(0, result);

	assert_non_null(text);
	assert_int_equal(lines(text), n);
	free(text);
}

static void
what_is_ready_goes_together(void **state)
{
	scene *s = batch_scene();
	(void)state;

	subscribe_many(s, "UN.A", 3);
	subscribe(s, "ZZ", "http://small");
	deliver_many(2, BODY);
	deliver_envelope("x", SMALL);
	assert_int_equal(turn(s), 3);
	assert_int_equal(spr_fake_busy(0), 1);
	assert_true(are_idle(s));
	expect_jobs(SPR_OK, 7);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 3);
	assert_int_equal(counted(s, SPR_C_JOBS_POSTED), 7);
	scene_close(s);
}

static void
a_batch_goes_on_over_turns(void **state)
{
	scene *s = batch_scene();
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver_many(2 * SPR_TURN_DOCUMENTS, BODY);
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_false(are_idle(s));
	/* the turn ends with the last document, and it cannot know that it is: the next one finds nothing */
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_int_equal(spr_fake_bufs(), 0);
	assert_false(are_idle(s));
	assert_int_equal(turn(s), 0);
	assert_true(are_idle(s));
	expect_jobs(SPR_OK, 2 * SPR_TURN_DOCUMENTS);
	scene_close(s);
}

/* Nobody wants what comes after it: a job does not wait for company that does not come. */
static void
a_turn_without_jobs_sends_it(void **state)
{
	scene *s = batch_scene();
	(void)state;

	subscribe(s, "ZZ", "http://small");
	deliver_envelope("x", SMALL);
	deliver_many(3 * SPR_TURN_DOCUMENTS, BODY);
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	expect_jobs(SPR_OK, 1);
	turns(s);
	assert_int_equal(spr_fake_busy(0), 0);
	scene_close(s);
}

static void
a_guest_sends_at_the_end_of_its_stay(void **state)
{
	scene *s = batch_scene();
	spr_agent *agent = s->waiters.waiter[0].agent;
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver_many(20, BODY);
	assert_true(agent->do_guest_work(agent->state));
	assert_true(agent->do_guest_work(agent->state));
	assert_int_equal(spr_fake_busy(0), 0);
	assert_false(agent->do_guest_work(agent->state));
	expect_jobs(SPR_OK, 20);
	scene_close(s);
}

static void
it_sends_before_it_waits_for_a_record(void **state)
{
	scene *s =
	    scene_open((scene_wants){.is_bare = true, .batch_bytes = BATCH, .max_inflight = 2});
	(void)state;

	subscribe(s, "UN.A", "http://a");
	for (unsigned i = 0; i < 3; i++)
		deliver(BODY);
	assert_int_equal(turn(s), 2);
	assert_int_equal(s->waiters.waiter[0].wants, SPR_WANT_INFLIGHT);
	expect_jobs(SPR_OK, 2);
	assert_int_equal(turn(s), 1);
	expect_jobs(SPR_OK, 1);
	scene_close(s);
}

static void
it_sends_before_it_waits_for_bytes(void **state)
{
	scene *s =
	    scene_open((scene_wants){.is_bare = true, .batch_bytes = 200, .outbox_bytes = 300});
	(void)state;

	subscribe_many(s, "UN.A", 10);
	deliver(BODY);
	assert_int_equal(turn(s), 1);
	assert_int_equal(s->waiters.waiter[0].wants, SPR_WANT_BYTES);
	assert_false(spr_outbox_is_idle(s->outbox));
	while (in_flight(s) > 0) {
		assert_true(spr_fake_busy(0) > 0); /* or nobody would ever wake it */
		(void)spr_fake_end_all(0, SPR_OK);
		turns(s);
	}
	assert_int_equal(counted(s, SPR_C_JOBS_POSTED), 10);
	scene_close(s);
}

/* Each of the jobs that are to give it credits is on its way. */
static void
it_sends_before_it_waits_for_credits(void **state)
{
	scene *s =
	    scene_open((scene_wants){.has_upstream = true, .max_jobs = 3, .batch_bytes = BATCH});
	(void)state;

	subscribe_many(s, "UN.A", 2);
	deliver_envelope("1", BODY);
	deliver_envelope("2", BODY);
	assert_int_equal(turn(s), 2);
	assert_int_equal(s->waiters.waiter[0].wants, SPR_WANT_JOBS);
	expect_jobs(SPR_OK, 2);
	spr_dispatchers_give_up(s->dispatchers);
	turns(s);
	scene_close(s);
}

static void
a_job_that_is_longer_goes_alone(void **state)
{
	scene *s = scene_open((scene_wants){.is_bare = true, .batch_bytes = 100});
	char body[300];
	(void)state;

	subscribe(s, "UN.A", "http://a");
	snprintf(body, sizeof(body), "{\"predicate\":\"UN.A\",\"x\":\"%0200d\"}", 1);
	deliver(BODY);
	deliver(body);
	deliver(BODY);
	assert_int_equal(turns(s), 1);
	expect_job("http://a", BODY);
	expect_job("http://a", body);
	expect_job("http://a", BODY);
	scene_close(s);
}

static void
a_job_is_one_line(void **state)
{
#define LINES "{\r\n \"predicate\":\n\"UN.A\",\n\"message\" : [1,\n\"a\\nb\"]}"
	scene *s =
	    scene_open((scene_wants){.is_bare = true, .as_value = true, .batch_bytes = BATCH});
	char *text;
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver(LINES);
	deliver("{\n\"predicate\"\r:\"UN.A\"}\n");
	turns(s);
	text = spr_fake_end(0, SPR_OK);
	assert_string_equal(text, "{\"s\":\"http://a\",\"payload\":[1, \"a\\nb\"]}\n"
				  "{\"s\":\"http://a\",\"payload\":{ \"predicate\" :\"UN.A\"}}");
	free(text);
	scene_close(s);

	/* one job a message: byte for byte */
	s = scene_open((scene_wants){.is_bare = true, .as_value = true});
	subscribe(s, "UN.A", "http://a");
	deliver(LINES);
	turns(s);
	expect_job("http://a", "[1,\n\"a\\nb\"]");
	scene_close(s);
}

static void
a_failed_batch_nacks_each_of_its_notifications_once(void **state)
{
	scene *s = batch_scene();
	(void)state;

	subscribe_many(s, "UN.A", 3);
	deliver_many(5, BODY);
	turns(s);
	expect_jobs(SPR_E_CLOSED, 15);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 5);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 15);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 0);
	scene_close(s);
}

/* The receipt of every line of a message. */
static void
receipt(scene *s, const char *text)
{
	char receipt[128];

	while (text != NULL && *text != '\0') {
		snprintf(receipt, sizeof(receipt), "%.*s}", (int)(strchr(text, ',') - text), text);
		spr_receipts_take(s->receipts, (const uint8_t *)receipt, strlen(receipt));
		text = strchr(text, '\n');
		text += text != NULL;
	}
}

static void
receipts_of_a_batch(void **state)
{
	scene *s =
	    scene_open((scene_wants){.has_upstream = true, .max_jobs = 100, .batch_bytes = BATCH});
	char *text;
	(void)state;

	subscribe_many(s, "UN.A", 3);
	deliver_many(2, BODY);
	turns(s);
	text = spr_fake_peek(0);
	assert_int_equal(lines(text), 6);
	free(spr_fake_end(0, SPR_OK));
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 0);
	receipt(s, strchr(text, '\n') + 1);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 1);
	text[strcspn(text, "\n")] = '\0';
	receipt(s, text);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 2);
	assert_int_equal(counted(s, SPR_C_JOBS_CONFIRMED), 6);
	free(text);

	/* a worker has read it and is quick; then the send fails: what has its receipt has not failed */
	deliver_envelope("x", BODY);
	deliver_envelope("y", BODY);
	turns(s);
	text = spr_fake_peek(0);
	for (unsigned i = 0; i < 3; i++) /* all of x, one of y */
		receipt(s, text);
	free(text);
	expect_jobs(SPR_E_CLOSED, 6);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 0);
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), 4);

	/* the send fails before any receipt */
	deliver_envelope("z", BODY);
	deliver_envelope("zz", BODY);
	turns(s);
	expect_jobs(SPR_E_CLOSED, 6);
	assert_int_equal(counted(s, SPR_C_JOBS_FAILED), 6);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 2);
	scene_close(s);
}

static void
outbox_timeout_of_a_batch(void **state)
{
	scene *s = scene_open(
	    (scene_wants){.has_upstream = true, .outbox_timeout_ns = 1, .batch_bytes = BATCH});
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver_many(3, BODY);
	assert_int_equal(turn(s), 3);
	assert_int_not_equal(s->waiters.waiter[0].agent->wake_at_ns,
			     0); /* it watches what it sent */
	assert_int_equal(turn(s), 1);
	expect_jobs(SPR_OK, 3);
	assert_int_equal(counted(s, SPR_C_NACKED_PUSH_FAILED), 3);
	scene_close(s);
}

/* Half a batch is collected when the drain begins: it is finished, or nacked when there is no time left. */
static void
a_drain_with_half_a_batch(void **state)
{
	scene *s = batch_scene();
	(void)state;

	subscribe(s, "UN.A", "http://a");
	deliver_many(SPR_TURN_DOCUMENTS, BODY);
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	assert_int_equal(spr_fake_busy(0), 0);
	assert_int_equal(spr_intake_waiting(s->intake), 0);
	assert_false(are_idle(s));
	turns(s);
	assert_true(are_idle(s));
	assert_false(spr_outbox_is_idle(s->outbox));
	expect_jobs(SPR_OK, SPR_TURN_DOCUMENTS);
	assert_true(spr_outbox_is_idle(s->outbox));
	assert_int_equal(counted(s, SPR_C_ACKED_DISPATCHED), SPR_TURN_DOCUMENTS);
	scene_close(s);

	s = batch_scene();
	subscribe(s, "UN.A", "http://a");
	deliver_many(SPR_TURN_DOCUMENTS + 8, BODY);
	assert_int_equal(turn(s), SPR_TURN_DOCUMENTS);
	spr_dispatchers_give_up(s->dispatchers);
	turns(s);
	assert_true(are_idle(s));
	expect_jobs(SPR_OK, SPR_TURN_DOCUMENTS); /* aborted */
	assert_int_equal(counted(s, SPR_C_NACKED_SHUTTING_DOWN), SPR_TURN_DOCUMENTS + 8);
	scene_close(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_ready_goes_together),
	    cmocka_unit_test(a_batch_goes_on_over_turns),
	    cmocka_unit_test(a_turn_without_jobs_sends_it),
	    cmocka_unit_test(a_guest_sends_at_the_end_of_its_stay),
	    cmocka_unit_test(it_sends_before_it_waits_for_a_record),
	    cmocka_unit_test(it_sends_before_it_waits_for_bytes),
	    cmocka_unit_test(it_sends_before_it_waits_for_credits),
	    cmocka_unit_test(a_job_that_is_longer_goes_alone),
	    cmocka_unit_test(a_job_is_one_line),
	    cmocka_unit_test(a_failed_batch_nacks_each_of_its_notifications_once),
	    cmocka_unit_test(receipts_of_a_batch),
	    cmocka_unit_test(outbox_timeout_of_a_batch),
	    cmocka_unit_test(a_drain_with_half_a_batch),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

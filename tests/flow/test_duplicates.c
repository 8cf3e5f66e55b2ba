/*
 * duplicates - upstream re-sends what it has no answer to: a copy never makes a second set of jobs while the first is
 * under way or was acked lately.
 */
#include "flow.h"

#define BODY "{\"predicate\":\"UN.A\"}"

static void
test_copies_in_flight(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--dispatchers", "2"));
	subscribe_many(f, "UN", 10);
	for (unsigned i = 0; i < 5; i++)
		push_envelope(f, "1", BODY); /* no worker: it stays in flight */
	expect_stat(f, "spreader_duplicates_total{state=\"in_flight\"}", 4);
	start_worker(f);
	expect_many_jobs(f, 10, BODY);
	expect_ack(f, "1");
	finish(f);
}

/* In flight until upstream has accepted the answer, not only until the jobs are posted. */
static void
test_copy_while_the_answer_is_not_accepted(void **state)
{
	flow *f = *state;

	start_upstream(f);
	stop_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_stat(f, "spreader_jobs_posted_total", 1);
	push_envelope(f, "1", BODY);
	expect_stat(f, "spreader_duplicates_total{state=\"in_flight\"}", 1);
	start_upstream(f);
	expect_ack(f, "1");
	finish(f);
}

static void
test_copy_after_the_ack(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	assert_true(stat_of(f, "spreader_duplicates_total{state=\"acked\"}") == 1);
	finish(f);
}

static void
test_nacked_id_is_forgotten(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", "{}");
	expect_nack(f, "1", "no_predicate");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	finish(f);
}

/* Waits until the daemon knows that its answer was accepted: only then the id is remembered. */
static void
push_and_expect(flow *f, const char *id, bool is_new)
{
	double n = stat_of(f, "spreader_answers_accepted_total");

	push_envelope(f, id, BODY);
	if (is_new)
		expect_job(f, "http://a", BODY);
	expect_ack(f, id);
	expect_stat(f, "spreader_answers_accepted_total", n + 1);
}

/* The window is a queue: the oldest acked id is forgotten first. */
static void
test_window(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--dedup-window", "2"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_and_expect(f, "1", true);
	push_and_expect(f, "2", true);
	push_and_expect(f, "3", true); /* 1 goes */
	push_and_expect(f, "2", false);
	push_and_expect(f, "3", false);
	push_and_expect(f, "1", true);
	finish(f);
}

static void
test_no_window(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--dedup-window", "0"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_and_expect(f, "1", true);
	push_and_expect(f, "1", true);
	finish(f);
}

/* "\u0031" and "1" are one id, and come back as what they mean. */
static void
test_spelling_of_an_id(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "a\\u0031\\\"\\n\\u00e9", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "a1\"\n\xc3\xa9");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	push_envelope(f, "\\u00611\\\"\\u000a\xc3\xa9", BODY);
	expect_ack(f, "a1\"\n\xc3\xa9");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_copies_in_flight),
	    flow_test(test_copy_while_the_answer_is_not_accepted),
	    flow_test(test_copy_after_the_ack),
	    flow_test(test_nacked_id_is_forgotten),
	    flow_test(test_window),
	    flow_test(test_no_window),
	    flow_test(test_spelling_of_an_id),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

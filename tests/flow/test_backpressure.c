/*
 * backpressure - an outbox that takes nothing stops the intake, not the daemon; when it takes again, nothing is missing.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY "{\"predicate\":\"UN.A\"}"

static double
in_flight(flow *f)
{
	return (stat_of(f, "spreader_notifications_received_total") -
		(double)spr_inbox_count(f->answers));
}

/* 40 MB of jobs, four times of what the kernel's buffers can swallow. */
static void
test_stalled_outbox_recovers(void **state)
{
	enum { N = 10000, INFLIGHT = 64 };
	flow *f = *state;
	char *body;
	spr_worker *worker;

	assert_true(asprintf(&body, "{\"predicate\":\"UN.A\",\"pad\":\"%04000d\"}", 0) > 0);
	start_upstream(f);
	start_daemon(f, FLAGS("--max-inflight", "64", "--ring-slots", "16", "--max-message",
			      "64KiB", "--max-notification", "8KiB", "--max-job", "16KiB",
			      "--max-inflight-bytes", "1MiB"));
	worker = start_limited_worker(f, 0);
	subscribe(f, "UN", "http://a");
	push_many_start(f, "x", N, body);
	expect_stat(f, "spreader_receivers_parked_total", 1);
	assert_true(stat_of(f, "spreader_notifications_received_total") < N);
	/* answers of what the kernel's buffers took are on their way for a while */
	assert_true(spr_inbox_wait(f->answers, 1, spr_test_deadline_ms()));
	while (in_flight(f) > INFLIGHT + 1)
		expect_stat(f, "spreader_answers_accepted_total",
			    (double)spr_inbox_count(f->answers));
	spr_worker_allow(worker, SIZE_MAX);
	push_many_join(f);
	for (unsigned i = 0; i < N; i++)
		expect_job(f, "http://a", body);
	expect_many_acks(f, "x", N);
	finish(f);
	free(body);
}

static void
test_no_worker_yet(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe_many(f, "UN", 100);
	push_envelope(f, "1", BODY);
	expect_stat(f, "spreader_notifications_received_total", 1);
	assert_true(stat_of(f, "spreader_jobs_posted_total") == 0);
	assert_int_equal(spr_inbox_count(f->heard), 0);
	start_worker(f);
	expect_many_jobs(f, 100, BODY);
	expect_ack(f, "1");
	finish(f);
}

/*
 * A worker that leaves: what it had not been given goes to the next one. It stays until its job is
 * acked: a connection that ends right behind a write can stay in nng 1.5's list of ready ones, and
 * takes one more job with it (push0_send_cb after push0_pipe_close). That is within what a
 * push-confirmed daemon promises, and not what is tested here.
 */
static void
test_worker_is_replaced(void **state)
{
	flow *f = *state;
	spr_worker *first;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe(f, "UN", "http://a");
	first = spr_worker_start(f->outbox, f->jobs, SIZE_MAX);
	assert_non_null(first);
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	spr_worker_stop(first);
	expect_stat(f, "spreader_pipes_removed_total{socket=\"outbox\"}", 1);
	push_envelope(f, "2", BODY);
	expect_stat(f, "spreader_notifications_received_total", 2);
	start_worker(f);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "2");
	finish(f);
}

static void
test_outbox_timeout(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--outbox-timeout", "200ms"));
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	expect_nack(f, "1", "push_failed");
	expect_stat(f, "spreader_answers_accepted_total", 1); /* until then it is in flight */
	start_worker(f);
	push_envelope(f, "1", BODY); /* a nacked id is forgotten */
	expect_many_jobs(f, 3, BODY);
	expect_ack(f, "1");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_stalled_outbox_recovers),
	    flow_test(test_no_worker_yet),
	    flow_test(test_worker_is_replaced),
	    flow_test(test_outbox_timeout),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

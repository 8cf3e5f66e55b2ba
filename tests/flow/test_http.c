/*
 * test_http - the running daemon over HTTP: probes tell the truth through start, stall, loss and drain; metrics add up.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "http_raw.h"
#include "spr_test.h"

#define BODY "{\"predicate\":\"UN.A\"}"

static int
status_of(flow *f, const char *target)
{
	spr_http_got got;
	int status =
	    spr_http_ask(listening(f, "http", 0), "GET", target, "", NULL, &got) ? got.status : 0;

	spr_http_forget(&got);
	return (status);
}

static void
expect_text(flow *f, const char *target, int status, const char *part)
{
	spr_http_got got;

	assert_true(spr_http_ask(listening(f, "http", 0), "GET", target, "", NULL, &got));
	assert_int_equal(got.status, status);
	if (strstr(got.body, part) == NULL)
		fail_msg("%s: %s is not in %s", target, part, got.body);
	spr_http_forget(&got);
}

static double
metric(flow *f, const char *name)
{
	spr_http_got got;
	char line[256];
	const char *at;
	double value;

	assert_true(spr_http_ask(listening(f, "http", 0), "GET", "/metrics", "", NULL, &got));
	assert_int_equal(got.status, 200);
	snprintf(line, sizeof(line), "\n%s ", name);
	if ((at = strstr(got.body, line)) == NULL)
		fail_msg("%s is not there", name);
	value = strtod(at + strlen(line), NULL);
	spr_http_forget(&got);
	return (value);
}

static void
test_probes(void **state)
{
	flow *f = *state;

	start_daemon(f, NULL);
	assert_int_equal(status_of(f, "/livez"), 200);
	assert_int_equal(status_of(f, "/readyz"), 200);
	expect_text(f, "/readyz?verbose", 200, "[-] outbox_connected (only told)\n");
	start_worker(f);
	expect_stat(f, "spreader_peers{socket=\"outbox\"}", 1);
	expect_text(f, "/readyz?verbose", 200, "[+] outbox_connected (only told)\n");
	expect_text(f, "/livez?verbose", 200, "[+] dispatchers\n");
	expect_text(f, "/version", 200, "\"instance\":");
	finish(f);
}

static void
test_ready_needs_outbox(void **state)
{
	flow *f = *state;

	start_daemon(f, FLAGS("--ready-needs-outbox"));
	expect_text(f, "/readyz?verbose", 503, "[-] outbox_connected\n");
	assert_int_equal(status_of(f, "/livez"), 200);
	start_worker(f);
	assert_true(wait_until(status_of(f, "/readyz") == 200, (unsigned)spr_test_deadline_ms()));
	finish(f);
}

/* Not ready any more while it still receives, alive to its end. */
static void
test_drain(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--shutdown-delay", "2s"));
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	spr_proc_signal(f->daemon, SIGTERM);
	assert_true(wait_until(status_of(f, "/readyz") == 503, (unsigned)spr_test_deadline_ms()));
	assert_int_equal(status_of(f, "/livez"), 200);
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), 0);
}

/* Back-pressure is being alive: the probe looks at what is runnable, and none of this is. */
static void
test_alive_under_back_pressure(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--max-inflight", "64", "--ring-slots", "4"));
	subscribe(f, "UN.A", "http://a");
	push_many_start(f, "x", 2000, BODY);
	expect_stat(f, "spreader_parked_receivers", 1);
	assert_int_equal(status_of(f, "/livez"), 200);
	/* the rings can be full before the dispatcher has claimed any */
	assert_true(wait_until(metric(f, "spreader_oldest_in_flight_timestamp_seconds") > 0,
			       (unsigned)spr_test_deadline_ms()));
	assert_true(metric(f, "spreader_intake_waiting") <=
		    metric(f, "spreader_intake_waiting_limit") + 2);
	start_worker(f);
	push_many_join(f);
	expect_many_acks(f, "x", 2000);
	assert_true(spr_inbox_wait(f->jobs, 2000, spr_test_deadline_ms()));
	for (unsigned i = 0; i < 2000; i++)
		expect_job(f, "http://a", BODY);
	assert_true(wait_until(metric(f, "spreader_oldest_in_flight_timestamp_seconds") == 0,
			       (unsigned)spr_test_deadline_ms()));
	finish(f);
}

static void
test_metrics_add_up(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	subscribe(f, "UN", "http://b");
	for (unsigned i = 0; i < 10; i++) {
		char id[8];

		snprintf(id, sizeof(id), "%u", i);
		push_envelope(f, id, BODY);
		expect_ack(f, id);
		expect_job(f, "http://a", BODY);
		expect_job(f, "http://b", BODY);
	}
	push_envelope(f, "none", "{\"predicate\":\"X\"}");
	expect_ack(f, "none");
	assert_true(wait_until(metric(f, "spreader_notification_seconds_count") == 11,
			       (unsigned)spr_test_deadline_ms()));
	assert_true(metric(f, "spreader_notifications_received_total") == 11);
	assert_true(metric(f, "spreader_acked_total{result=\"dispatched\"}") == 10);
	assert_true(metric(f, "spreader_acked_total{result=\"no_subscribers\"}") == 1);
	assert_true(metric(f, "spreader_jobs_posted_total") == 20);
	assert_true(metric(f, "spreader_matched_subscribers_count") == 10);
	assert_true(metric(f, "spreader_matched_subscribers_sum") == 20);
	assert_true(metric(f, "spreader_payload_bytes_sum") == 10 * (double)strlen(BODY));
	assert_true(metric(f, "spreader_stage_seconds_count{stage=\"queue\"}") == 11);
	assert_true(metric(f, "spreader_stage_seconds_count{stage=\"push\"}") == 10);
	assert_true(metric(f, "spreader_stage_seconds_count{stage=\"ack\"}") == 11);
	assert_true(metric(f, "spreader_stage_seconds_count{stage=\"resolve\"}") >= 1);
	assert_true(metric(f, "spreader_notification_seconds_sum") >=
		    metric(f, "spreader_stage_seconds_sum{stage=\"ack\"}"));
	assert_true(metric(f, "spreader_peers{socket=\"intake\"}") == 1);
	assert_true(metric(f, "spreader_peers{socket=\"outbox\"}") == 1);
	assert_true(metric(f, "spreader_peers{socket=\"ack\"}") == 1);
	assert_true(metric(f, "spreader_subscriptions") == 2);
	assert_true(metric(f, "spreader_ready") == 1);
	assert_true(metric(f, "process_resident_memory_bytes") > 1e5);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_probes),         flow_test(test_ready_needs_outbox),
	    flow_test(test_drain),          flow_test(test_alive_under_back_pressure),
	    flow_test(test_metrics_add_up),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

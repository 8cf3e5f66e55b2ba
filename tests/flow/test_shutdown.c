/*
 * shutdown - a TERM finishes what was received and answers it; what cannot be finished is nacked, and the exit status says
 * so. A second TERM waits for nothing.
 */
#include "flow_receipts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#define BODY "{\"predicate\":\"UN.A\"}"

static void
expect_exit(flow *f, int expected)
{
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), expected);
}

/* The daemon has seen the TERM: it still answers control, and is not ready. */
static bool
is_draining(flow *f)
{
	cJSON *reply = ask(f, "{\"op\":\"health\"}");
	bool is = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(reply, "ready"));

	cJSON_Delete(reply);
	return (is);
}

static void
begin_drain(flow *f, int signal)
{
	assert_false(is_draining(f));
	spr_proc_signal(f->daemon, signal);
	assert_true(wait_until(is_draining(f), (unsigned)spr_test_deadline_ms()));
}

/* 32 MB of jobs, more than the kernel's buffers hold: work is in flight when the TERM comes. */
static void
test_drains(void **state)
{
	enum { N = 2000, PATTERN_JOBS = 4 };
	flow *f = *state;
	spr_worker *worker;
	char *body;

	assert_true(asprintf(&body, "{\"predicate\":\"UN.A\",\"pad\":\"%04000d\"}", 0) > 0);
	start_upstream(f);
	start_daemon(f, NULL);
	worker = start_limited_worker(f, 0);
	subscribe_many(f, "UN", PATTERN_JOBS);
	push_many_start(f, "x", N, body);
	push_many_join(f);
	expect_stat(f, "spreader_messages_received_total", N);
	begin_drain(f, SIGTERM);
	spr_worker_allow(worker, SIZE_MAX);
	expect_exit(f, 0);
	assert_true(spr_worker_wait_gone(worker, spr_test_deadline_ms()));
	assert_int_equal(spr_inbox_count(f->jobs), N * PATTERN_JOBS);
	expect_many_acks(f, "x", N);
	assert_int_equal(spr_inbox_count(f->answers), 0);
	free(body);
}

static void
test_interrupt_drains_too(void **state)
{
	flow *f = *state;

	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_text(f, BODY);
	expect_job(f, "http://a", BODY);
	spr_proc_signal(f->daemon, SIGINT);
	expect_exit(f, 0);
}

static void
test_stuck_outbox(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--drain-timeout", "3s"));
	subscribe_many(f, "UN", 3000); /* more than a slice and more than there are send slots */
	push_envelope(f, "0", "{\"predicate\":\"nobody\"}");
	expect_ack(f, "0");
	push_envelope(f, "1", BODY);
	push_envelope(f, "2", BODY);
	expect_stat(f, "spreader_messages_received_total", 3);
	spr_proc_signal(f->daemon, SIGTERM);
	expect_nack(f, "1", "shutting_down");
	expect_nack(f, "2", "shutting_down");
	expect_exit(f, 75);
	assert_int_equal(spr_inbox_count(f->answers), 0);
}

/* No upstream to nack to: what was not posted goes to the dead letters. */
static void
test_stuck_outbox_without_upstream(void **state)
{
	flow *f = *state;
	char path[96];
	char *text;

	snprintf(path, sizeof(path), "%s/dead", f->dir);
	start_daemon(f, FLAGS("--drain-timeout", "3s", "--dead-letter", path));
	subscribe_many(f, "UN", 3000);
	push_text(f, BODY);
	expect_stat(f, "spreader_notifications_received_total", 1);
	stop_daemon(f, 75);
	text = spr_read_file(path);
	assert_non_null(text);
	assert_non_null(strstr(text, "\"shutting_down\""));
	assert_non_null(strstr(text, "UN.A"));
	free(text);
}

/* Posted, but no worker ever came to take it: as good as not posted. */
static void
test_posted_and_not_taken(void **state)
{
	flow *f = *state;
	char path[96];
	char *text;

	snprintf(path, sizeof(path), "%s/dead", f->dir);
	start_daemon(f, FLAGS("--drain-timeout", "2s", "--dead-letter", path));
	subscribe(f, "UN", "http://a");
	push_text(f, "{\"predicate\":\"UN\",\"n\":1}\n{\"predicate\":\"UN\",\"n\":2}");
	expect_stat(f, "spreader_notifications_received_total", 2);
	stop_daemon(f, 75);
	text = spr_read_file(path);
	assert_non_null(text);
	assert_non_null(strstr(text, "{\\\"predicate\\\":\\\"UN\\\",\\\"n\\\":1}"));
	assert_non_null(strstr(text, "{\\\"predicate\\\":\\\"UN\\\",\\\"n\\\":2}"));
	free(text);
}

static void
test_unanswered(void **state)
{
	flow *f = *state;

	start_upstream(f);
	stop_upstream(f);
	start_daemon(f, FLAGS("--drain-timeout", "3s"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	stop_daemon(f, 75);
}

/* The drain would take an hour. */
static void
test_second_signal(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--drain-timeout", "1h"));
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	expect_stat(f, "spreader_notifications_received_total", 1);
	begin_drain(f, SIGTERM);
	spr_proc_signal(f->daemon, SIGTERM);
	expect_exit(f, 75);
}

/* During the delay it says that it is not ready, and still works. */
static void
test_delay(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--shutdown-delay", "10m", "--drain-timeout", "1h"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	begin_drain(f, SIGTERM);
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	spr_proc_signal(f->daemon, SIGTERM);
	expect_exit(f, 75);
}

/* Receipts are awaited like everything else. */
static void
test_awaits_receipts(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_upstream(f);
	start_daemon(f, FLAGS(RECEIPTS));
	sp = dial_receipts(f);
	start_worker(f);
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 3);
	begin_drain(f, SIGTERM);
	receipt_some(&sp, &taken, 0, 3, 1);
	expect_ack(f, "1");
	expect_exit(f, 0);
	free_jobs(&taken);
	spr_sp_close(&sp);
}

/* What has no receipt in time is nacked, however long its own time-out is. */
static void
test_missing_receipts(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_upstream(f);
	start_daemon(f, FLAGS(RECEIPTS, "--drain-timeout", "3s", "--receipt-timeout", "1h"));
	sp = dial_receipts(f);
	start_worker(f);
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 3);
	receipt_some(&sp, &taken, 0, 2, 1);
	spr_proc_signal(f->daemon, SIGTERM);
	expect_nack(f, "1", "shutting_down");
	expect_exit(f, 75);
	assert_int_equal(spr_inbox_count(f->answers), 0);
	free_jobs(&taken);
	spr_sp_close(&sp);
}

/* A large notification that is half posted, half of that receipted, with another behind it. */
static void
stop_in_the_middle(flow *f, const char *const flags[])
{
	start_upstream(f);
	start_daemon(f, flags);
	subscribe_many(f, "UN", 100000);
	start_limited_worker(f, 30000);
	push_envelope(f, "1", BODY);
	push_envelope(f, "2", BODY);
	assert_true(spr_inbox_wait(f->jobs, 30000, spr_test_deadline_ms()));
	spr_proc_signal(f->daemon, SIGTERM);
	expect_nack(f, "1", "shutting_down");
	expect_nack(f, "2", "shutting_down");
	expect_exit(f, 75);
	assert_int_equal(spr_inbox_count(f->answers), 0);
}

static void
test_middle_of_a_large_one(void **state)
{
	stop_in_the_middle(*state, FLAGS("--drain-timeout", "3s"));
}

static void
test_middle_of_a_large_one_with_receipts(void **state)
{
	stop_in_the_middle(*state, FLAGS("--drain-timeout", "3s", RECEIPTS));
}

/* Nobody to nack to: the end is bounded all the same. */
static void
test_unanswered_with_receipts(void **state)
{
	flow *f = *state;
	jobs taken;
	long began = spr_test_now_ms();

	start_upstream(f);
	stop_upstream(f);
	start_daemon(f, FLAGS(RECEIPTS, "--drain-timeout", "3s"));
	start_worker(f);
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 3);
	stop_daemon(f, 75);
	assert_true(spr_test_now_ms() - began < 3000 + spr_test_deadline_ms());
	free_jobs(&taken);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_drains),
	    flow_test(test_interrupt_drains_too),
	    flow_test(test_stuck_outbox),
	    flow_test(test_stuck_outbox_without_upstream),
	    flow_test(test_posted_and_not_taken),
	    flow_test(test_unanswered),
	    flow_test(test_second_signal),
	    flow_test(test_delay),
	    flow_test(test_awaits_receipts),
	    flow_test(test_missing_receipts),
	    flow_test(test_middle_of_a_large_one),
	    flow_test(test_middle_of_a_large_one_with_receipts),
	    flow_test(test_unanswered_with_receipts),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * resume - what has its receipt is not posted again: after a time-out, after a worker was lost, over many notifications; and
 * upstream hears of what takes long.
 */
#include "flow_receipts.h"

#include <signal.h>

#define BODY "{\"predicate\":\"UN.A\"}"

static void
start_all(flow *f, const char *const flags[])
{
	start_upstream(f);
	start_daemon(f, flags);
	start_worker(f);
}

/* The time-out is an hour: only the grace can end it. Its jobs are offered again, those without a receipt. */
static void
test_worker_killed(void **state)
{
	flow *f = *state;
	jobs taken, rest;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS, "--receipt-timeout", "1h", "--receipt-grace", "300ms"));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 10);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 10);
	receipt_some(&sp, &taken, 0, 4, 4);
	expect_stat(f, "spreader_jobs_confirmed_total", 4);
	spr_worker_stop(f->workers[--f->n_workers]);
	expect_nack(f, "1", "receipt_timeout");
	push_again(f, "1", BODY);
	start_worker(f);
	rest = take_jobs(f, 6);
	for (size_t i = 0; i < 6; i++) /* both are ordered by id */
		assert_memory_equal(id_of(&rest, i), id_of(&taken, 4 + i), ID_LEN);
	receipt_some(&sp, &rest, 0, 6, 6);
	expect_ack(f, "1");
	expect_nothing_open(f);
	free_jobs(&taken);
	free_jobs(&rest);
	spr_sp_close(&sp);
	finish(f);
}

/* One nacked id is remembered; the older one starts from nothing. */
static void
test_resume_window(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS, "--receipt-timeout", "200ms", "--resume-window", "1"));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 3);
	for (int i = 0; i < 2; i++) {
		const char *id = i == 0 ? "old" : "young";

		push_envelope(f, id, BODY);
		taken = take_jobs(f, 3);
		receipt_some(&sp, &taken, 0, 2, 2);
		expect_nack(f, id, "receipt_timeout");
		free_jobs(&taken);
		expect_stat(f, "spreader_answers_accepted_total", i + 1);
	}
	assert_true(wait_until(stat_of(f, "spreader_open_jobs") == 3, 10000));
	push_again(f, "old", BODY);
	taken = take_jobs(f, 3);
	receipt_some(&sp, &taken, 0, 3, 3);
	expect_ack(f, "old");
	free_jobs(&taken);
	push_again(f, "young", BODY);
	taken = take_jobs(f, 1);
	receipt_some(&sp, &taken, 0, 1, 1);
	expect_ack(f, "young");
	free_jobs(&taken);
	expect_nothing_open(f);
	spr_sp_close(&sp);
	finish(f);
}

/* What is remembered gives way to what is to be done; what is open does not. */
static void
test_few_open_jobs(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS, "--receipt-timeout", "300ms", "--max-fanout", "10",
			   "--max-open-jobs", "10"));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 10);
	subscribe_many(f, "DEUX", 8);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 10);
	receipt_some(&sp, &taken, 0, 9, 9);
	push_envelope(f, "2", "{\"predicate\":\"DEUX\"}");
	expect_nack(f, "1", "receipt_timeout");
	free_jobs(&taken);
	taken = take_jobs(f, 8); /* it waited for the first one, whose jobs were forgotten then */
	receipt_some(&sp, &taken, 0, 8, 8);
	expect_ack(f, "2");
	free_jobs(&taken);
	push_again(f, "1", BODY);
	taken = take_jobs(f, 10);
	receipt_some(&sp, &taken, 0, 10, 10);
	expect_ack(f, "1");
	free_jobs(&taken);
	expect_nothing_open(f);
	assert_true(stat_of(f, "spreader_dispatcher_waits_total{for=\"open_jobs\"}") > 0);
	spr_sp_close(&sp);
	finish(f);
}

/* Subscribers come and go between two attempts. */
static void
test_other_subscribers(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS, "--receipt-timeout", "200ms"));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 4);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 4);
	receipt_some(&sp, &taken, 0, 3, 3);
	expect_nack(f, "1", "receipt_timeout");
	free_jobs(&taken);
	for (int i = 0; i < 4; i++) {
		char callback[32];

		snprintf(callback, sizeof(callback), "http://callback/%d", i);
		unsubscribe(f, "UN", callback);
		callback[7]++;
		subscribe(f, "UN", callback);
	}
	push_again(f, "1", BODY);
	taken = take_jobs(f, 4);
	receipt_some(&sp, &taken, 0, 4, 4);
	expect_ack(f, "1");
	free_jobs(&taken);
	expect_nothing_open(f);
	spr_sp_close(&sp);
	finish(f);
}

/* In push mode too: there is no worker. The one test that waits as long as the contract says. */
static void
test_working(void **state)
{
	flow *f = *state;
	long deadline = spr_test_now_ms() + 15000;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	while (!spr_inbox_take(spr_upstream_working(f->upstream), "working 1", 200))
		assert_true(spr_test_now_ms() < deadline + spr_test_deadline_ms());
	start_worker(f);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_worker_killed), flow_test(test_resume_window),
	    flow_test(test_few_open_jobs), flow_test(test_other_subscribers),
	    flow_test(test_working),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * receipts - with --confirm receipt a notification is acked when the last of its jobs has its receipt, and not before.
 */
#include "http_raw.h"
#include "flow_receipts.h"

#include <signal.h>

#define BODY "{\"predicate\":\"UN.A\"}"

/* A notification of its own, done from end to end: whatever the daemon had to answer before it has been answered by then. */
static void
pass_by(flow *f, spr_sp *sp, const char *id)
{
	jobs taken;

	push_envelope(f, id, "{\"predicate\":\"X\"}");
	taken = take_jobs(f, 1);
	receipt_some(sp, &taken, 0, 1, 1);
	expect_ack(f, id);
	free_jobs(&taken);
}

static void
start_all(flow *f, const char *const flags[])
{
	start_upstream(f);
	start_daemon(f, flags);
	start_worker(f);
	subscribe(f, "X", "http://x");
}

static void
test_acked_after_the_last_receipt(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_http_got got;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 10);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 10);
	pass_by(f, &sp, "a");
	receipt_some(&sp, &taken, 0, 9, 4);
	pass_by(f, &sp, "b");
	assert_int_equal(spr_inbox_count(f->answers), 0);
	receipt_some(&sp, &taken, 9, 10, 1);
	expect_ack(f, "1");
	/* a copy is acked again, not dispatched */
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	assert_int_equal((int)stat_of(f, "spreader_jobs_confirmed_total"), 12);
	assert_true(spr_http_ask(listening(f, "http", 0), "GET", "/metrics", "", NULL, &got));
	assert_non_null(strstr(got.body, "\nspreader_stage_seconds_count{stage=\"confirm\"} 3\n"));
	assert_non_null(strstr(got.body, "\nspreader_stage_seconds_count{stage=\"push\"} 0\n"));
	spr_http_forget(&got);
	expect_nothing_open(f);
	free_jobs(&taken);
	spr_sp_close(&sp);
	finish(f);
}

static void
shuffle(jobs *taken)
{
	uint64_t random = spr_test_seed();

	for (size_t i = taken->n; i > 1; i--) {
		size_t k = (size_t)spr_test_below(&random, i);
		char *text = taken->text[i - 1];

		taken->text[i - 1] = taken->text[k];
		taken->text[k] = text;
	}
}

/* In any order, from anywhere, many a message. */
static void
test_many_open_jobs(void **state)
{
	enum { N = 100000 };
	flow *f = *state;
	jobs taken;
	spr_sp sp, other;

	start_all(f, FLAGS(RECEIPTS));
	sp = dial_receipts(f);
	other = dial_receipts(f);
	subscribe_many(f, "UN", N);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, N);
	assert_int_equal((int)stat_of(f, "spreader_open_jobs"), N);
	shuffle(&taken);
	receipt_some(&other, &taken, N / 2, N, 64);
	receipt_some(&sp, &taken, 0, N / 2 - 1, 64);
	expect_stat(f, "spreader_jobs_confirmed_total", N - 1);
	pass_by(f, &sp, "a");
	assert_int_equal(spr_inbox_count(f->answers), 0);
	receipt_some(&sp, &taken, N / 2 - 1, N / 2, 1);
	expect_ack(f, "1");
	expect_nothing_open(f);
	free_jobs(&taken);
	spr_sp_close(&sp);
	spr_sp_close(&other);
	finish(f);
}

/* The others are awaited all the same; the reason is the worst one. */
static void
test_error(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 3);
	receipt_error(&sp, &taken, 1, "disk full");
	pass_by(f, &sp, "a");
	assert_int_equal(spr_inbox_count(f->answers), 0);
	receipt_some(&sp, &taken, 0, 1, 1);
	receipt_some(&sp, &taken, 2, 3, 1);
	expect_nack(f, "1", "receipt_error");
	assert_int_equal((int)stat_of(f, "spreader_receipts_total{result=\"error\"}"), 1);
	free_jobs(&taken);
	/* only the one that failed comes again */
	push_again(f, "1", BODY);
	taken = take_jobs(f, 1);
	receipt_some(&sp, &taken, 0, 1, 1);
	expect_ack(f, "1");
	free_jobs(&taken);
	spr_sp_close(&sp);
	finish(f);
}

static void
test_timeout(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;

	start_all(f, FLAGS(RECEIPTS, "--receipt-timeout", "200ms"));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 3);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 3);
	expect_nack(f, "1", "receipt_timeout");
	assert_int_equal((int)stat_of(f, "spreader_jobs_unconfirmed_total"), 3);
	/* late receipts count: the next attempt posts one job less each */
	receipt_some(&sp, &taken, 0, 2, 2);
	expect_stat(f, "spreader_receipts_total{result=\"late\"}", 2);
	push_again(f, "1", BODY);
	free_jobs(&taken);
	taken = take_jobs(f, 1);
	receipt_some(&sp, &taken, 0, 1, 1);
	expect_ack(f, "1");
	assert_int_equal((int)stat_of(f, "spreader_jobs_resumed_total"), 2);
	free_jobs(&taken);
	/* with nobody to take the jobs nothing is late: that is back-pressure */
	spr_worker_stop(f->workers[--f->n_workers]);
	expect_stat(f, "spreader_pipes_removed_total{socket=\"outbox\"}", 1);
	push_envelope(f, "2", BODY);
	expect_stat(f, "spreader_notifications_received_total", 3);
	assert_false(spr_inbox_wait(f->answers, 1, 600)); /* three times the time-out */
	start_worker(f);
	taken = take_jobs(f, 3);
	receipt_some(&sp, &taken, 0, 3, 3);
	expect_ack(f, "2");
	free_jobs(&taken);
	spr_sp_close(&sp);
	finish(f);
}

/* Harmless, all of them, and counted. */
static void
test_strange_receipts(void **state)
{
	flow *f = *state;
	jobs taken;
	spr_sp sp;
	char text[512];

	start_all(f, FLAGS(RECEIPTS));
	sp = dial_receipts(f);
	subscribe_many(f, "UN", 2);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 2);
	receipt_some(&sp, &taken, 0, 1, 1);
	receipt_some(&sp, &taken, 0, 1, 1);
	expect_stat(f, "spreader_receipts_total{result=\"again\"}", 1);
	snprintf(text, sizeof(text), "{\"id\":\"%.17s%032d\"}{\"id\":\"0%.*s\"}[1]\n{\"id\":\n\n{}",
		 id_of(&taken, 1), 7, ID_LEN, id_of(&taken, 1));
	send_text(&sp, text);
	expect_stat(f, "spreader_receipts_total{result=\"stale\"}", 1);
	expect_stat(f, "spreader_receipts_total{result=\"misrouted\"}", 1);
	expect_stat(f, "spreader_receipts_total{result=\"bad\"}", 3);
	pass_by(f, &sp, "a");
	assert_int_equal(spr_inbox_count(f->answers), 0);
	receipt_some(&sp, &taken, 1, 2, 1);
	expect_ack(f, "1");
	expect_nothing_open(f);
	receipt_some(&sp, &taken, 1, 2, 1);
	expect_stat(f, "spreader_receipts_total{result=\"stale\"}", 2);
	free_jobs(&taken);
	spr_sp_close(&sp);
	finish(f);
}

static void
test_push_mode_has_no_ids_but_when_asked(void **state)
{
	flow *f = *state;
	jobs taken;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	finish(f);
	start_daemon(f, FLAGS("--job-id"));
	start_worker(f);
	push_envelope(f, "1", BODY);
	taken = take_jobs(f, 1);
	expect_ack(f, "1");
	free_jobs(&taken);
	finish(f);
}

/* A worker tells copies by the part behind the dash, whatever daemon sent them. */
static void
test_ids_last_over_restarts(void **state)
{
	flow *f = *state;
	jobs first, second;

	start_upstream(f);
	start_daemon(f, FLAGS(RECEIPTS));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", BODY);
	first = take_jobs(f, 1);
	spr_proc_signal(f->daemon, SIGKILL);
	(void)spr_proc_wait(f->daemon, spr_test_deadline_ms());
	start_daemon(f, FLAGS(RECEIPTS));
	start_worker(f);
	push_envelope(f, "1", BODY);
	second = take_jobs(f, 1);
	assert_memory_not_equal(id_of(&first, 0), id_of(&second, 0), 16);
	assert_memory_equal(id_of(&first, 0) + 16, id_of(&second, 0) + 16, ID_LEN - 16);
	free_jobs(&first);
	free_jobs(&second);
	spr_proc_signal(f->daemon, SIGKILL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_acked_after_the_last_receipt),
	    flow_test(test_many_open_jobs),
	    flow_test(test_error),
	    flow_test(test_timeout),
	    flow_test(test_strange_receipts),
	    flow_test(test_push_mode_has_no_ids_but_when_asked),
	    flow_test(test_ids_last_over_restarts),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * restart - a change that was answered ok is there after a stop and after a kill, and nothing is received before it is.
 */
#include "flow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY "{\"predicate\":\"UN.A\"}"

static void
test_a_hundred_thousand_stored(void **state)
{
	enum { N = 100000 };
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe_many(f, "UN.A.*", N);
	stop_daemon(f, 0);
	start_daemon(f, NULL);
	push_envelope(f, "1", BODY); /* the first thing it receives sees all of them */
	start_worker(f);
	expect_many_jobs(f, N, BODY);
	expect_ack(f, "1");
	finish(f);
}

static void
test_killed(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe_many(f, "UN", 20);
	subscribe(f, "UN.A", "http://gone");
	unsubscribe(f, "UN.A", "http://gone");
	spr_proc_signal(f->daemon, SIGKILL);
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), 128 + SIGKILL);
	start_daemon(f, NULL);
	start_worker(f);
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	expect_many_jobs(f, 20, BODY);
	finish(f);
}

/* Upstream re-sends what was not acked: the job comes (again), then the ack. */
static void
test_killed_with_work_in_flight(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	subscribe_many(f, "UN", 20);
	push_envelope(f, "1", BODY);
	expect_stat(f, "spreader_notifications_received_total", 1);
	spr_proc_signal(f->daemon, SIGKILL);
	assert_int_equal(spr_proc_wait(f->daemon, spr_test_deadline_ms()), 128 + SIGKILL);
	assert_int_equal(spr_inbox_count(f->answers), 0);
	start_daemon(f, NULL);
	start_worker(f);
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	expect_many_jobs(f, 20, BODY);
	finish(f);
}

static void
test_one_daemon_a_store(void **state)
{
	flow *f = *state;
	spr_proc *second;
	char store[96];
	char *log;
	const char *argv[] = {SPR_TEST_BUILD_DIR "/spreaderd",
			      "--store",
			      store,
			      "--intake-listen",
			      "tcp://127.0.0.1:0",
			      "--outbox-listen",
			      "tcp://127.0.0.1:0",
			      "--control-listen",
			      "none",
			      "--http-listen",
			      "none",
			      NULL};

	snprintf(store, sizeof(store), "%s/s.db", f->dir);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	second = spr_proc_start(f->dir, "second", argv, NULL);
	assert_int_equal(spr_proc_wait(second, spr_test_deadline_ms()), 73);
	log = spr_proc_err(second);
	assert_non_null(strstr(log, store));
	free(log);
	push_text(f, BODY);
	expect_job(f, "http://a", BODY);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_a_hundred_thousand_stored),
	    flow_test(test_killed),
	    flow_test(test_killed_with_work_in_flight),
	    flow_test(test_one_daemon_a_store),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * answers - whatever upstream does, nothing is acked early and no answer is lost.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect_and_close.h"

#define BODY "{\"predicate\":\"UN.A\"}"

static void
push_three(flow *f)
{
	push_envelope(f, "1", BODY);
	push_envelope(f, "2", "{}");
	push_envelope(f, "3", BODY);
	expect_job(f, "http://a", BODY);
	expect_job(f, "http://a", BODY);
}

static void
expect_three_answers(flow *f)
{
	expect_ack(f, "1");
	expect_nack(f, "2", "no_predicate");
	expect_ack(f, "3");
}

static void
begin(flow *f, const char *const flags[])
{
	start_daemon(f, flags);
	start_worker(f);
	subscribe(f, "UN", "http://a");
}

static void
test_absent_at_start(void **state)
{
	flow *f = *state;

	start_upstream(f); /* for an address */
	stop_upstream(f);
	begin(f, NULL);
	push_three(f);
	start_upstream(f);
	expect_three_answers(f);
	finish(f);
}

/* Much more than a batch is waiting when it comes back. */
static void
test_down_and_back(void **state)
{
	enum { N = 1000 };
	flow *f = *state;

	start_upstream(f);
	begin(f, FLAGS("--ack-batch", "16", "--ack-window", "2", "--ack-timeout", "500ms"));
	push_three(f);
	expect_three_answers(f);
	/* a reply that is lost with the connection would bring its answers again */
	expect_stat(f, "spreader_answers_accepted_total", 3);
	stop_upstream(f);
	push_many_start(f, "x", N, BODY);
	push_many_join(f);
	for (unsigned i = 0; i < N; i++)
		expect_job(f, "http://a", BODY);
	start_upstream(f);
	expect_many_acks(f, "x", N);
	finish(f);
}

/* It behaves badly, more than once; then well. */
static void
misbehave(flow *f, spr_manner manner)
{
	start_upstream(f);
	spr_upstream_behave(f->upstream, manner);
	begin(f, FLAGS("--ack-timeout", "2s"));
	push_three(f);
	assert_true(spr_inbox_wait(f->heard, 3, spr_test_deadline_ms()));
	assert_int_equal(spr_inbox_count(f->answers), 0);
	spr_upstream_behave(f->upstream, SPR_MANNER_ACCEPT);
	expect_three_answers(f);
	finish(f);
}

static void
test_refuses(void **state)
{
	misbehave(*state, SPR_MANNER_REFUSE);
}

static void
test_answers_garbage(void **state)
{
	misbehave(*state, SPR_MANNER_GARBAGE);
}

static void
test_is_silent(void **state)
{
	misbehave(*state, SPR_MANNER_SILENT);
}

static void
test_hangs_up(void **state)
{
	misbehave(*state, SPR_MANNER_HANG_UP);
}

static void
test_is_slow(void **state)
{
	flow *f = *state;

	start_upstream(f);
	spr_upstream_behave(f->upstream, SPR_MANNER_SLOW);
	begin(f, NULL);
	push_three(f);
	expect_three_answers(f);
	finish(f);
}

/* 40 MB of jobs, so that the kernel's buffers cannot hold what the worker does not take. */
static void
test_never_early(void **state)
{
	enum { N = 5000, TAKEN = 500 };
	flow *f = *state;
	char *body;
	spr_worker *worker;

	assert_true(asprintf(&body, "{\"predicate\":\"UN.A\",\"pad\":\"%08000d\"}", 0) > 0);
	start_upstream(f);
	start_daemon(f, NULL);
	subscribe_many(f, "UN", N);
	worker = start_limited_worker(f, TAKEN);
	push_envelope(f, "1", body);
	for (unsigned taken = TAKEN; taken < N / 2; taken += TAKEN) {
		spr_worker_allow(worker, taken);
		assert_true(spr_inbox_wait(f->jobs, taken, spr_test_deadline_ms()));
		assert_int_equal(spr_inbox_count(f->heard), 0);
	}
	spr_worker_allow(worker, SIZE_MAX);
	expect_many_jobs(f, N, body);
	expect_ack(f, "1");
	finish(f);
	free(body);
}

/* Ids of two upstreams are two things; an unknown name has no id to answer. */
static void
test_named_upstreams(void **state)
{
	flow *f = *state;
	spr_inbox *answers = spr_inbox_new();
	spr_upstream *east = spr_upstream_start("tcp://127.0.0.1:0", answers, f->heard);
	spr_upstream *west = spr_upstream_start("tcp://127.0.0.1:0", f->answers, f->heard);
	char east_flag[80], west_flag[80];

	snprintf(east_flag, sizeof(east_flag), "east=%s", spr_upstream_url(east));
	snprintf(west_flag, sizeof(west_flag), "west=%s", spr_upstream_url(west));
	begin(f, FLAGS("--ack-dial", east_flag, "--ack-dial", west_flag));
	push_text(f, "{\"id\":\"1\",\"from\":\"east\",\"body\":" BODY "}\n"
		     "{\"id\":\"1\",\"from\":\"west\",\"body\":" BODY "}\n"
		     "{\"id\":\"2\",\"from\":\"north\",\"body\":" BODY "}\n"
		     "{\"id\":\"3\",\"body\":" BODY "}\n"
		     "{\"id\":\"4\",\"from\":\"west\",\"body\":[]}");
	expect_job(f, "http://a", BODY);
	expect_job(f, "http://a", BODY);
	assert_true(spr_inbox_take(answers, "ack 1", spr_test_deadline_ms()));
	expect_ack(f, "1");
	expect_nack(f, "4", "no_predicate");
	expect_stat(f, "spreader_rejected_total{reason=\"no_id\"}", 2);
	finish(f);
	assert_int_equal(spr_inbox_count(answers), 0);
	spr_upstream_stop(east);
	spr_upstream_stop(west);
	spr_inbox_free(answers);
}

/* Two faces of one upstream, one of them gone. */
static void
test_two_faces(void **state)
{
	flow *f = *state;
	spr_upstream *second = spr_upstream_start("tcp://127.0.0.1:0", f->answers, f->heard);

	start_upstream(f);
	begin(f, FLAGS("--ack-dial", spr_upstream_url(second), "--ack-timeout", "500ms"));
	push_three(f);
	expect_three_answers(f);
	/* a reply that is lost with the connection would bring its answers again */
	expect_stat(f, "spreader_answers_accepted_total", 3);
	stop_upstream(f);
	push_many_start(f, "x", 100, "{}");
	push_many_join(f);
	for (unsigned i = 0; i < 100; i++) {
		char id[16];

		snprintf(id, sizeof(id), "x%u", i);
		expect_nack(f, id, "no_predicate");
	}
	finish(f);
	spr_upstream_stop(second);
}

/* One id that it never takes holds up none of its batch, nor what comes later. */
static void
test_refuses_one_id(void **state)
{
	enum { N = 40 };
	flow *f = *state;

	start_upstream(f);
	spr_upstream_behave(f->upstream, SPR_MANNER_PICKY);
	begin(f, NULL);
	push_envelope(f, "bad", "{}");
	push_many_start(f, "x", N, "{}");
	push_many_join(f);
	for (unsigned i = 0; i < N; i++) {
		char id[16];

		snprintf(id, sizeof(id), "x%u", i);
		expect_nack(f, id, "no_predicate");
	}
	expect_stat(f, "spreader_answer_failures_total{cause=\"refused\"}", 4);
	assert_int_equal(spr_inbox_count(f->answers), 0);
	spr_upstream_behave(f->upstream, SPR_MANNER_ACCEPT);
	expect_nack(f, "bad", "no_predicate");
	finish(f);
}

/* Equal ids under two names, many at once; the one that says nothing holds up its own. */
static void
test_one_name_is_silent(void **state)
{
	enum { N = 200 };
	flow *f = *state;
	spr_inbox *answers = spr_inbox_new();
	spr_upstream *east = spr_upstream_start("tcp://127.0.0.1:0", answers, f->heard);
	spr_upstream *west = spr_upstream_start("tcp://127.0.0.1:0", f->answers, f->heard);
	char east_flag[80], west_flag[80], text[64];

	snprintf(east_flag, sizeof(east_flag), "east=%s", spr_upstream_url(east));
	snprintf(west_flag, sizeof(west_flag), "west=%s", spr_upstream_url(west));
	spr_upstream_behave(west, SPR_MANNER_SILENT);
	begin(f, FLAGS("--ack-dial", east_flag, "--ack-dial", west_flag, "--ack-timeout", "100ms",
		       "--ack-window", "1"));
	for (unsigned i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "{\"id\":\"%u\",\"from\":\"%s\",\"body\":{}}", i / 2,
			 i % 2 == 0 ? "east" : "west");
		push_text(f, text);
	}
	for (unsigned i = 0; i < N / 2; i++) {
		snprintf(text, sizeof(text), "nack %u no_predicate false", i);
		assert_true(spr_inbox_take(answers, text, spr_test_deadline_ms()));
	}
	assert_int_equal(spr_inbox_count(f->answers), 0);
	spr_upstream_behave(west, SPR_MANNER_ACCEPT);
	for (unsigned i = 0; i < N / 2; i++) {
		snprintf(text, sizeof(text), "%u", i);
		expect_nack(f, text, "no_predicate");
	}
	finish(f);
	spr_upstream_stop(east);
	spr_upstream_stop(west);
	spr_inbox_free(answers);
}

/* Before the handshake is done, in the two ways that end a dialer of nng's for good. */
static void
test_hangs_up_in_the_handshake(void **state)
{
	flow *f = *state;
	char bound[64];
	int listener;

	start_upstream(f); /* for an address */
	stop_upstream(f);
	assert_true((listener = spr_sp_listen(f->upstream_url, bound)) >= 0);
	begin(f, NULL);
	for (unsigned n = 0; n < 3; n++) {
		hang_up_with_reset(accept(listener, NULL, NULL));
		close(accept(listener, NULL, NULL));
	}
	close(listener);
	push_three(f);
	start_upstream(f);
	expect_three_answers(f);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_absent_at_start),
	    flow_test(test_down_and_back),
	    flow_test(test_refuses),
	    flow_test(test_answers_garbage),
	    flow_test(test_is_silent),
	    flow_test(test_hangs_up),
	    flow_test(test_is_slow),
	    flow_test(test_never_early),
	    flow_test(test_named_upstreams),
	    flow_test(test_two_faces),
	    flow_test(test_refuses_one_id),
	    flow_test(test_one_name_is_silent),
	    flow_test(test_hangs_up_in_the_handshake),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

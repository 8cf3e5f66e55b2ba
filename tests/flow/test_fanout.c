/*
 * fanout - how many jobs a notification makes, and how notifications are told apart: nobody, one, ten, a thousand and a
 * hundred thousand subscribers; bare and envelope; many producers and workers; several documents in a message.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BODY "{\"predicate\":\"UN.A.B.created\",\"n\": 1}"

static void
test_nobody_is_subscribed(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN.X", "http://x");
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	assert_true(stat_of(f, "spreader_acked_total{result=\"no_subscribers\"}") == 1);
	finish(f);
}

static void
test_one(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	push_envelope(f, "1", BODY);
	expect_job(f, "http://a", BODY);
	expect_ack(f, "1");
	finish(f);
}

static void
test_ten_patterns_share_callbacks(void **state)
{
	static const char *const patterns[] = {"UN",     "un.*",   "UN.A",
					       "un.a.*", "UN.A.B", "Un.A.b.Created"};
	flow *f = *state;
	char callback[32];

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(callback, sizeof(callback), "http://callback/%u", i);
		for (size_t p = i % 2; p < sizeof(patterns) / sizeof(patterns[0]); p += 2)
			subscribe(f, patterns[p], callback);
	}
	subscribe(f, "UN.A.BX", "http://no");
	subscribe(f, "UN.A.B.created.deeper", "http://no");
	push_envelope(f, "1", BODY);
	expect_ack(f, "1");
	expect_many_jobs(f, 10, BODY);
	finish(f);
}

static void
test_a_thousand(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe_many(f, "UN.A.*", 1000);
	push_envelope(f, "1", BODY);
	expect_many_jobs(f, 1000, BODY);
	expect_ack(f, "1");
	finish(f);
}

/*
 * Slices of 128 jobs with other work between: small notifications that come while a large one is under way are done
 * long before it. 50 MB of jobs, so that the kernel's buffers cannot swallow the difference.
 */
static void
test_a_hundred_thousand_beside_small_ones(void **state)
{
	flow *f = *state;
	spr_worker *worker;
	char id[16], body[512];

	snprintf(body, sizeof(body), "{\"predicate\":\"UN.A\",\"pad\":\"%0400d\"}", 0);
	start_upstream(f);
	start_daemon(f, NULL);
	worker = start_limited_worker(f, 20000);
	subscribe_many(f, "UN.A.*", 100000);
	subscribe(f, "ZZ", "http://small");
	push_envelope(f, "large", body);
	assert_true(spr_inbox_wait(f->jobs, 20000, spr_test_deadline_ms()));
	for (unsigned i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "%u", i);
		push_envelope(f, id, "{\"predicate\":\"ZZ\"}");
	}
	expect_stat(f, "spreader_messages_received_total", 21);
	spr_worker_allow(worker, 70000);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "%u", i);
		expect_job(f, "http://small", "{\"predicate\":\"ZZ\"}");
		expect_ack(f, id);
	}
	assert_int_equal(spr_inbox_count(f->answers), 0); /* the large one is not done */
	spr_worker_allow(worker, SIZE_MAX);
	expect_many_jobs(f, 100000, body);
	expect_ack(f, "large");
	finish(f);
}

static void
wait_until_nothing_is_posted(flow *f)
{
	double before, now = 0;

	do {
		before = now;
		for (unsigned i = 0; i < 50; i++)
			now = stat_of(f, "spreader_jobs_posted_total");
	} while (now == 0 || now != before);
}

/* Jobs that come before the one of this callback. */
static unsigned
count_before(spr_sp *worker, const char *callback)
{
	const uint8_t *job;
	size_t len;
	unsigned n = 0;

	for (;; n++) {
		assert_int_equal(spr_sp_recv(worker, &job, &len, spr_test_deadline_ms()),
				 SPR_SP_OK);
		if (memmem(job, len, callback, strlen(callback)) != NULL)
			return (n);
	}
}

/*
 * What a worker that reads nothing has before it: its own buffer, which it has made small, what may be unsent in the kernel,
 * the daemon's lane and a slice. More than that a small one does not wait for.
 */
static void
test_a_small_one_waits_for_few(void **state)
{
	enum { LARGE = 50000, MOST = 1200 };
	flow *f = *state;
	spr_sp worker;
	const uint8_t *job;
	size_t len;
	char body[512];
	int bytes = 64 * 1024;
	unsigned n;

	snprintf(body, sizeof(body), "{\"predicate\":\"UN.A\",\"pad\":\"%0400d\"}", 0);
	start_daemon(f, NULL);
	assert_true(spr_sp_dial(&worker, f->outbox, SPR_SP_PULL));
	assert_int_equal(setsockopt(worker.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	subscribe_many(f, "UN.A.*", LARGE);
	subscribe(f, "ZZ", "http://small");
	push_text(f, body);
	wait_until_nothing_is_posted(f);
	push_text(f, "{\"predicate\":\"ZZ\"}");
	expect_stat(f, "spreader_messages_received_total", 2);
	n = count_before(&worker, "http://small");
	assert_in_range(n, 1, MOST);
	for (; n < LARGE; n++)
		assert_int_equal(spr_sp_recv(&worker, &job, &len, spr_test_deadline_ms()),
				 SPR_SP_OK);
	finish(f);
	spr_sp_close(&worker);
}

static void
test_bare(void **state)
{
	flow *f = *state;

	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN.A", "http://a");
	push_text(f, BODY);
	push_text(f, "{\"id\":\"is the body's own\",\"predicate\":\"UN.A\"}");
	push_text(f, "{\"predicate\":\"UN.A\",\"message\":{\"x\": [1,\t2]}}");
	expect_job(f, "http://a", BODY);
	expect_job(f, "http://a", "{\"id\":\"is the body's own\",\"predicate\":\"UN.A\"}");
	expect_job(f, "http://a", "\"{\\\"x\\\": [1,\\t2]}\"");
	finish(f);
}

static void
test_several_producers_and_workers(void **state)
{
	enum { PRODUCERS = 4, EACH = 200, WORKERS = 3 };
	flow *f = *state;
	spr_sp producers[PRODUCERS];
	char text[128], body[64], id[32];
	int len;

	start_upstream(f);
	start_daemon(f, FLAGS("--dispatchers", "3", "--receivers", "3"));
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(f);
	subscribe(f, "UN", "http://a");
	for (unsigned p = 0; p < PRODUCERS; p++)
		assert_true(spr_sp_dial(&producers[p], f->intake, SPR_SP_PUSH));
	for (unsigned i = 0; i < EACH * PRODUCERS; i++) {
		len = snprintf(text, sizeof(text),
			       "{\"id\":\"%u\",\"body\":{\"predicate\":\"UN.A\",\"i\":%u}}", i, i);
		assert_int_equal(
		    spr_sp_send(&producers[i % PRODUCERS], NULL, 0, text, (size_t)len, 10000),
		    SPR_SP_OK);
	}
	for (unsigned i = 0; i < EACH * PRODUCERS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		snprintf(body, sizeof(body), "{\"predicate\":\"UN.A\",\"i\":%u}", i);
		expect_job(f, "http://a", body);
		expect_ack(f, id);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		assert_true(spr_worker_count(f->workers[i]) > 0);
	for (unsigned p = 0; p < PRODUCERS; p++)
		spr_sp_close(&producers[p]);
	finish(f);
}

/* Reading resumes behind the first newline after the broken document's first byte. */
static void
test_several_documents_and_a_broken_one(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_text(f, "");
	push_text(f, "{\"id\":\"1\",\"body\":{\"predicate\":\"UN.1\"}}\n"
		     "{\"id\":\"2\",\"body\":{\"predicate\":\n"
		     "{\"id\":\"3\",\"body\":{\"predicate\":\"UN.3\"}}{\"id\":\"4\",\"body\":{"
		     "\"predicate\":\"UN.4\"}}\n"
		     "{\"id\":\"5\",\"body\":{}}\n\n \t\r\n"
		     "{\"body\":{\"predicate\":\"UN.6\"}}\n"
		     "{\"id\":\"7\",\"body\":{\"predicate\":\"UN.7\"}}");
	expect_job(f, "http://a", "{\"predicate\":\"UN.1\"}");
	expect_job(f, "http://a", "{\"predicate\":\"UN.3\"}");
	expect_job(f, "http://a", "{\"predicate\":\"UN.4\"}");
	expect_job(f, "http://a", "{\"predicate\":\"UN.7\"}");
	expect_ack(f, "1");
	expect_ack(f, "3");
	expect_ack(f, "4");
	expect_nack(f, "5", "no_predicate");
	expect_ack(f, "7");
	assert_true(stat_of(f, "spreader_rejected_total{reason=\"not_json\"}") == 1);
	assert_true(stat_of(f, "spreader_rejected_total{reason=\"no_id\"}") == 1);
	assert_true(stat_of(f, "spreader_messages_empty_total") == 1);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_nobody_is_subscribed),
	    flow_test(test_one),
	    flow_test(test_ten_patterns_share_callbacks),
	    flow_test(test_a_thousand),
	    flow_test(test_a_hundred_thousand_beside_small_ones),
	    flow_test(test_a_small_one_waits_for_few),
	    flow_test(test_bare),
	    flow_test(test_several_producers_and_workers),
	    flow_test(test_several_documents_and_a_broken_one),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

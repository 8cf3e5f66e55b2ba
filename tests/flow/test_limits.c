/*
 * limits - what is too large costs its sender, and nobody else.
 */
#include "flow.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL "{\"predicate\":\"UN.A\"}"

/* {"predicate":"UN.A","pad":"000..."} of `len` bytes; the caller frees it. */
static char *
body_of(size_t len)
{
	char *body = malloc(len + 1);
	int n;

	assert_non_null(body);
	n = snprintf(body, len + 1, "{\"predicate\":\"UN.A\",\"pad\":\"");
	memset(body + n, '0', len - (size_t)n);
	strcpy(body + len - 2, "\"}");
	return (body);
}

static void
test_document_too_large(void **state)
{
	flow *f = *state;
	char *large = body_of(2000);
	char *message;

	start_upstream(f);
	start_daemon(f, FLAGS("--max-notification", "1KiB"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	assert_true(asprintf(&message,
			     "{\"id\":\"1\",\"body\":" SMALL
			     "}\n{\"id\":\"2\",\"body\":%s}\n{\"id\":\"3\",\"body\":" SMALL "}\n",
			     large) > 0);
	push_text(f, message);
	expect_ack(f, "1");
	expect_nack(f, "2", "too_large");
	expect_ack(f, "3");
	expect_job(f, "http://a", SMALL);
	expect_job(f, "http://a", SMALL);
	finish(f);
	free(message);
	free(large);
}

static void
test_job_too_large(void **state)
{
	flow *f = *state;
	char *large = body_of(1020);

	start_upstream(f);
	start_daemon(f, FLAGS("--max-job", "1KiB"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_envelope(f, "1", large);
	push_envelope(f, "2", SMALL);
	expect_nack(f, "1", "too_large");
	expect_ack(f, "2");
	expect_job(f, "http://a", SMALL);
	finish(f);
	free(large);
}

/* A message of exactly the limit is fine, one byte more costs the connection: this sender's only. */
static void
test_message_too_large(void **state)
{
	enum { LIMIT = 65536 };
	flow *f = *state;
	spr_sp bad;
	char *padded = malloc(LIMIT + 1);

	assert_non_null(padded);
	memset(padded, ' ', LIMIT + 1);
	memcpy(padded, SMALL, strlen(SMALL));
	start_daemon(f, FLAGS("--max-message", "64KiB", "--max-notification", "1KiB"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_bytes(f, padded, LIMIT);
	expect_job(f, "http://a", SMALL);
	assert_true(spr_sp_dial(&bad, f->intake, SPR_SP_PUSH));
	(void)spr_sp_send(&bad, NULL, 0, padded, LIMIT + 1, spr_test_deadline_ms());
	assert_true(spr_sp_wait_gone(&bad, spr_test_deadline_ms()));
	spr_sp_close(&bad);
	expect_stat(f, "spreader_pipes_removed_total{socket=\"intake\"}", 1);
	push_text(f, SMALL);
	expect_job(f, "http://a", SMALL);
	finish(f);
	free(padded);
}

/* A frame that says it is 2^63 - 1 bytes, one cut short, and a peer that is no SP at all. */
static void
test_broken_peers(void **state)
{
	flow *f = *state;
	uint64_t length = htobe64(INT64_MAX);
	spr_sp bad;

	start_daemon(f, NULL);
	start_worker(f);
	subscribe(f, "UN", "http://a");
	push_text(f, SMALL);
	assert_true(spr_sp_dial(&bad, f->intake, SPR_SP_PUSH));
	(void)spr_sp_send_bytes(&bad, &length, sizeof(length), spr_test_deadline_ms());
	assert_true(spr_sp_wait_gone(&bad, spr_test_deadline_ms()));
	spr_sp_close(&bad);
	assert_true(spr_sp_dial(&bad, f->intake, SPR_SP_PUSH));
	(void)spr_sp_send_bytes(&bad, "\0\0\0", 3, spr_test_deadline_ms());
	spr_sp_close(&bad);
	assert_false(
	    spr_sp_dial(&bad, f->intake, SPR_SP_REQ)); /* the wrong protocol for an intake */
	push_text(f, SMALL);
	expect_job(f, "http://a", SMALL);
	expect_job(f, "http://a", SMALL);
	finish(f);
}

static void
test_too_many_callbacks(void **state)
{
	flow *f = *state;

	start_upstream(f);
	start_daemon(f, FLAGS("--max-fanout", "10"));
	start_worker(f);
	subscribe_many(f, "UN.A", 10);
	push_envelope(f, "1", SMALL);
	expect_ack(f, "1");
	expect_many_jobs(f, 10, SMALL);
	subscribe(f, "UN", "http://one/more");
	push_envelope(f, "2", SMALL);
	expect_nack(f, "2", "overload");
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_document_too_large), flow_test(test_job_too_large),
	    flow_test(test_message_too_large),  flow_test(test_broken_peers),
	    flow_test(test_too_many_callbacks),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

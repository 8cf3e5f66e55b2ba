/*
 * listeners - peers that connect and leave before they have said a word, or that answer badly when the daemon listens for
 * them: whoever comes next is served. nng's own listeners are silenced for good by the first of these.
 */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect_and_close.h"

#define BODY    "{\"predicate\":\"UN.A\"}"
#define VERSION "{\"op\":\"version\"}"

static void
storm(const char *url)
{
	for (unsigned n = 0; n < 20; n++) {
		connect_and_close(url);
		connect_and_reset(url);
	}
}

static void
test_control(void **state)
{
	flow *f = *state;
	char ipc[96];
	char *reply;

	snprintf(ipc, sizeof(ipc), "ipc://%s/control", f->dir);
	start_daemon(f, FLAGS("--control-listen", ipc));
	for (unsigned i = 0; i < 2; i++) {
		const char *url = i == 0 ? f->control : ipc;
		spr_sp asker;

		storm(url);
		assert_true(spr_sp_dial(&asker, url, SPR_SP_REQ));
		reply = spr_sp_ask(&asker, VERSION, strlen(VERSION), spr_test_deadline_ms());
		assert_non_null(reply);
		assert_non_null(strstr(reply, "\"ok\":true"));
		free(reply);
		spr_sp_close(&asker);
	}
	finish(f);
}

/* The next request for answers holds this id. */
static void
hear(spr_sp *upstream, const char *id, uint8_t request_id[4])
{
	char named[32];
	char *text;
	const uint8_t *data;
	size_t len;

	snprintf(named, sizeof(named), "\"ack\":[\"%s\"]", id);
	assert_int_equal(spr_sp_recv(upstream, &data, &len, spr_test_deadline_ms()), SPR_SP_OK);
	assert_true(len > 4);
	memcpy(request_id, data, 4);
	assert_non_null(text = strndup((const char *)data + 4, len - 4));
	assert_non_null(strstr(text, named));
	free(text);
}

static void
say(spr_sp *upstream, const uint8_t request_id[4], const char *reply)
{
	assert_int_equal(
	    spr_sp_send(upstream, request_id, 4, reply, strlen(reply), spr_test_deadline_ms()),
	    SPR_SP_OK);
}

/* Says nothing; then nothing of sense; then no; then leaves; and the one that comes back takes the answer. */
static void
misbehave(flow *f, const char *url, const char *id)
{
	spr_sp upstream;
	uint8_t request_id[4];

	storm(url);
	assert_true(spr_sp_dial(&upstream, url, SPR_SP_REP));
	push_envelope(f, id, BODY);
	hear(&upstream, id, request_id);
	hear(&upstream, id, request_id);
	say(&upstream, request_id, "\x01");
	hear(&upstream, id, request_id);
	say(&upstream, request_id, "{\"ok\":false}");
	hear(&upstream, id, request_id);
	spr_sp_close(&upstream);
	assert_true(spr_sp_dial(&upstream, url, SPR_SP_REP));
	hear(&upstream, id, request_id);
	say(&upstream, request_id, "{\"ok\":true}");
	spr_sp_close(&upstream);
	expect_job(f, "http://a", BODY);
}

static void
test_ack(void **state)
{
	flow *f = *state;
	char ipc[96];

	snprintf(ipc, sizeof(ipc), "ipc://%s/ack", f->dir);
	start_daemon(f, FLAGS("--ack-listen", ipc, "--ack-listen", "tcp://127.0.0.1:0",
			      "--ack-timeout", "200ms"));
	start_worker(f);
	subscribe(f, "UN", "http://a");
	misbehave(f, ipc, "1");
	expect_stat(f, "spreader_answers_accepted_total", 1);
	misbehave(f, listening(f, "ack", 1), "2");
	expect_stat(f, "spreader_answers_accepted_total", 2);
	finish(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    flow_test(test_control),
	    flow_test(test_ack),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

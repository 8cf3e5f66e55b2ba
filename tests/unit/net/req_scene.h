/*
 * req_scene - requests to REP peers on raw sockets: what the tests of every transport's asking half share. Define TRANSPORT
 * first.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spr_test.h"

#include "base/mem.h"
#include "net/net.h"
#include "sp_raw.h"

#define WINDOW    3
#define MAX_REPLY 1000
#define LIMIT_MS  20000
#define LONG_MS   60000 /* a time-out that must not be what ends the request */
#define ID_LEN    4

static const spr_transport *const transport = &TRANSPORT;

typedef struct scene {
	spr_req *req;
	int listener;
	char url[64];
	atomic_uint n_replies[WINDOW]; /* calls of on_reply */
	atomic_uint result[WINDOW];    /* the last one's */
	char reply[WINDOW][16];
	atomic_uint n_added, n_removed;
} scene;

static inline void
on_reply(void *arg, unsigned slot, spr_err result, const uint8_t *data, size_t len)
{
	scene *s = arg;

	memset(s->reply[slot], 0, sizeof(s->reply[slot]));
	if (data != NULL)
		memcpy(s->reply[slot], data, len < 15 ? len : 15);
	atomic_store(&s->result[slot], result);
	atomic_fetch_add(&s->n_replies[slot], 1);
}

static inline void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(change > 0 ? &s->n_added : &s->n_removed, 1);
}

static inline spr_req_config
make_config(scene *s, unsigned timeout_ms)
{
	*s = (scene){.listener = -1};
	return ((spr_req_config){
	    .window = WINDOW,
	    .timeout_ms = timeout_ms,
	    .max_reply = MAX_REPLY,
	    .limit_name = "the test's limit",
	    .pipes = {.on_pipe = on_pipe, .arg = s},
	    .on_reply = on_reply,
	    .arg = s,
	});
}

/* Dials a REP listener of the test. */
static inline void
open_scene(scene *s, unsigned timeout_ms)
{
	spr_req_config config = make_config(s, timeout_ms);

	assert_true((s->listener = spr_sp_listen("tcp://127.0.0.1:0", s->url)) >= 0);
	assert_ok(transport->req_open(&s->req, &config));
	assert_int_equal(transport->req_peers(s->req), 0);
	assert_ok(transport->req_dial(s->req, s->url));
}

static inline void
close_scene(scene *s)
{
	transport->req_stop(s->req);
	transport->req_close(s->req);
	assert_int_equal(s->n_added, s->n_removed);
	if (s->listener >= 0)
		close(s->listener);
}

static inline void
accept_peer(scene *s, spr_sp *peer)
{
	unsigned n_added = s->n_added; /* alone: the end of the one before may be told later */

	assert_true(spr_sp_adopt(peer, accept(s->listener, NULL, NULL), SPR_SP_REP));
	assert_true(wait_until(s->n_added > n_added, LIMIT_MS));
}

static inline void
send_request(scene *s, unsigned slot, const char *text)
{
	assert_ok(transport->req_send(s->req, slot, text, strlen(text)));
}

/* The next request is this text; its id is needed for the reply. */
static inline void
expect_request(spr_sp *peer, const char *text, char id[ID_LEN])
{
	const uint8_t *data;
	size_t len;

	assert_int_equal(spr_sp_recv(peer, &data, &len, LIMIT_MS), SPR_SP_OK);
	assert_int_equal(len, ID_LEN + strlen(text));
	assert_memory_equal(data + ID_LEN, text, strlen(text));
	memcpy(id, data, ID_LEN);
}

static inline void
reply(spr_sp *peer, const char id[ID_LEN], const char *text)
{
	assert_int_equal(spr_sp_send(peer, id, ID_LEN, text, strlen(text), LIMIT_MS), SPR_SP_OK);
}

static inline void
expect_end(scene *s, unsigned slot, unsigned n, spr_err result, const char *text)
{
	assert_true(wait_until(s->n_replies[slot] == n, LIMIT_MS));
	assert_int_equal(s->result[slot], result);
	assert_string_equal(s->reply[slot], text);
}

static inline void
test_replies_find_their_slots(void **state)
{
	scene s;
	spr_sp peer;
	char id[WINDOW][ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	assert_int_equal(transport->req_peers(s.req), 1);
	for (unsigned n = 1; n <= 3; n++) {
		send_request(&s, 0, "zero");
		expect_request(&peer, "zero", id[0]);
		send_request(&s, 1, "one");
		expect_request(&peer, "one", id[1]);
		send_request(&s, 2, "two");
		expect_request(&peer, "two", id[2]);
		reply(&peer, id[2], "two!");
		expect_end(&s, 2, n, SPR_OK, "two!");
		reply(&peer, id[0], "");
		expect_end(&s, 0, n, SPR_OK, "");
		assert_int_equal(s.n_replies[1], n - 1);
		reply(&peer, id[2], "again"); /* nobody waits for it */
		reply(&peer, id[1], "one!");
		expect_end(&s, 1, n, SPR_OK, "one!");
		assert_int_equal(s.n_replies[2], n);
	}
	spr_sp_close(&peer);
	close_scene(&s);
}

static inline void
test_no_reply(void **state)
{
	scene s;
	spr_sp peer;
	char id[ID_LEN], late[ID_LEN];

	(void)state;
	open_scene(&s, 50);
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	expect_request(&peer, "a", late);
	expect_end(&s, 0, 1, SPR_E_TIMEOUT, "");
	reply(&peer, late, "late");
	for (unsigned n = 2; s.result[0] != SPR_OK;
	     n++) { /* a slow machine may need more than one try */
		assert_true(n < 100);
		send_request(&s, 0, "b");
		expect_request(&peer, "b", id);
		assert_memory_not_equal(id, late, ID_LEN);
		reply(&peer, id, "b!");
		assert_true(wait_until(s.n_replies[0] == n, LIMIT_MS));
	}
	assert_string_equal(s.reply[0], "b!");
	spr_sp_close(&peer);
	close_scene(&s);
}

/* Nothing is sent, and whoever comes later hears only of what was sent then. */
static inline void
test_nobody_there(void **state)
{
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	char bound[SPR_URL_MAX], id[ID_LEN];
	spr_sp peer;

	(void)state;
	assert_ok(transport->req_open(&s.req, &config));
	assert_ok(transport->req_listen(s.req, "tcp://127.0.0.1:0", bound));
	for (unsigned slot = 0; slot < WINDOW; slot++)
		assert_fails(transport->req_send(s.req, slot, "a", 1), SPR_E_CLOSED);
	assert_true(spr_sp_dial(&peer, bound, SPR_SP_REP));
	assert_true(wait_until(transport->req_peers(s.req) == 1, LIMIT_MS));
	send_request(&s, 0, "b");
	expect_request(&peer, "b", id);
	reply(&peer, id, "b!");
	expect_end(&s, 0, 1, SPR_OK, "b!");
	for (unsigned slot = 1; slot < WINDOW; slot++)
		assert_int_equal(s.n_replies[slot], 0);
	spr_sp_close(&peer);
	close_scene(&s);
}

/* It is told at once, and the request is not sent again: that is the caller's to decide. */
static inline void
test_the_peer_closes_mid_request(void **state)
{
	scene s;
	spr_sp peer, next;
	char id[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	send_request(&s, 1, "b");
	expect_request(&peer, "a", id);
	expect_request(&peer, "b", id);
	spr_sp_close(&peer);
	expect_end(&s, 0, 1, SPR_E_CLOSED, "");
	expect_end(&s, 1, 1, SPR_E_CLOSED, "");
	/* and the peer is back */
	accept_peer(&s, &next);
	send_request(&s, 1, "c");
	expect_request(&next, "c", id);
	reply(&next, id, "c!");
	expect_end(&s, 1, 2, SPR_OK, "c!");
	assert_int_equal(s.n_replies[0], 1);
	assert_int_equal(transport->req_peers(s.req), 1);
	spr_sp_close(&next);
	assert_true(wait_until(transport->req_peers(s.req) == 0, LIMIT_MS));
	close_scene(&s);
}

static inline void
test_a_reply_too_long_or_without_an_id(void **state)
{
	static const char text[MAX_REPLY];
	scene s;
	spr_sp peer;
	char id[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	(void)spr_sp_send(&peer, id, ID_LEN, text, sizeof(text), LIMIT_MS);
	expect_end(&s, 0, 1, SPR_E_CLOSED, "");
	spr_sp_close(&peer);
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	(void)spr_sp_send(&peer, NULL, 0, id, ID_LEN - 1, LIMIT_MS);
	expect_end(&s, 0, 2, SPR_E_CLOSED, "");
	spr_sp_close(&peer);
	close_scene(&s);
}

static inline void
test_a_peer_of_the_wrong_protocol(void **state)
{
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	char bound[SPR_URL_MAX], id[ID_LEN];
	spr_sp peer;

	(void)state;
	assert_ok(transport->req_open(&s.req, &config));
	assert_ok(transport->req_listen(s.req, "tcp://127.0.0.1:0", bound));
	for (unsigned n = 0; n < 3; n++) {
		assert_false(spr_sp_dial(&peer, bound, SPR_SP_PUSH));
		assert_true(wait_until(s.n_removed == s.n_added, LIMIT_MS));
	}
	assert_true(wait_until(transport->req_peers(s.req) == 0, LIMIT_MS));
	assert_true(spr_sp_dial(&peer, bound, SPR_SP_REP));
	assert_true(wait_until(transport->req_peers(s.req) == 1, LIMIT_MS));
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	spr_sp_close(&peer);
	close_scene(&s);
}

/* Requests in all stages; each is ended once, and none can be made afterwards. */
static inline void
test_stop_ends_every_request(void **state)
{
	scene s;
	spr_sp peer;
	char id[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	send_request(&s, 1, "b");
	expect_request(&peer, "b", id);
	transport->req_stop(s.req);
	assert_int_equal(s.n_replies[0], 1);
	assert_int_equal(s.n_replies[1], 1);
	assert_in_range(s.result[1], SPR_E_CLOSED, SPR_E_CANCELLED);
	assert_int_equal(s.n_replies[2], 0);
	assert_fails(transport->req_send(s.req, 2, "c", 1), SPR_E_CANCELLED);
	transport->req_stop(s.req);
	close_scene(&s);
	assert_int_equal(s.n_replies[1], 1);
	assert_int_equal(s.n_replies[2], 0);
	spr_sp_close(&peer);
	transport->req_close(NULL);
}

/* A stop between the two halves of a request: the send has completed, the receive is not posted yet. */
static inline void
test_stop_right_behind_the_send(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 50; k++) {
		scene s;
		spr_sp peer;

		open_scene(&s, LONG_MS);
		accept_peer(&s, &peer);
		for (unsigned slot = 0; slot < WINDOW; slot++)
			send_request(&s, slot, "a");
		transport->req_stop(s.req);
		for (unsigned slot = 0; slot < WINDOW; slot++) {
			assert_int_equal(s.n_replies[slot], 1);
			assert_in_range(s.result[slot], SPR_E_CLOSED, SPR_E_CANCELLED);
		}
		close_scene(&s);
		spr_sp_close(&peer);
	}
}

static inline void
test_bad_urls(void **state)
{
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	char bound[SPR_URL_MAX];

	(void)state;
	assert_ok(transport->req_open(&s.req, &config));
	assert_fails(transport->req_listen(s.req, "gopher://here", bound), SPR_E_ADDRESS);
	assert_non_null(strstr(spr_error_text(SPR_E_ADDRESS), "listen on gopher://here: "));
	assert_fails(transport->req_dial(s.req, "gopher://here"), SPR_E_ADDRESS);
	assert_non_null(strstr(spr_error_text(SPR_E_ADDRESS), "dial gopher://here: "));
	close_scene(&s);
}

static inline void
test_no_memory(void **state)
{
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	unsigned long n_allocations;

	(void)state;
	spr_mem_fail_at(0);
	assert_ok(transport->req_open(&s.req, &config));
	n_allocations = spr_mem_count();
	assert_true(n_allocations >= 2);
	for (unsigned long n = 1; n <= n_allocations; n++) {
		spr_req *none = NULL;

		spr_mem_fail_at(n);
		assert_fails(transport->req_open(&none, &config), SPR_E_NOMEM);
		assert_null(none);
	}
	spr_mem_fail_at(0);
	close_scene(&s);
}

/*
 * rep_scene - answers to REQ peers on raw sockets: what the tests of every transport's answering half share. Define
 * TRANSPORT first.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spr_test.h"

#include "base/mem.h"
#include "net/net.h"
#include "sp_raw.h"

#define WINDOW      3
#define MAX_REQUEST 1000
#define LIMIT_MS    20000

static const spr_transport *const transport = &TRANSPORT;

/* A request that came in. */
typedef struct request {
	unsigned number;
	char text[16];
} request;

typedef struct scene {
	spr_rep *rep;
	char *dir;
	char url[SPR_URL_MAX];
	pthread_mutex_t lock; /* guards the queue of requests that nobody has answered */
	request request[64];
	unsigned head, tail;
	atomic_uint n_requests, n_added, n_removed;
	atomic_bool is_over;
	/* of the thread that answers */
	pthread_t thread;
	atomic_bool is_answering;
} scene;

static inline void
on_request(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	scene *s = arg;
	request *r;

	pthread_mutex_lock(&s->lock);
	r = &s->request[s->tail++ % 64];
	*r = (request){.number = number};
	memcpy(r->text, data, len < 15 ? len : 15);
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_add(&s->n_requests, 1);
}

static inline void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(change > 0 ? &s->n_added : &s->n_removed, 1);
}

static inline bool
take_request(scene *s, request *out)
{
	bool has_any;

	pthread_mutex_lock(&s->lock);
	if ((has_any = s->head < s->tail))
		*out = s->request[s->head++ % 64];
	pthread_mutex_unlock(&s->lock);
	return (has_any);
}

static inline spr_rep_config
make_config(scene *s)
{
	*s = (scene){.lock = PTHREAD_MUTEX_INITIALIZER, .dir = spr_test_tmpdir()};
	return ((spr_rep_config){
	    .window = WINDOW,
	    .max_request = MAX_REQUEST,
	    .limit_name = "the test's limit",
	    .pipes = {.on_pipe = on_pipe, .arg = s},
	    .on_request = on_request,
	    .arg = s,
	});
}

static inline void
open_scene(scene *s, const char *scheme)
{
	spr_rep_config config = make_config(s);
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

	if (strcmp(scheme, "ipc") == 0)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(transport->rep_open(&s->rep, &config));
	assert_ok(transport->rep_listen(s->rep, url, s->url));
	transport->rep_start(s->rep);
}

static inline void
close_scene(scene *s)
{
	transport->rep_stop(s->rep);
	transport->rep_close(s->rep);
	assert_int_equal(s->n_added, s->n_removed);
	spr_test_cleanup(s->dir);
}

/* Asks under an id of one letter. */
static inline void
ask(spr_sp *peer, char id, const char *text)
{
	const char head[4] = {(char)0x80, 0, 0, id};

	assert_int_equal(spr_sp_send(peer, head, sizeof(head), text, strlen(text), LIMIT_MS),
			 SPR_SP_OK);
}

static inline void
expect_reply(spr_sp *peer, char id, const char *text)
{
	const char head[4] = {(char)0x80, 0, 0, id};
	const uint8_t *data;
	size_t len;

	assert_int_equal(spr_sp_recv(peer, &data, &len, LIMIT_MS), SPR_SP_OK);
	assert_int_equal(len, sizeof(head) + strlen(text));
	assert_memory_equal(data, head, sizeof(head));
	assert_memory_equal(data + sizeof(head), text, strlen(text));
}

static inline request
expect_request(scene *s, const char *text)
{
	request r;

	assert_true(wait_until(take_request(s, &r), LIMIT_MS));
	assert_string_equal(r.text, text);
	return (r);
}

static inline void
reply(scene *s, const request *r, const char *text)
{
	transport->rep_reply(s->rep, r->number, text, strlen(text));
}

/* More peers than the window: as many as it is wide are worked on, in any order; the others wait. */
static inline void
test_requests_in_parallel(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp peer[WINDOW + 1];
	request r[WINDOW + 1];

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		for (unsigned i = 0; i <= WINDOW; i++) {
			char text[2] = {(char)('a' + i)};

			assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_REQ));
			ask(&peer[i], (char)i, text);
			if (i < WINDOW)
				r[i] = expect_request(&s, text);
			for (unsigned other = 0; other < i && i < WINDOW; other++)
				assert_int_not_equal(r[i].number, r[other].number);
		}
		assert_int_equal(s.n_requests, WINDOW);
		reply(&s, &r[1], "b!");
		expect_reply(&peer[1], 1, "b!");
		r[WINDOW] = expect_request(&s, "d"); /* a context has become free */
		reply(&s, &r[WINDOW], "d!");
		expect_reply(&peer[WINDOW], WINDOW, "d!");
		reply(&s, &r[2], "");
		expect_reply(&peer[2], 2, "");
		reply(&s, &r[0], "a!");
		expect_reply(&peer[0], 0, "a!");
		assert_int_equal(s.n_added, WINDOW + 1);
		for (unsigned i = 0; i <= WINDOW; i++)
			spr_sp_close(&peer[i]);
		assert_true(wait_until(s.n_removed == WINDOW + 1, LIMIT_MS));
		close_scene(&s);
	}
}

static inline void
test_requests_pipelined_by_one_peer(void **state)
{
	scene s;
	spr_sp peer;
	request first, second;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	ask(&peer, 1, "one");
	ask(&peer, 2, "two");
	first = expect_request(&s, "one");
	second = expect_request(&s, "two");
	reply(&s, &second, "two!");
	expect_reply(&peer, 2, "two!");
	reply(&s, &first, "one!");
	expect_reply(&peer, 1, "one!");
	spr_sp_close(&peer);
	close_scene(&s);
}

/* It costs only itself: the context goes on. */
static inline void
test_the_asker_has_gone(void **state)
{
	scene s;
	spr_sp peer;
	request r;

	(void)state;
	open_scene(&s, "tcp");
	for (unsigned n = 1; n <= 3 * WINDOW; n++) {
		assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
		ask(&peer, 1, "a");
		r = expect_request(&s, "a");
		spr_sp_close(&peer);
		assert_true(wait_until(s.n_removed == n, LIMIT_MS));
		reply(&s, &r, "a!");
	}
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	for (unsigned n = 0; n < 2 * WINDOW; n++) {
		ask(&peer, 2, "b");
		r = expect_request(&s, "b");
		reply(&s, &r, "b!");
		expect_reply(&peer, 2, "b!");
	}
	spr_sp_close(&peer);
	close_scene(&s);
}

static inline void
test_a_request_too_long_or_without_an_id(void **state)
{
	static const char text[MAX_REQUEST + 1];
	scene s;
	spr_sp good, bad;
	request r;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&good, s.url, SPR_SP_REQ));
	assert_true(spr_sp_dial(&bad, s.url, SPR_SP_REQ));
	(void)spr_sp_send(&bad, NULL, 0, text, sizeof(text), LIMIT_MS);
	assert_true(spr_sp_wait_gone(&bad, LIMIT_MS));
	spr_sp_close(&bad);
	assert_true(spr_sp_dial(&bad, s.url, SPR_SP_REQ));
	(void)spr_sp_send(&bad, NULL, 0, text, 3, LIMIT_MS);
	assert_true(spr_sp_wait_gone(&bad, LIMIT_MS));
	spr_sp_close(&bad);
	assert_false(spr_sp_dial(&bad, s.url, SPR_SP_PUSH)); /* nor of the wrong protocol */
	assert_true(wait_until(s.n_removed == s.n_added - 1, LIMIT_MS));
	ask(&good, 1, "a");
	r = expect_request(&s, "a");
	reply(&s, &r, "a!");
	expect_reply(&good, 1, "a!");
	assert_int_equal(s.n_requests, 1);
	spr_sp_close(&good);
	close_scene(&s);
}

/* Answers whatever comes, until it is told to end and nothing is owed any more. */
static inline void *
play_owner(void *arg)
{
	scene *s = arg;
	request r;

	while (!atomic_load(&s->is_over)) {
		if (take_request(s, &r)) {
			reply(s, &r, r.text);
			atomic_store(&s->is_answering, true);
		}
	}
	while (take_request(s, &r))
		reply(s, &r, r.text);
	return (NULL);
}

static inline void
start_owner(scene *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, play_owner, s), 0);
}

static inline void
stop_owner(scene *s)
{
	atomic_store(&s->is_over, true);
	pthread_join(s->thread, NULL);
}

static inline void
test_replies_from_another_thread(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "ipc");
	start_owner(&s);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	for (unsigned n = 0; n < 200; n++) {
		char text[16];
		char *answer;

		snprintf(text, sizeof(text), "request %u", n);
		assert_non_null(answer = spr_sp_ask(&peer, text, strlen(text), LIMIT_MS));
		assert_string_equal(answer, text);
		free(answer);
	}
	stop_owner(&s);
	spr_sp_close(&peer);
	close_scene(&s);
}

/* Peers connected, requests owed, replies on their way: neither a hang nor a callback afterwards, nothing lost of memory. */
static inline void
test_stop_in_the_middle(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp peer[2];

	(void)state;
	for (unsigned k = 0; k < 20; k++) {
		unsigned n_requests;

		open_scene(&s, schemes[k % 2]);
		for (unsigned i = 0; i < 2; i++) {
			assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_REQ));
			for (char id = 0; id < 20; id++)
				ask(&peer[i], id, "a");
		}
		start_owner(&s);
		assert_true(wait_until(s.is_answering, LIMIT_MS));
		transport->rep_stop(s.rep);
		n_requests = s.n_requests;
		stop_owner(&s); /* replies what is owed */
		assert_int_equal(s.n_requests, n_requests);
		close_scene(&s);
		for (unsigned i = 0; i < 2; i++)
			spr_sp_close(&peer[i]);
	}
}

/* Nobody answers: close drops what is owed. */
static inline void
test_close_with_requests_owed(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	for (char id = 0; id < 10; id++)
		ask(&peer, id, "a");
	assert_true(wait_until(s.n_requests == WINDOW, LIMIT_MS));
	close_scene(&s);
	assert_int_equal(s.n_requests, WINDOW);
	spr_sp_close(&peer);
	transport->rep_close(NULL);
}

static inline void
test_bad_urls(void **state)
{
	scene s;
	spr_rep_config config = make_config(&s);
	char bound[SPR_URL_MAX];

	(void)state;
	assert_ok(transport->rep_open(&s.rep, &config));
	assert_fails(transport->rep_listen(s.rep, "gopher://here", bound), SPR_E_ADDRESS);
	assert_non_null(strstr(spr_error_text(SPR_E_ADDRESS), "listen on gopher://here: "));
	close_scene(&s);
}

static inline void
test_no_memory(void **state)
{
	scene s;
	spr_rep_config config = make_config(&s);
	unsigned long n_allocations;

	(void)state;
	spr_mem_fail_at(0);
	assert_ok(transport->rep_open(&s.rep, &config));
	n_allocations = spr_mem_count();
	assert_true(n_allocations >= 2);
	for (unsigned long n = 1; n <= n_allocations; n++) {
		spr_rep *none = NULL;

		spr_mem_fail_at(n);
		assert_fails(transport->rep_open(&none, &config), SPR_E_NOMEM);
		assert_null(none);
	}
	spr_mem_fail_at(0);
	close_scene(&s);
}

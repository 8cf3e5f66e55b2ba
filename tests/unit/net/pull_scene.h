/*
 * pull_scene - the receiving half of a transport against producers on raw sockets, over tcp and ipc: what the tests of
 * every such half share. Define TRANSPORT first.
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

#define MAX_MESSAGE  1000
#define MAX_RECEIVES 4
#define LIMIT_MS     20000

static const spr_transport *const transport = &TRANSPORT;

typedef struct scene {
	spr_pull *pull;
	char *dir;
	char url[SPR_URL_MAX];
	/* written by callbacks */
	atomic_uint n_received, n_wrong, n_added, n_removed;
	atomic_bool may_receive[MAX_RECEIVES];
	/* set by the test */
	atomic_bool is_parking; /* every message parks its receive */
	atomic_bool is_over;
	atomic_bool is_short_of_memory;
} scene;

/* A message is its own number, as text. */
static inline bool
on_receive(void *arg, unsigned receive, spr_buf *buf)
{
	scene *s = arg;
	bool parks = atomic_load(&s->is_parking);

	if (!atomic_exchange(&s->may_receive[receive], !parks) || atomic_load(&s->is_over))
		atomic_fetch_add(&s->n_wrong, 1);
	if (buf->len == 0 || buf->data[0] != 'm' || buf->data[buf->len - 1] != '.' ||
	    buf->received_ns == 0)
		atomic_fetch_add(&s->n_wrong, 1);
	spr_buf_drop(buf);
	if (atomic_load(&s->is_short_of_memory))
		spr_mem_fail_at(1); /* on this thread of nng's */
	atomic_fetch_add(&s->n_received, 1);
	return (!parks);
}

static inline void
on_pipe(void *arg, int change)
{
	scene *s = arg;

	atomic_fetch_add(change > 0 ? &s->n_added : &s->n_removed, 1);
}

static inline void
open_pull(scene *s, unsigned receives)
{
	spr_pull_config config = {
	    .socket = "intake",
	    .thread = "receiver",
	    .receives = receives,
	    .max_message = MAX_MESSAGE,
	    .pipes = {.on_pipe = on_pipe, .arg = s},
	    .on_receive = on_receive,
	    .arg = s,
	};

	*s = (scene){.dir = spr_test_tmpdir()};
	for (unsigned i = 0; i < MAX_RECEIVES; i++)
		atomic_init(&s->may_receive[i], true);
	assert_ok(transport->pull_open(&s->pull, &config));
}

static inline void
open_scene(scene *s, const char *scheme, unsigned receives)
{
	char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

	open_pull(s, receives);
	if (strcmp(scheme, "ipc") == 0)
		snprintf(url, sizeof(url), "ipc://%s/s", s->dir);
	assert_ok(transport->pull_listen(s->pull, url, s->url));
	transport->pull_start(s->pull);
}

static inline void
close_scene(scene *s)
{
	transport->pull_stop(s->pull);
	atomic_store(&s->is_over, true);
	transport->pull_close(s->pull);
	assert_int_equal(s->n_wrong, 0);
	assert_int_equal(s->n_added, s->n_removed);
	spr_test_cleanup(s->dir);
}

static inline void
push(spr_sp *peer, size_t len)
{
	char text[MAX_MESSAGE + 2];

	memset(text, ' ', sizeof(text));
	text[0] = 'm';
	text[len - 1] = '.';
	assert_int_equal(spr_sp_send(peer, NULL, 0, text, len, LIMIT_MS), SPR_SP_OK);
}

static inline void
test_messages_arrive(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp peer[2];

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		open_scene(&s, schemes[k % 2], k < 2 ? 1 : MAX_RECEIVES);
		for (unsigned i = 0; i < 2; i++)
			assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_PUSH));
		for (unsigned n = 0; n < 200; n++)
			push(&peer[n % 2], 2 + n);
		assert_true(wait_until(s.n_received == 200, LIMIT_MS));
		assert_int_equal(s.n_added, 2);
		for (unsigned i = 0; i < 2; i++)
			spr_sp_close(&peer[i]);
		assert_true(wait_until(s.n_removed == 2, LIMIT_MS));
		close_scene(&s);
	}
}

/* Each callback checks that its receive was not parked. */
static inline void
test_a_parked_receive_waits_for_its_rearm(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	atomic_store(&s.is_parking, true);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	for (unsigned n = 0; n < 10; n++)
		push(&peer, 20);
	for (unsigned n = 1; n <= 10; n++) {
		assert_true(wait_until(s.n_received == n, LIMIT_MS));
		atomic_store(&s.may_receive[0], true);
		if (n == 5)
			atomic_store(&s.is_parking, false);
		transport->pull_rearm(s.pull, 0);
		if (n == 5)
			break;
	}
	assert_true(wait_until(s.n_received == 10, LIMIT_MS));
	spr_sp_close(&peer);
	close_scene(&s);
}

static inline void
test_a_message_too_long_costs_the_connection(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp good, bad;
	char *text = calloc(1, MAX_MESSAGE + 1);

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 2);
		assert_true(spr_sp_dial(&good, s.url, SPR_SP_PUSH));
		assert_true(spr_sp_dial(&bad, s.url, SPR_SP_PUSH));
		push(&bad, MAX_MESSAGE);
		assert_true(wait_until(s.n_received == 1, LIMIT_MS));
		(void)spr_sp_send(&bad, NULL, 0, text, MAX_MESSAGE + 1, LIMIT_MS);
		assert_true(spr_sp_wait_gone(&bad, LIMIT_MS));
		spr_sp_close(&bad);
		push(&good, MAX_MESSAGE);
		assert_true(wait_until(s.n_received == 2, LIMIT_MS));
		assert_true(spr_sp_dial(&bad, s.url, SPR_SP_PUSH)); /* the listener lives too */
		push(&bad, 20);
		assert_true(wait_until(s.n_received == 3, LIMIT_MS));
		spr_sp_close(&bad);
		spr_sp_close(&good);
		assert_true(wait_until(s.n_removed == 3, LIMIT_MS));
		close_scene(&s);
	}
	free(text);
}

static inline void
test_it_dials_and_dials_again(void **state)
{
	scene s;
	spr_sp peer;
	char url[64];
	int listener = spr_sp_listen("tcp://127.0.0.1:0", url);

	(void)state;
	assert_true(listener >= 0);
	open_pull(&s, 1);
	assert_ok(transport->pull_dial(s.pull, url));
	transport->pull_start(s.pull);
	for (unsigned n = 1; n <= 2; n++) {
		assert_true(spr_sp_adopt(&peer, accept(listener, NULL, NULL), SPR_SP_PUSH));
		push(&peer, 20);
		assert_true(wait_until(s.n_received == n, LIMIT_MS));
		spr_sp_close(&peer);
	}
	close(listener);
	close_scene(&s);
}

typedef struct blaster {
	pthread_t thread;
	const char *url;
	atomic_bool is_over;
} blaster;

static inline void *
blast(void *arg)
{
	blaster *self = arg;
	spr_sp peer;

	if (!spr_sp_dial(&peer, self->url, SPR_SP_PUSH))
		return (NULL);
	while (!atomic_load(&self->is_over) &&
	       spr_sp_send(&peer, NULL, 0, "m.", 2, 10) != SPR_SP_GONE)
		continue;
	spr_sp_close(&peer);
	return (NULL);
}

/* In the middle of a stream of messages: no callback afterwards, a late re-arm does no harm, and nothing hangs. */
static inline void
test_stop_ends_the_callbacks(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;

	(void)state;
	for (unsigned k = 0; k < 12; k++) {
		blaster b = {0};

		open_scene(&s, schemes[k % 2], MAX_RECEIVES);
		b.url = s.url;
		assert_int_equal(pthread_create(&b.thread, NULL, blast, &b), 0);
		assert_true(wait_until(s.n_received > 100, LIMIT_MS));
		transport->pull_stop(s.pull);
		atomic_store(&s.is_over, true);
		for (unsigned i = 0; i < MAX_RECEIVES; i++)
			transport->pull_rearm(s.pull, i);
		transport->pull_stop(s.pull);
		close_scene(&s);
		atomic_store(&b.is_over, true);
		pthread_join(b.thread, NULL);
	}
	transport->pull_close(NULL);
}

/* The port is the one after the last colon, so this finds it in all of the schemes. */
static inline void
expect_bound(const char *url, const char *before, const char *after)
{
	scene s;
	char bound[SPR_URL_MAX];
	const char *port = bound + strlen(before);

	open_pull(&s, 1);
	assert_ok(transport->pull_listen(s.pull, url, bound));
	assert_int_equal(strncmp(bound, before, strlen(before)), 0);
	assert_true(atoi(port) > 0);
	assert_string_equal(port + strspn(port, "0123456789"), after);
	close_scene(&s);
}

static inline void
test_the_url_really_bound(void **state)
{
	scene s;
	char url[SPR_URL_MAX], bound[SPR_URL_MAX];

	(void)state;
	expect_bound("tcp://127.0.0.1:0", "tcp://127.0.0.1:", "");
	expect_bound("tcp://127.0.0.1", "tcp://127.0.0.1:", "");
	expect_bound("tcp4://127.0.0.1:0", "tcp4://127.0.0.1:", "");
	open_pull(&s, 1);
	snprintf(url, sizeof(url), "ipc://%s/a:b", s.dir);
	assert_ok(transport->pull_listen(s.pull, url, bound));
	assert_string_equal(bound, url);
	if (transport->pull_listen(s.pull, "tcp://[::1]:0", bound) == SPR_OK) /* no IPv6 here? */
		assert_true(strncmp(bound, "tcp://[::1]:", 12) == 0 && atoi(bound + 12) > 0);
	if (transport->pull_listen(s.pull, "tcp://[::1]", bound) == SPR_OK)
		assert_true(strncmp(bound, "tcp://[::1]:", 12) == 0 && atoi(bound + 12) > 0);
	close_scene(&s);
}

static inline void
expect_error(const char *what, const char *url, const char *hint)
{
	const char *text = spr_error_text(SPR_E_ADDRESS);
	char start[2 * SPR_URL_MAX];

	snprintf(start, sizeof(start), "%s %s: ", what, url);
	if (strncmp(text, start, strlen(start)) != 0 ||
	    strlen(text) < strlen(start) + strlen(hint) ||
	    strcmp(text + strlen(text) - strlen(hint), hint) != 0)
		fail_msg("\"%s\" is not \"%s...%s\"", text, start, hint);
}

static inline void
test_bad_urls(void **state)
{
	static const char *const bad[] = {"",
					  "tcp",
					  "tcp://127.0.0.1:99999",
					  "tcp://127.0.0.1:7x",
					  "tcp://256.1.1.1:1",
					  "gopher://127.0.0.1:70",
					  "ipc://"};
	scene s, other;
	char bound[SPR_URL_MAX] = "untouched";

	(void)state;
	open_pull(&s, 1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_fails(transport->pull_listen(s.pull, bad[i], bound), SPR_E_ADDRESS);
		expect_error("listen on", bad[i], "; check the URL");
	}
	for (unsigned i = 0; i < 2; i++) { /* names are looked up later, in the background */
		assert_fails(transport->pull_dial(s.pull, bad[i]), SPR_E_ADDRESS);
		expect_error("dial", bad[i], "; check the URL");
	}
	assert_fails(transport->pull_listen(s.pull, "ipc:///no/such/folder/s", bound),
		     SPR_E_ADDRESS);
	expect_error("listen on", "ipc:///no/such/folder/s", "; check the URL");
	open_scene(&other, "tcp", 1);
	assert_fails(transport->pull_listen(s.pull, other.url, bound), SPR_E_ADDRESS);
	expect_error("listen on", other.url, "; is another process using it?");
	assert_string_equal(bound, "untouched");
	close_scene(&other);
	close_scene(&s);
}

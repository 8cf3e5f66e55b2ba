/*
 * test_sp_req - requests over streams of our own: who is asked, whose reply counts, and peers that leave or stall.
 */
#define TRANSPORT spr_transport_nng
#include "req_scene.h"

#include "base/clock.h"
#include "connect_and_close.h"

/* A second face of the upstream. */
static void
dial_second(scene *s, int *listener, spr_sp *peer)
{
	char url[64];

	assert_true((*listener = spr_sp_listen("tcp://127.0.0.1:0", url)) >= 0);
	assert_ok(transport->req_dial(s->req, url));
	assert_true(spr_sp_adopt(peer, accept(*listener, NULL, NULL), SPR_SP_REP));
	assert_true(wait_until(transport->req_peers(s->req) == 2, LIMIT_MS));
}

static void
test_peers_in_turn(void **state)
{
	scene s;
	spr_sp peer[2];
	char id[WINDOW][ID_LEN];
	int listener;

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer[0]);
	dial_second(&s, &listener, &peer[1]);
	for (unsigned n = 1; n <= 4; n++) {
		send_request(&s, 0, "a");
		expect_request(&peer[(n - 1) % 2], "a", id[0]);
		reply(&peer[(n - 1) % 2], id[0], "a!");
		expect_end(&s, 0, n, SPR_OK, "a!");
	}
	/* two at the first: the next one goes to the other, wherever the turn is */
	send_request(&s, 0, "a");
	expect_request(&peer[0], "a", id[0]);
	send_request(&s, 1, "b");
	expect_request(&peer[1], "b", id[1]);
	reply(&peer[1], id[1], "b!");
	expect_end(&s, 1, 1, SPR_OK, "b!");
	send_request(&s, 1, "c");
	expect_request(&peer[1], "c", id[1]);
	/* an id of another connection's request is nobody's */
	reply(&peer[1], id[0], "false");
	reply(&peer[1], id[1], "c!");
	expect_end(&s, 1, 2, SPR_OK, "c!");
	assert_int_equal(s.n_replies[0], 4);
	reply(&peer[0], id[0], "a!");
	expect_end(&s, 0, 5, SPR_OK, "a!");
	for (unsigned i = 0; i < 2; i++)
		spr_sp_close(&peer[i]);
	close(listener);
	close_scene(&s);
}

/* One face leaves: its requests end, the other's do not, and what follows goes there. */
static void
test_one_of_two_leaves(void **state)
{
	scene s;
	spr_sp peer[2];
	char id[2][ID_LEN];
	int listener;

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer[0]);
	dial_second(&s, &listener, &peer[1]);
	close(s.listener); /* it does not come back */
	s.listener = -1;
	send_request(&s, 0, "a");
	expect_request(&peer[0], "a", id[0]);
	send_request(&s, 1, "b");
	expect_request(&peer[1], "b", id[1]);
	spr_sp_close(&peer[0]);
	expect_end(&s, 0, 1, SPR_E_CLOSED, "");
	send_request(&s, 0, "c");
	expect_request(&peer[1], "c", id[0]);
	reply(&peer[1], id[0], "c!");
	reply(&peer[1], id[1], "b!");
	expect_end(&s, 0, 2, SPR_OK, "c!");
	expect_end(&s, 1, 1, SPR_OK, "b!");
	spr_sp_close(&peer[1]);
	close(listener);
	close_scene(&s);
}

/* After its first silence it is asked only when the other has as much to do. */
static void
test_a_silent_face_is_asked_less(void **state)
{
	enum { N = 20 };
	scene s;
	spr_sp peer[2];
	char id[ID_LEN];
	unsigned n_ends = 0;
	int listener;

	(void)state;
	open_scene(&s, 2000);
	accept_peer(&s, &peer[0]);
	dial_second(&s, &listener, &peer[1]);
	send_request(&s, 0, "a");
	expect_request(&peer[0], "a", id); /* which says nothing */
	expect_end(&s, 0, ++n_ends, SPR_E_TIMEOUT, "");
	for (unsigned n = 0; n < N; n++) {
		send_request(&s, 0, "b");
		expect_request(&peer[1], "b", id);
		reply(&peer[1], id, "b!");
		expect_end(&s, 0, ++n_ends, SPR_OK, "b!");
	}
	for (unsigned i = 0; i < 2; i++)
		spr_sp_close(&peer[i]);
	close(listener);
	close_scene(&s);
}

/* Each goes when it is due, not only the first. */
static void
test_limits_one_by_one(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, 50);
	accept_peer(&s, &peer);
	for (unsigned n = 1; n <= 4; n++) {
		uint64_t later_ns = spr_clock_now_ns() + 20 * SPR_NS_PER_MS;

		send_request(&s, 0, "a");
		assert_true(wait_until(spr_clock_now_ns() >= later_ns, LIMIT_MS));
		send_request(&s, 1, "b");
		expect_end(&s, 0, n, SPR_E_TIMEOUT, "");
		expect_end(&s, 1, n, SPR_E_TIMEOUT, "");
	}
	assert_int_equal(transport->req_peers(s.req), 1); /* it reads: it is not cut */
	spr_sp_close(&peer);
	close_scene(&s);
}

/* Its requests are too much for socket buffers: it is cut, and dialled again. */
static void
test_a_peer_that_does_not_read(void **state)
{
	const size_t len = 32u << 20;
	char *text = calloc(1, len);
	char id[ID_LEN];
	scene s;
	spr_sp stalled, next;

	(void)state;
	assert_non_null(text);
	open_scene(&s, 300);
	accept_peer(&s, &stalled);
	assert_ok(transport->req_send(s.req, 0, text, len));
	assert_true(wait_until(s.n_replies[0] == 1, LIMIT_MS));
	assert_true(s.result[0] == SPR_E_TIMEOUT || s.result[0] == SPR_E_CLOSED);
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	accept_peer(&s, &next);
	for (unsigned n = 1; s.result[1] != SPR_OK;
	     n++) { /* a slow machine may need more than one try */
		assert_true(n < 100);
		send_request(&s, 1, "a");
		expect_request(&next, "a", id);
		reply(&next, id, "a!");
		assert_true(wait_until(s.n_replies[1] == n, LIMIT_MS));
	}
	spr_sp_close(&stalled);
	spr_sp_close(&next);
	close_scene(&s);
	free(text);
}

static void
test_replies_that_nobody_waits_for(void **state)
{
	scene s;
	spr_sp peer;
	char id[ID_LEN], bad[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	reply(&peer, "\x80\0\0\0", "a");
	reply(&peer, "\xff\xff\xff\xff", "a");
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	memcpy(bad, id, ID_LEN);
	bad[0] = (char)(bad[0] & 0x7f); /* no request id */
	reply(&peer, bad, "bad");
	memcpy(bad, id, ID_LEN);
	bad[ID_LEN - 1] = (char)(bad[ID_LEN - 1] + WINDOW); /* a use of the slot that is to come */
	reply(&peer, bad, "bad");
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	reply(&peer, id, "twice");
	send_request(&s, 0, "b");
	expect_request(&peer, "b", id);
	reply(&peer, id, "b!");
	expect_end(&s, 0, 2, SPR_OK, "b!");
	spr_sp_close(&peer);
	close_scene(&s);
}

/* What ends a dialer of nng's for good. */
static void
test_a_dialer_cannot_be_silenced(void **state)
{
	scene s;
	spr_sp peer;
	char id[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	for (unsigned n = 0; n < 20; n++) {
		close(accept(s.listener, NULL, NULL));
		hang_up_with_reset(accept(s.listener, NULL, NULL));
		accept_peer(&s, &peer); /* so that it does not wait longer and longer */
		spr_sp_close(&peer);
	}
	accept_peer(&s, &peer);
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	spr_sp_close(&peer);
	close_scene(&s);
}

static int
listen_plain(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strnlen(path, sizeof(address.sun_path) - 1));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return (fd);
}

static void
test_an_ipc_dialer_cannot_be_silenced(void **state)
{
	char *dir = spr_test_tmpdir();
	char url[SPR_URL_MAX], id[ID_LEN];
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	spr_sp peer;

	(void)state;
	snprintf(url, sizeof(url), "ipc://%s/s", dir);
	s.listener = listen_plain(url + strlen("ipc://"));
	assert_ok(transport->req_open(&s.req, &config));
	assert_ok(transport->req_dial(s.req, url));
	for (unsigned n = 0; n < 5; n++)
		close(accept(s.listener, NULL, NULL));
	accept_peer(&s, &peer);
	peer.is_ipc = true;
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	spr_sp_close(&peer);
	close_scene(&s);
	spr_test_cleanup(dir);
}

static void
test_a_listener_cannot_be_silenced(void **state)
{
	char *dir = spr_test_tmpdir();
	char bound[SPR_URL_MAX], url[SPR_URL_MAX], id[ID_LEN];
	scene s;
	spr_req_config config = make_config(&s, LONG_MS);
	spr_sp peer;

	(void)state;
	snprintf(url, sizeof(url), "ipc://%s/s", dir);
	assert_ok(transport->req_open(&s.req, &config));
	assert_ok(transport->req_listen(s.req, url, bound));
	for (unsigned n = 0; n < 20; n++) {
		connect_and_close(bound);
		connect_and_reset(bound);
	}
	assert_true(spr_sp_dial(&peer, bound, SPR_SP_REP));
	assert_true(wait_until(transport->req_peers(s.req) == 1, LIMIT_MS));
	send_request(&s, 0, "a");
	expect_request(&peer, "a", id);
	reply(&peer, id, "a!");
	expect_end(&s, 0, 1, SPR_OK, "a!");
	spr_sp_close(&peer);
	close_scene(&s);
	spr_test_cleanup(dir);
}

static void
test_no_memory_for_a_request(void **state)
{
	scene s;
	spr_sp peer;
	char id[ID_LEN];

	(void)state;
	open_scene(&s, LONG_MS);
	accept_peer(&s, &peer);
	spr_mem_fail_at(1);
	assert_fails(transport->req_send(s.req, 0, "a", 1), SPR_E_NOMEM);
	spr_mem_fail_at(0);
	send_request(&s, 0, "b");
	expect_request(&peer, "b", id);
	reply(&peer, id, "b!");
	expect_end(&s, 0, 1, SPR_OK, "b!");
	spr_sp_close(&peer);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_replies_find_their_slots),
	    cmocka_unit_test(test_no_reply),
	    cmocka_unit_test(test_nobody_there),
	    cmocka_unit_test(test_the_peer_closes_mid_request),
	    cmocka_unit_test(test_a_reply_too_long_or_without_an_id),
	    cmocka_unit_test(test_a_peer_of_the_wrong_protocol),
	    cmocka_unit_test(test_stop_ends_every_request),
	    cmocka_unit_test(test_stop_right_behind_the_send),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_peers_in_turn),
	    cmocka_unit_test(test_one_of_two_leaves),
	    cmocka_unit_test(test_a_silent_face_is_asked_less),
	    cmocka_unit_test(test_limits_one_by_one),
	    cmocka_unit_test(test_a_peer_that_does_not_read),
	    cmocka_unit_test(test_replies_that_nobody_waits_for),
	    cmocka_unit_test(test_a_dialer_cannot_be_silenced),
	    cmocka_unit_test(test_an_ipc_dialer_cannot_be_silenced),
	    cmocka_unit_test(test_a_listener_cannot_be_silenced),
	    cmocka_unit_test(test_no_memory_for_a_request),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

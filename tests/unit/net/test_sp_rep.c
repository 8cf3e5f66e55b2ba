/*
 * test_sp_rep - answers over streams of our own: back-traces, peers that do not read, and listeners that nobody silences.
 */
#define TRANSPORT spr_transport_nng
#include "rep_scene.h"

#include "connect_and_close.h"
#include "proc.h"
#include "net/sp_rep.h"

#define WORD        4
#define LARGE_BYTES (32u << 20)

/* Asks behind n words of devices. */
static void
ask_through(spr_sp *peer, unsigned n, char head[(SPR_SP_HOPS + 2) * WORD])
{
	memset(head, 0, (SPR_SP_HOPS + 2) * WORD);
	for (unsigned i = 0; i < n; i++)
		head[i * WORD + 3] = (char)(i + 1);
	head[n * WORD] = (char)0x80;
	assert_int_equal(spr_sp_send(peer, head, (n + 1) * WORD, "a", 1, LIMIT_MS), SPR_SP_OK);
}

static void
test_the_way_through_devices_is_kept(void **state)
{
	char head[(SPR_SP_HOPS + 2) * WORD];
	const uint8_t *data;
	size_t len;
	scene s;
	spr_sp peer;
	request r;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	for (unsigned n = 0; n <= SPR_SP_HOPS; n++) {
		ask_through(&peer, n, head);
		r = expect_request(&s, "a");
		reply(&s, &r, "a!");
		assert_int_equal(spr_sp_recv(&peer, &data, &len, LIMIT_MS), SPR_SP_OK);
		assert_int_equal(len, (n + 1) * WORD + 2);
		assert_memory_equal(data, head, (n + 1) * WORD);
		assert_memory_equal(data + (n + 1) * WORD, "a!", 2);
	}
	ask_through(&peer, SPR_SP_HOPS + 1, head);
	assert_true(spr_sp_wait_gone(&peer, LIMIT_MS));
	assert_int_equal(s.n_requests, SPR_SP_HOPS + 1);
	spr_sp_close(&peer);
	close_scene(&s);
}

static void
test_trace_len(void **state)
{
	uint8_t data[WORD * (SPR_SP_HOPS + 2)] = {0};

	(void)state;
	assert_int_equal(spr_sp_trace_len(data, 0), 0);
	assert_int_equal(spr_sp_trace_len(data, sizeof(data)), 0);
	for (unsigned n = 0; n <= SPR_SP_HOPS; n++) {
		data[n * WORD] = 0x80;
		assert_int_equal(spr_sp_trace_len(data, (n + 1) * WORD), (n + 1) * WORD);
		assert_int_equal(spr_sp_trace_len(data, (n + 1) * WORD - 1), 0);
		assert_int_equal(spr_sp_trace_len(data, sizeof(data)), (n + 1) * WORD);
		data[n * WORD] = 0x7f;
		data[n * WORD + 1] = 0xff; /* only the first bit tells */
	}
	data[(SPR_SP_HOPS + 1) * WORD] = 0x80;
	assert_int_equal(spr_sp_trace_len(data, sizeof(data)), 0);
}

/* A reply that no socket buffer holds. */
static void
reply_large(scene *s, const request *r)
{
	char *text = calloc(1, LARGE_BYTES);

	assert_non_null(text);
	transport->rep_reply(s->rep, r->number, text, LARGE_BYTES);
	free(text);
}

/* It is asked no more, it blocks nobody, and it is cut when it has taken nothing for a while. */
static void
test_a_peer_that_does_not_read(void **state)
{
	scene s;
	spr_rep_config config = make_config(&s);
	spr_sp good, bad;
	request r;

	(void)state;
	config.stall_ms = 500;
	assert_ok(transport->rep_open(&s.rep, &config));
	assert_ok(transport->rep_listen(s.rep, "tcp://127.0.0.1:0", s.url));
	transport->rep_start(s.rep);
	assert_true(spr_sp_dial(&good, s.url, SPR_SP_REQ));
	assert_true(spr_sp_dial(&bad, s.url, SPR_SP_REQ));
	ask(&bad, 1, "bad");
	r = expect_request(&s, "bad");
	reply_large(&s, &r);
	for (char id = 2; id < 12; id++)
		ask(&bad, id, "bad");
	do {
		ask(&good, 1, "good");
		do { /* of those that were read before the reply was owed there may be some */
			assert_true(wait_until(take_request(&s, &r), LIMIT_MS));
			reply(&s, &r, "!");
		} while (strcmp(r.text, "good") != 0);
		expect_reply(&good, 1, "!");
	} while (s.n_removed == 0);
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	spr_sp_close(&bad);
	spr_sp_close(&good);
	close_scene(&s);
}

/* While it owes its kernel a large reply it is not read; when it has taken it, it is. */
static void
test_a_slow_reader_gets_everything(void **state)
{
	enum { N = 10 * WINDOW, OTHERS = 10 };
	scene s;
	spr_sp peer, other;
	request r;
	const uint8_t *data;
	size_t len;

	(void)state;
	open_scene(&s, "ipc");
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	assert_true(spr_sp_dial(&other, s.url, SPR_SP_REQ));
	ask(&peer, 1, "a");
	r = expect_request(&s, "a");
	for (unsigned i = 0; i < N; i++)
		ask(&peer, 2, "b");
	reply_large(&s, &r);
	start_owner(&s);
	for (unsigned i = 0; i < OTHERS; i++) { /* nobody is blocked by it */
		ask(&other, 3, "c");
		expect_reply(&other, 3, "c");
	}
	/* in slots, waiting for one, and one that was about to be looked at */
	assert_true(s.n_requests <= 1 + WINDOW + 2 + OTHERS);
	assert_int_equal(spr_sp_recv(&peer, &data, &len, LIMIT_MS), SPR_SP_OK);
	assert_int_equal(len, WORD + LARGE_BYTES);
	for (unsigned i = 0; i < N; i++)
		expect_reply(&peer, 2, "b");
	stop_owner(&s);
	assert_int_equal(s.n_requests, 1 + N + OTHERS);
	spr_sp_close(&peer);
	spr_sp_close(&other);
	close_scene(&s);
}

/* One has much to ask, another one little: it waits for one of the first at most, behind those that have slots. */
static void
test_slots_go_round(void **state)
{
	enum { N = 30 };
	scene s;
	spr_sp greedy, modest;
	request r;
	unsigned n = 0;
	long deadline = spr_test_now_ms() + LIMIT_MS;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&greedy, s.url, SPR_SP_REQ));
	assert_true(spr_sp_dial(&modest, s.url, SPR_SP_REQ));
	for (char id = 0; id < N; id++)
		ask(&greedy, id, "greedy");
	assert_true(wait_until(s.n_requests == WINDOW, LIMIT_MS));
	ask(&modest, 1, "modest");
	/* the greedy one always has more that waits; the modest one's may need a moment to come in */
	for (;;) {
		assert_true(wait_until(take_request(&s, &r), LIMIT_MS));
		reply(&s, &r, "!");
		if (strcmp(r.text, "modest") == 0)
			break;
		assert_true(spr_test_now_ms() < deadline);
		ask(&greedy, (char)(n++ % N), "greedy");
	}
	expect_reply(&modest, 1, "!");
	spr_sp_close(&greedy);
	spr_sp_close(&modest);
	close_scene(&s);
}

static void
reply_at_once(void *arg, unsigned number, const uint8_t *data, size_t len)
{
	scene *s = arg;

	atomic_fetch_add(&s->n_requests, 1);
	transport->rep_reply(s->rep, number, data, len);
}

/* Many requests in one read; each reply frees the slot of the next, and nothing is nested. */
static void
test_replies_inside_of_the_callback(void **state)
{
	enum { N = 2000, AT_ONCE = 100 };
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp peer;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		spr_rep_config config = make_config(&s);
		char url[SPR_URL_MAX] = "tcp://127.0.0.1:0";

		config.on_request = reply_at_once;
		if (k == 1)
			snprintf(url, sizeof(url), "%s://%s/s", schemes[k], s.dir);
		assert_ok(transport->rep_open(&s.rep, &config));
		assert_ok(transport->rep_listen(s.rep, url, s.url));
		assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
		ask(&peer, 1, "early"); /* waits for the start */
		assert_true(wait_until(s.n_added == 1, LIMIT_MS));
		assert_int_equal(s.n_requests, 0);
		transport->rep_start(s.rep);
		expect_reply(&peer, 1, "early");
		for (unsigned n = 0; n < N; n += AT_ONCE) {
			for (unsigned i = 0; i < AT_ONCE; i++)
				ask(&peer, (char)i, "a");
			for (unsigned i = 0; i < AT_ONCE; i++)
				expect_reply(&peer, (char)i, "a");
		}
		spr_sp_close(&peer);
		close_scene(&s);
	}
}

static void
test_no_memory_for_a_reply(void **state)
{
	scene s;
	spr_sp peer;
	request r;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	ask(&peer, 1, "a");
	r = expect_request(&s, "a");
	spr_mem_fail_at(1);
	reply(&s, &r, "a!");
	spr_mem_fail_at(0);
	for (unsigned n = 0; n < WINDOW + 1; n++) { /* its slot is free again */
		ask(&peer, 2, "b");
		r = expect_request(&s, "b");
		reply(&s, &r, "b!");
		expect_reply(&peer, 2, "b!");
	}
	spr_sp_close(&peer);
	close_scene(&s);
}

/* What silences a listener of nng's for good. */
static void
test_a_listener_cannot_be_silenced(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp peer;
	request r;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		for (unsigned n = 0; n < 20; n++) {
			connect_and_close(s.url);
			connect_and_reset(s.url);
		}
		assert_true(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
		ask(&peer, 1, "a");
		r = expect_request(&s, "a");
		reply(&s, &r, "a!");
		expect_reply(&peer, 1, "a!");
		spr_sp_close(&peer);
		close_scene(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_requests_in_parallel),
	    cmocka_unit_test(test_requests_pipelined_by_one_peer),
	    cmocka_unit_test(test_the_asker_has_gone),
	    cmocka_unit_test(test_a_request_too_long_or_without_an_id),
	    cmocka_unit_test(test_replies_from_another_thread),
	    cmocka_unit_test(test_stop_in_the_middle),
	    cmocka_unit_test(test_close_with_requests_owed),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_the_way_through_devices_is_kept),
	    cmocka_unit_test(test_trace_len),
	    cmocka_unit_test(test_a_peer_that_does_not_read),
	    cmocka_unit_test(test_a_slow_reader_gets_everything),
	    cmocka_unit_test(test_slots_go_round),
	    cmocka_unit_test(test_replies_inside_of_the_callback),
	    cmocka_unit_test(test_no_memory_for_a_reply),
	    cmocka_unit_test(test_a_listener_cannot_be_silenced),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

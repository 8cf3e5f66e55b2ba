/*
 * test_sp_pull - the receiving half over streams of our own: connections share receives fairly, a parked one stops reading,
 * and what was read before goes first.
 */
#define TRANSPORT spr_transport_nng
#include "pull_scene.h"

static void
test_other_peers_get_nowhere(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	for (unsigned n = 1; n <= 3; n++)
		assert_false(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	assert_int_equal(s.n_added, 0);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	spr_sp_close(&peer);
	close_scene(&s);
}

/* One receive is parked: the connections of the other one go on. */
static void
test_connections_are_spread(void **state)
{
	enum { N_PEERS = 8 };
	scene s;
	spr_sp peer[N_PEERS];
	unsigned n_parked = 0;

	(void)state;
	open_scene(&s, "ipc", 2);
	for (unsigned i = 0; i < N_PEERS; i++) {
		assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_PUSH));
		assert_true(wait_until(s.n_added == i + 1, LIMIT_MS));
	}
	atomic_store(&s.is_parking, true);
	push(&peer[0], 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	atomic_store(&s.is_parking, false);
	for (unsigned n = 0; n < 10; n++) {
		for (unsigned i = 0; i < N_PEERS; i++)
			push(&peer[i], 20);
	}
	assert_true(wait_until(s.n_received == 41, LIMIT_MS)); /* half of them */
	for (unsigned i = 0; i < 2; i++)
		n_parked += !s.may_receive[i];
	assert_int_equal(n_parked, 1);
	for (unsigned i = 0; i < 2; i++) {
		if (!atomic_exchange(&s.may_receive[i], true))
			transport->pull_rearm(s.pull, i);
	}
	assert_true(wait_until(s.n_received == 81, LIMIT_MS));
	for (unsigned i = 0; i < N_PEERS; i++)
		spr_sp_close(&peer[i]);
	close_scene(&s);
}

/* A parked receive reads no more: its producer is stopped by full buffers, and nothing is lost. */
static void
test_back_pressure(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	char text[1000] = "m";
	unsigned n_sent;
	scene s;
	spr_sp peer;

	(void)state;
	text[999] = '.';
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 1);
		atomic_store(&s.is_parking, true);
		assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
		/* the last one fails in the middle; its rest is never sent */
		for (n_sent = 0; spr_sp_send(&peer, NULL, 0, text, sizeof(text), 200) == SPR_SP_OK;
		     n_sent++)
			assert_true(n_sent < 100000);
		assert_true(wait_until(s.n_received == 1, LIMIT_MS));
		atomic_store(&s.is_parking, false);
		atomic_store(&s.may_receive[0], true);
		transport->pull_rearm(s.pull, 0);
		assert_true(wait_until(s.n_received == n_sent, LIMIT_MS));
		spr_sp_close(&peer);
		assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
		close_scene(&s);
	}
}

static void
test_no_memory(void **state)
{
	spr_pull_config config = {
	    .socket = "intake", .receives = 2, .max_message = MAX_MESSAGE, .on_receive = on_receive};
	char bound[SPR_URL_MAX];
	spr_pull *pull = NULL;

	(void)state;
	for (unsigned long n = 1; n <= 2; n++) { /* itself, the receives */
		spr_mem_fail_at(n);
		assert_fails(transport->pull_open(&pull, &config), SPR_E_NOMEM);
		assert_null(pull);
	}
	spr_mem_fail_at(0);
	assert_ok(transport->pull_open(&pull, &config));
	for (unsigned long n = 1; n <= 2; n++) { /* the list, the endpoint */
		spr_mem_fail_at(n);
		assert_fails(transport->pull_listen(pull, "tcp://127.0.0.1:0", bound), SPR_E_NOMEM);
	}
	spr_mem_fail_at(0);
	transport->pull_close(pull);
}

/*
 * No memory for messages: they wait, and so does what comes after them; a stop ends the wait. The last test here: threads
 * of nng are without memory from now on.
 */
static void
test_a_stop_while_memory_is_short(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	atomic_store(&s.is_short_of_memory, true);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	for (unsigned n = 0; n < 100; n++)
		push(&peer, 20);
	assert_true(wait_until(s.n_received > 0, LIMIT_MS));
	transport->pull_stop(s.pull);
	assert_in_range(s.n_received, 1, 99);
	spr_sp_close(&peer);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages_arrive),
	    cmocka_unit_test(test_a_parked_receive_waits_for_its_rearm),
	    cmocka_unit_test(test_a_message_too_long_costs_the_connection),
	    cmocka_unit_test(test_it_dials_and_dials_again),
	    cmocka_unit_test(test_stop_ends_the_callbacks),
	    cmocka_unit_test(test_the_url_really_bound),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_other_peers_get_nowhere),
	    cmocka_unit_test(test_connections_are_spread),
	    cmocka_unit_test(test_back_pressure),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_a_stop_while_memory_is_short),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * test_nng_pull - the receiving half over nng's PULL socket, which serves ws.
 */
#define TRANSPORT spr_transport_nng_sockets
#include "pull_scene.h"

static void
test_the_other_receives_go_on(void **state)
{
	scene s;
	spr_sp peer;
	unsigned n_parked = 0;

	(void)state;
	open_scene(&s, "ipc", 2);
	atomic_store(&s.is_parking, true);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	atomic_store(&s.is_parking, false);
	for (unsigned n = 0; n < 50; n++)
		push(&peer, 20);
	assert_true(wait_until(s.n_received == 51, LIMIT_MS));
	for (unsigned i = 0; i < 2; i++)
		n_parked += !s.may_receive[i];
	assert_int_equal(n_parked, 1);
	spr_sp_close(&peer);
	close_scene(&s);
}

/* It comes and goes, so that a count of peers stays right. */
static void
test_a_peer_of_the_wrong_protocol(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	for (unsigned n = 1; n <= 3; n++) {
		assert_false(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
		assert_true(wait_until(s.n_removed == n, LIMIT_MS));
		assert_int_equal(s.n_added, n);
	}
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	spr_sp_close(&peer);
	close_scene(&s);
}

static void
test_schemes_of_nng_alone(void **state)
{
	(void)state;
	expect_bound("ws://127.0.0.1:0/a:b", "ws://127.0.0.1:", "/a:b");
}

static void
test_no_memory(void **state)
{
	spr_pull_config config = {
	    .receives = 2, .max_message = MAX_MESSAGE, .on_receive = on_receive};
	spr_pull *pull = NULL;

	(void)state;
	for (unsigned long n = 1; n <= 2; n++) { /* itself, the receives */
		spr_mem_fail_at(n);
		assert_fails(transport->pull_open(&pull, &config), SPR_E_NOMEM);
		assert_null(pull);
	}
	spr_mem_fail_at(3);
	assert_ok(transport->pull_open(&pull, &config));
	spr_mem_fail_at(0);
	transport->pull_close(pull);
}

/*
 * No memory for a message that was received: it waits, and so does all that comes after it; a stop ends the wait. The last
 * test here: threads of nng are without memory from now on.
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
	assert_in_range(s.n_received, 1, spr_net_threads());
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
	    cmocka_unit_test(test_the_other_receives_go_on),
	    cmocka_unit_test(test_a_peer_of_the_wrong_protocol),
	    cmocka_unit_test(test_schemes_of_nng_alone),
	    cmocka_unit_test(test_no_memory),
	    cmocka_unit_test(test_a_stop_while_memory_is_short),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * test_sp_pull - the receiving half over streams of nng's: see the scenes.
 */
#define TRANSPORT spr_transport_nng
#include "own_pull_scene.h"

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

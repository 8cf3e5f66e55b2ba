/*
 * test_ep_pull - the receiving half of the native transport.
 */
#define TRANSPORT spr_transport_native
#include "pull_scene.h"

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
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

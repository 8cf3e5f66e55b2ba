/*
 * test_nng_rep - the half that is nng's REP socket, kept for the schemes whose framing only nng has.
 */
#define TRANSPORT spr_transport_nng_sockets
#include "rep_scene.h"

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
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

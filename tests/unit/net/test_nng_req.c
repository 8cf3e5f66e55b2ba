/*
 * test_nng_req - the half that is nng's REQ socket, kept for the schemes whose framing only nng has.
 */
#define TRANSPORT spr_transport_nng_sockets
#include "req_scene.h"

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
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

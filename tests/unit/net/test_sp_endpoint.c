/*
 * test_sp_endpoint - addresses of the transport over nng's streams: see endpoint_scene.h.
 */
#define TRANSPORT spr_transport_nng
#define OTHER_URL "abstract"
#include "endpoint_scene.h"

int
main(void)
{
	const struct CMUnitTest tests[] = {ENDPOINT_TESTS};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

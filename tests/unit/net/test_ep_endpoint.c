/*
 * test_ep_endpoint - addresses of the native transport: see endpoint_scene.h.
 */
#define TRANSPORT spr_transport_native
#define OTHER_URL "tcp4://127.0.0.1"
#include "endpoint_scene.h"

int
main(void)
{
	const struct CMUnitTest tests[] = {ENDPOINT_TESTS};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

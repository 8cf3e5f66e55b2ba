/*
 * test_sp_push - the sending half over nng's streams.
 */
#define TRANSPORT spr_transport_nng
#include "push_tests.h"

static void
test_no_memory(void **state)
{
	spr_push_config config = {.on_done = on_done};
	spr_push *push = NULL;
	spr_push_lane *lane = NULL;
	spr_out out;
	char bound[SPR_URL_MAX];

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(transport->push_open(&push, &config), SPR_E_NOMEM);
	assert_null(push);
	spr_mem_fail_at(0);
	assert_ok(transport->push_open(&push, &config));
	spr_mem_fail_at(1);
	assert_fails(transport->lane_open(&lane, push, SLOTS, NULL), SPR_E_NOMEM);
	assert_null(lane);
	assert_fails(transport->out_alloc(lane, &out, 10), SPR_E_NOMEM);
	for (unsigned long n = 1; n <= 2; n++) { /* the list, the endpoint */
		spr_mem_fail_at(n);
		assert_fails(transport->push_listen(push, "tcp://127.0.0.1:0", bound), SPR_E_NOMEM);
	}
	spr_mem_fail_at(0);
	transport->push_close(push);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    PUSH_TESTS,
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * test_rep_adapter - control over a real socket, asked by a client that shares no code with us.
 */
#include "control/rep_adapter.h"

#include "base/counters.h"
#include "base/mem.h"
#include "control_env.h"
#include "sp_raw.h"

#define WINDOW      2
#define MAX_REQUEST 4096
#define CLIENTS     5 /* more than the window: the others wait their turn */

typedef struct desk {
	spr_control_env env;
	spr_control *control;
	spr_rep_adapter *adapter;
	char url[SPR_URL_MAX];
} desk;

static int
setup(void **state)
{
	desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	env_init(&d->env, ":memory:");
	assert_ok(spr_control_new(&d->control, &d->env));
	assert_ok(spr_control_start(d->control));
	assert_ok(
	    spr_rep_adapter_open(&d->adapter, &spr_transport_nng, d->control, WINDOW, MAX_REQUEST));
	assert_ok(spr_rep_adapter_listen(d->adapter, "tcp://127.0.0.1:0", d->url));
	spr_rep_adapter_start(d->adapter);
	*state = d;
	return (0);
}

static int
teardown(void **state)
{
	desk *d = *state;

	spr_rep_adapter_stop(d->adapter);
	spr_control_stop(d->control);
	spr_rep_adapter_close(d->adapter);
	spr_control_free(d->control);
	env_fini(&d->env);
	free(d);
	return (0);
}

static void
expect_reply(spr_sp *sp, const char *request, const char *part)
{
	char *reply = spr_sp_ask(sp, request, strlen(request), 30000);

	assert_non_null(reply);
	if (strstr(reply, part) == NULL) {
		fail_msg("%s: got %s, wanted %s", request, reply, part);
	}
	free(reply);
}

static void
test_ask(void **state)
{
	desk *d = *state;
	spr_sp sp = SPR_SP_CLOSED;
	uint64_t added = spr_counter_sum(SPR_C_PIPES_ADDED_CONTROL);
	uint64_t removed = spr_counter_sum(SPR_C_PIPES_REMOVED_CONTROL);

	assert_true(spr_sp_dial(&sp, d->url, SPR_SP_REQ));
	expect_reply(&sp, "{\"op\":\"version\"}", "\"instance\":\"b00t\"");
	expect_reply(&sp, "{\"op\":\"subscribe\",\"pattern\":\"UN.A\",\"callback\":\"http://a\"}",
		     "\"created\":true");
	expect_reply(&sp, "{\"op\":\"lookup\",\"predicate\":\"UN.A.B\"}",
		     "\"callbacks\":[\"http://a\"]");
	expect_reply(&sp, "", "bad_request");
	assert_int_equal(spr_counter_sum(SPR_C_PIPES_ADDED_CONTROL), added + 1);
	spr_sp_close(&sp);
	assert_true(wait_until(spr_counter_sum(SPR_C_PIPES_REMOVED_CONTROL) == removed + 1, 30000));
}

static void
test_many_clients(void **state)
{
	desk *d = *state;
	spr_sp sp[CLIENTS];

	for (unsigned i = 0; i < CLIENTS; i++) {
		sp[i] = SPR_SP_CLOSED;
		assert_true(spr_sp_dial(&sp[i], d->url, SPR_SP_REQ));
	}
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < CLIENTS; i++) {
			char request[128];

			snprintf(request, sizeof(request),
				 "{\"op\":\"subscribe\",\"pattern\":\"UN.%u\",\"callback\":\"http:/"
				 "/%u\"}",
				 round, i);
			expect_reply(&sp[i], request, "\"created\":true");
		}
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		spr_sp_close(&sp[i]);
	}
}

static void
test_bad_address(void **state)
{
	desk *d = *state;
	spr_rep_adapter *other = NULL;
	char bound[SPR_URL_MAX];
	spr_err rv;

	assert_ok(
	    spr_rep_adapter_open(&other, &spr_transport_nng, d->control, WINDOW, MAX_REQUEST));
	assert_fails(spr_rep_adapter_listen(other, d->url, bound), SPR_E_ADDRESS);
	spr_rep_adapter_stop(other);
	spr_rep_adapter_close(other);
	spr_rep_adapter_close(NULL);

	other = NULL;
	spr_mem_fail_at(1);
	rv = spr_rep_adapter_open(&other, &spr_transport_nng, d->control, WINDOW, MAX_REQUEST);
	spr_mem_fail_at(2);
	assert_int_equal(rv, SPR_E_NOMEM);
	rv = spr_rep_adapter_open(&other, &spr_transport_nng, d->control, WINDOW, MAX_REQUEST);
	spr_mem_fail_at(0);
	assert_int_equal(rv, SPR_E_NOMEM);
	assert_null(other);
}

#define each(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    each(test_ask),
	    each(test_many_clients),
	    each(test_bad_address),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}

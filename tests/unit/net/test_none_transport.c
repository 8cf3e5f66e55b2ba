/*
 * test_none_transport - an outbox that goes nowhere: every job is done at once.
 */
#include <string.h>

#include "spr_test.h"

#include "base/mem.h"
#include "net/net.h"

static const spr_transport *const transport = &spr_transport_none;

typedef struct tally {
	unsigned n;
	size_t bytes;
} tally;

static void
on_done(void *lane_arg, void *const *cookies, unsigned n, size_t bytes, spr_err result)
{
	tally *t = lane_arg;

	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(cookies[i], &t->n);
	assert_ok(result);
	t->n += n;
	t->bytes += bytes;
}

static void
test_jobs_end_together(void **state)
{
	spr_push_config config = {.on_done = on_done};
	tally tallies[2] = {0};
	spr_push *push;
	spr_push_lane *lane[2];
	spr_out out;

	(void)state;
	assert_ok(transport->push_open(&push, &config));
	for (unsigned i = 0; i < 2; i++)
		assert_ok(transport->lane_open(&lane[i], push, 1, &tallies[i]));
	for (unsigned n = 1; n <= 10; n++) { /* more than it has slots */
		assert_true(transport->lane_room(lane[1]) > 0);
		assert_ok(transport->out_alloc(lane[1], &out, n));
		assert_int_equal(out.len, n);
		memset(out.data, 'j', n);
		assert_ok(transport->lane_send(lane[1], &out, &tallies[1].n));
		assert_int_equal(tallies[1].n, 0);
		assert_int_equal(transport->lane_busy(lane[1]), n);
	}
	transport->lane_flush(lane[0]);
	transport->lane_flush(lane[1]);
	assert_int_equal(tallies[1].n, 10);
	assert_int_equal(tallies[1].bytes, 55);
	assert_int_equal(transport->lane_busy(lane[1]), 0);
	assert_int_equal(tallies[0].n, 0);
	transport->lane_abort(lane[1]);
	assert_ok(transport->out_alloc(lane[1], &out, 0));
	transport->out_free(&out);
	assert_true(transport->push_flush(push, 0));
	transport->push_close(push);
	transport->push_close(NULL);
}

/* Whoever does not flush for long has as many ended as one call tells of, or 64 KiB. */
static void
test_runs_have_a_bound(void **state)
{
	spr_push_config config = {.on_done = on_done};
	tally t = {0};
	spr_push *push;
	spr_push_lane *lane;
	spr_out out;

	(void)state;
	assert_ok(transport->push_open(&push, &config));
	assert_ok(transport->lane_open(&lane, push, 1, &t));
	for (unsigned n = 1; n <= SPR_DONE_MAX; n++) {
		assert_int_equal(t.n, 0);
		assert_ok(transport->out_alloc(lane, &out, 1));
		assert_ok(transport->lane_send(lane, &out, &t.n));
	}
	assert_int_equal(t.n, SPR_DONE_MAX);
	assert_ok(transport->out_alloc(lane, &out, 65536));
	assert_ok(transport->lane_send(lane, &out, &t.n));
	assert_int_equal(t.n, SPR_DONE_MAX + 1);
	assert_int_equal(transport->lane_busy(lane), 0);
	transport->push_close(push);
}

/* It only sends, and there is nothing to bind. */
static void
test_what_it_has_not(void **state)
{
	(void)state;
	assert_string_equal(transport->name, "none");
	assert_null(transport->pull_open);
	assert_null(transport->push_listen);
	assert_null(transport->push_dial);
}

static void
test_no_memory(void **state)
{
	spr_push_config config = {.on_done = on_done};
	spr_push *push = NULL;
	spr_push_lane *lane = NULL;
	spr_out out;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(transport->push_open(&push, &config), SPR_E_NOMEM);
	assert_null(push);
	spr_mem_fail_at(2);
	assert_ok(transport->push_open(&push, &config));
	assert_fails(transport->lane_open(&lane, push, 1, NULL), SPR_E_NOMEM);
	assert_fails(transport->out_alloc(lane, &out, 10), SPR_E_NOMEM);
	assert_null(lane);
	spr_mem_fail_at(0);
	transport->push_close(push);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_jobs_end_together),
	    cmocka_unit_test(test_runs_have_a_bound),
	    cmocka_unit_test(test_what_it_has_not),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

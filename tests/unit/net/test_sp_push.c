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

/* A lane for more jobs than a connection is given together. */
static spr_push_lane *
open_long_lane(scene *s, tally *t)
{
	spr_push_lane *lane;

	assert_ok(transport->lane_open(&lane, s->push, 1024, t));
	return (lane);
}

/* Each is as long as its number says. */
static void
send_numbered(spr_push_lane *lane, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		assert_ok(send_job(lane, i));
}

/* What waits behind one that takes long is copied, and comes in order. */
static void
test_many_together(void **state)
{
	enum { N = 200 };
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp worker;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		tally t = {0};
		spr_push_lane *lane;

		open_scene(&s, schemes[k]);
		lane = open_long_lane(&s, &t);
		assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
		assert_true(wait_until(s.n_added == 1, LIMIT_MS));
		send_stuck_job(&s);
		send_numbered(lane, 1, N);
		assert_int_equal(transport->lane_busy(lane), N);
		expect_job(&worker, LARGE_JOB);
		for (unsigned i = 1; i <= N; i++)
			expect_job(&worker, i);
		assert_true(wait_until(t.n_sent == N, LIMIT_MS));
		leave(&s, &worker);
		assert_int_equal(t.n_wrong, 0);
		close_scene(&s);
	}
}

/* The connection breaks with half of a copy written: each job that has not ended goes to another worker, whole, and once. */
static void
test_many_together_cut(void **state)
{
	enum { N = 900, FIRST = 1000 };
	bool has_come[FIRST + N] = {false};
	tally t = {0};
	scene s;
	spr_push_lane *lane;
	spr_sp gone, worker;
	unsigned n_sent, before;

	(void)state;
	open_scene(&s, "ipc");
	lane = open_long_lane(&s, &t);
	assert_true(spr_sp_dial(&gone, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	send_numbered(lane, FIRST, N);
	do { /* until its buffer is full */
		before = t.n_sent;
	} while (wait_until(t.n_sent != before, 100));
	spr_sp_close(&gone);
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	n_sent = t.n_sent;
	assert_in_range(n_sent, 1, N - 1);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	for (unsigned i = n_sent; i < N; i++) {
		const uint8_t *data;
		size_t len;

		assert_int_equal(spr_sp_recv(&worker, &data, &len, LIMIT_MS), SPR_SP_OK);
		assert_in_range(len, FIRST + n_sent, FIRST + N - 1); /* the first have ended */
		assert_false(has_come[len]);
		has_come[len] = true;
		assert_int_equal(data[len - 1], 'j');
	}
	assert_true(wait_until(t.n_sent == N, LIMIT_MS));
	leave(&s, &worker);
	assert_int_equal(t.n_wrong + t.n_cancelled, 0);
	close_scene(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    PUSH_TESTS,
	    cmocka_unit_test(test_many_together),
	    cmocka_unit_test(test_many_together_cut),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

/*
 * test_nng_push - the sending half that is nng's PUSH socket, kept for the schemes whose framing only nng has.
 */
#define TRANSPORT spr_transport_nng_sockets
#include "push_scene.h"

/* A job that the worker's connection took and cannot write whole. */
static void
send_large_job(scene *s)
{
	unsigned n_sent;

	assert_true(wait_until(transport->lane_busy(s->lane[0]) == 0, LIMIT_MS));
	n_sent = s->tally[0].n_sent;
	assert_ok(send_job(s->lane[0], LARGE_JOB));
	assert_true(wait_until(s->tally[0].n_sent == n_sent + 1, LIMIT_MS));
}

static void
test_flush_waits_for_the_worker(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp worker;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		assert_true(transport->push_flush(s.push, 0)); /* nobody took anything */
		assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
		assert_ok(send_job(s.lane[0], 10));
		expect_job(&worker, 10);
		assert_true(transport->push_flush(s.push, in_ms(LIMIT_MS)));
		send_large_job(&s);
		assert_false(transport->push_flush(s.push, in_ms(30)));
		expect_job(&worker, LARGE_JOB);
		leave(&s, &worker);
		close_scene(&s);
	}
}

/* A worker that came and went is no excuse: what it took it had got. */
static void
test_flush_after_a_worker_has_gone(void **state)
{
	scene s;
	spr_sp gone, worker;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&gone, s.url, SPR_SP_PULL));
	for (unsigned n = 0; n < 3; n++) {
		assert_true(wait_until(transport->lane_room(s.lane[0]) > 0, LIMIT_MS));
		assert_ok(send_job(s.lane[0], 10));
		expect_job(&gone, 10);
	}
	leave(&s, &gone);
	assert_true(transport->push_flush(s.push, in_ms(0)));
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	send_large_job(&s);
	assert_false(transport->push_flush(s.push, in_ms(1500)));
	expect_job(&worker, LARGE_JOB);
	leave(&s, &worker);
	close_scene(&s);
}

/* A job that died with its worker will never be written: flush does not wait for it to the end. */
static void
test_flush_after_a_job_was_lost(void **state)
{
	scene s;
	spr_sp worker;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	send_large_job(&s);
	spr_sp_close(&worker);
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	assert_false(transport->push_flush(s.push, in_ms(30)));
	assert_true(transport->push_flush(s.push, UINT64_MAX));
	close_scene(&s);
}

static void
test_a_peer_of_the_wrong_protocol(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp");
	assert_false(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	assert_int_equal(s.n_added, 1);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PULL));
	assert_ok(send_job(s.lane[0], 10));
	expect_job(&peer, 10);
	leave(&s, &peer);
	close_scene(&s);
}

static void
test_close_with_workers_connected(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp reading, stuck;

	(void)state;
	for (unsigned k = 0; k < 10; k++) {
		open_scene(&s, schemes[k % 2]);
		assert_true(spr_sp_dial(&stuck, s.url, SPR_SP_PULL));
		send_large_job(&s);
		assert_true(spr_sp_dial(&reading, s.url, SPR_SP_PULL));
		assert_ok(send_job(s.lane[1], 10));
		expect_job(&reading, 10);
		close_scene(&s);
		assert_true(spr_sp_wait_gone(&reading, LIMIT_MS));
		spr_sp_close(&reading);
		spr_sp_close(&stuck);
	}
	transport->push_close(NULL);
}

static void
test_no_memory(void **state)
{
	spr_push_config config = {.on_done = on_done};
	spr_push *push = NULL;
	spr_push_lane *lane = NULL;

	(void)state;
	spr_mem_fail_at(1);
	assert_fails(transport->push_open(&push, &config), SPR_E_NOMEM);
	assert_null(push);
	spr_mem_fail_at(2);
	assert_ok(transport->push_open(&push, &config));
	for (unsigned long n = 1; n <= 2; n++) { /* itself, the slots */
		spr_mem_fail_at(n);
		assert_fails(transport->lane_open(&lane, push, SLOTS, NULL), SPR_E_NOMEM);
		assert_null(lane);
	}
	spr_mem_fail_at(3);
	assert_ok(transport->lane_open(&lane, push, SLOTS, NULL));
	spr_mem_fail_at(0);
	transport->push_close(push);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_jobs_arrive),
	    cmocka_unit_test(test_a_full_lane),
	    cmocka_unit_test(test_abort_cancels_what_waits),
	    cmocka_unit_test(test_flush_waits_for_the_worker),
	    cmocka_unit_test(test_flush_after_a_worker_has_gone),
	    cmocka_unit_test(test_flush_after_a_job_was_lost),
	    cmocka_unit_test(test_a_peer_of_the_wrong_protocol),
	    cmocka_unit_test(test_it_dials_and_dials_again),
	    cmocka_unit_test(test_close_with_workers_connected),
	    cmocka_unit_test(test_lanes_in_parallel),
	    cmocka_unit_test(test_bad_urls),
	    cmocka_unit_test(test_no_memory),
	};
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

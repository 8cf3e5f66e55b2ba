/*
 * push_tests - what every sending half of our own must do, beside what push_scene.h has for all: what has ended well was
 * written whole, what a lost connection had not written goes to another one, and workers may come and go as they like.
 */
#pragma once

#include <sys/un.h>

#include "push_scene.h"

/* A job whose write has begun and cannot end before the worker reads. */
static inline void
send_stuck_job(scene *s)
{
	assert_true(wait_until(transport->lane_busy(s->lane[0]) == 0, LIMIT_MS));
	assert_ok(send_job(s->lane[0], LARGE_JOB));
	assert_int_equal(transport->lane_busy(s->lane[0]), 1);
}

static inline void
test_ended_is_written(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp worker;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		assert_true(transport->push_flush(s.push, 0)); /* nobody took anything */
		assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
		send_stuck_job(&s);
		assert_false(transport->push_flush(s.push, in_ms(30)));
		assert_int_equal(s.tally[0].n_sent, 0);
		expect_job(&worker, LARGE_JOB);
		assert_true(transport->push_flush(s.push, in_ms(LIMIT_MS)));
		assert_int_equal(s.tally[0].n_sent, 1);
		leave(&s, &worker);
		close_scene(&s);
	}
}

static inline void
test_what_was_not_written_goes_to_another(void **state)
{
	scene s;
	spr_sp gone, worker;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&gone, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	send_stuck_job(&s);
	for (unsigned i = 1; i < SLOTS; i++) /* these wait behind it */
		assert_ok(send_job(s.lane[0], 10 + i));
	spr_sp_close(&gone);
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	assert_int_equal(s.tally[0].n_sent, 0);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	for (unsigned i = 0, n_large = 0; i < SLOTS; i++) {
		const uint8_t *data;
		size_t len;

		assert_int_equal(spr_sp_recv(&worker, &data, &len, LIMIT_MS), SPR_SP_OK);
		n_large += len == LARGE_JOB;
		assert_true(i < SLOTS - 1 || n_large == 1);
	}
	assert_true(wait_until(s.tally[0].n_sent == SLOTS, LIMIT_MS));
	leave(&s, &worker);
	close_scene(&s);
}

static inline void
test_abort_cuts_off_a_write(void **state)
{
	scene s;
	spr_sp stuck, worker;

	(void)state;
	open_scene(&s, "tcp");
	assert_true(spr_sp_dial(&stuck, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	send_stuck_job(&s);
	assert_ok(send_job(s.lane[1], 11)); /* of another lane: it is not aborted */
	transport->lane_abort(s.lane[0]);
	assert_true(wait_until(transport->lane_busy(s.lane[0]) == 0, LIMIT_MS));
	assert_int_equal(s.tally[0].n_cancelled, 1);
	assert_true(
	    wait_until(s.n_removed == 1, LIMIT_MS)); /* its frame was cut: nothing may follow */
	spr_sp_close(&stuck);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	expect_job(&worker, 11);
	leave(&s, &worker);
	close_scene(&s);
}

/* nng's own PUSH socket does not live through this. */
static inline void
test_workers_come_and_go(void **state)
{
	enum { N_WORKERS = 500 };
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp worker;

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k]);
		for (unsigned n = 1; n <= N_WORKERS; n++) {
			assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
			/* the one before may still be on the list: its kernel may take a job along */
			do {
				const uint8_t *data;
				size_t len;

				assert_true(
				    wait_until(transport->lane_room(s.lane[0]) > 0, LIMIT_MS));
				assert_ok(send_job(s.lane[0], 10));
				if (spr_sp_recv(&worker, &data, &len, 20) == SPR_SP_OK)
					break;
			} while (true);
			spr_sp_close(&worker);
		}
		assert_true(wait_until(s.n_removed == N_WORKERS, LIMIT_MS));
		transport->lane_abort(s.lane[0]);
		close_scene(&s);
	}
}

static inline void
test_other_peers_get_nowhere(void **state)
{
	scene s;
	spr_sp peer, worker;

	(void)state;
	open_scene(&s, "tcp");
	assert_false(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PULL));
	assert_true(wait_until(s.n_added == 1, LIMIT_MS));
	assert_int_equal(spr_sp_send_bytes(&peer, "x", 1, LIMIT_MS),
			 SPR_SP_OK); /* a PULL peer says nothing */
	assert_true(spr_sp_wait_gone(&peer, LIMIT_MS));
	assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
	spr_sp_close(&peer);
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	assert_ok(send_job(s.lane[0], 10));
	expect_job(&worker, 10);
	leave(&s, &worker);
	close_scene(&s);
}

/* Connected, but not a byte: it holds up neither others nor the end. */
static inline void
test_a_silent_peer(void **state)
{
	scene s;
	spr_sp worker;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int silent = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	open_scene(&s, "ipc");
	assert_true(strlen(s.url) < sizeof(address.sun_path));
	strcpy(address.sun_path, s.url + strlen("ipc://"));
	assert_int_equal(connect(silent, (struct sockaddr *)&address, sizeof(address)), 0);
	for (unsigned n = 0; n < 20; n++) { /* nor do those that hang up at once */
		int hasty = socket(AF_UNIX, SOCK_STREAM, 0);

		assert_int_equal(connect(hasty, (struct sockaddr *)&address, sizeof(address)), 0);
		close(hasty);
	}
	assert_true(spr_sp_dial(&worker, s.url, SPR_SP_PULL));
	assert_ok(send_job(s.lane[0], 10));
	expect_job(&worker, 10);
	leave(&s, &worker);
	close_scene(&s);
	close(silent);
}

static inline void
test_close_with_workers_connected(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	scene s;
	spr_sp reading, idle;

	(void)state;
	for (unsigned k = 0; k < 10; k++) {
		open_scene(&s, schemes[k % 2]);
		assert_true(spr_sp_dial(&idle, s.url, SPR_SP_PULL));
		assert_true(spr_sp_dial(&reading, s.url, SPR_SP_PULL));
		close_scene(&s);
		assert_true(spr_sp_wait_gone(&reading, LIMIT_MS));
		assert_true(spr_sp_wait_gone(&idle, LIMIT_MS));
		spr_sp_close(&reading);
		spr_sp_close(&idle);
	}
	transport->push_close(NULL);
}

#define PUSH_TESTS                                                                                \
	cmocka_unit_test(test_jobs_arrive), cmocka_unit_test(test_a_full_lane),                   \
	    cmocka_unit_test(test_abort_cancels_what_waits),                                      \
	    cmocka_unit_test(test_ended_is_written),                                              \
	    cmocka_unit_test(test_what_was_not_written_goes_to_another),                          \
	    cmocka_unit_test(test_abort_cuts_off_a_write),                                        \
	    cmocka_unit_test(test_workers_come_and_go),                                           \
	    cmocka_unit_test(test_other_peers_get_nowhere), cmocka_unit_test(test_a_silent_peer), \
	    cmocka_unit_test(test_it_dials_and_dials_again),                                      \
	    cmocka_unit_test(test_close_with_workers_connected),                                  \
	    cmocka_unit_test(test_lanes_in_parallel)

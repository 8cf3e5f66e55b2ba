/*
 * own_pull_scene - what every receiving half over streams of our own must do, beyond pull_scene.h: connections share receives
 * fairly, a parked one stops reading, and what was read before goes first.
 */
#pragma once

#include "pull_scene.h"

static inline void
test_other_peers_get_nowhere(void **state)
{
	scene s;
	spr_sp peer;

	(void)state;
	open_scene(&s, "tcp", 1);
	for (unsigned n = 1; n <= 3; n++)
		assert_false(spr_sp_dial(&peer, s.url, SPR_SP_REQ));
	assert_int_equal(s.n_added, 0);
	assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
	push(&peer, 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	spr_sp_close(&peer);
	close_scene(&s);
}

/* One receive is parked: the connections of the other one go on. */
static inline void
test_connections_are_spread(void **state)
{
	enum { N_PEERS = 8 };
	scene s;
	spr_sp peer[N_PEERS];
	unsigned n_parked = 0;

	(void)state;
	open_scene(&s, "ipc", 2);
	for (unsigned i = 0; i < N_PEERS; i++) {
		assert_true(spr_sp_dial(&peer[i], s.url, SPR_SP_PUSH));
		assert_true(wait_until(s.n_added == i + 1, LIMIT_MS));
	}
	atomic_store(&s.is_parking, true);
	push(&peer[0], 20);
	assert_true(wait_until(s.n_received == 1, LIMIT_MS));
	atomic_store(&s.is_parking, false);
	for (unsigned n = 0; n < 10; n++) {
		for (unsigned i = 0; i < N_PEERS; i++)
			push(&peer[i], 20);
	}
	assert_true(wait_until(s.n_received == 41, LIMIT_MS)); /* half of them */
	for (unsigned i = 0; i < 2; i++)
		n_parked += !s.may_receive[i];
	assert_int_equal(n_parked, 1);
	for (unsigned i = 0; i < 2; i++) {
		if (!atomic_exchange(&s.may_receive[i], true))
			transport->pull_rearm(s.pull, i);
	}
	assert_true(wait_until(s.n_received == 81, LIMIT_MS));
	for (unsigned i = 0; i < N_PEERS; i++)
		spr_sp_close(&peer[i]);
	close_scene(&s);
}

/* A parked receive reads no more: its producer is stopped by full buffers, and nothing is lost. */
static inline void
test_back_pressure(void **state)
{
	static const char *const schemes[] = {"tcp", "ipc"};
	char text[1000] = "m";
	unsigned n_sent;
	scene s;
	spr_sp peer;

	(void)state;
	text[999] = '.';
	for (unsigned k = 0; k < 2; k++) {
		open_scene(&s, schemes[k], 1);
		atomic_store(&s.is_parking, true);
		assert_true(spr_sp_dial(&peer, s.url, SPR_SP_PUSH));
		/* the last one fails in the middle; its rest is never sent */
		for (n_sent = 0; spr_sp_send(&peer, NULL, 0, text, sizeof(text), 200) == SPR_SP_OK;
		     n_sent++)
			assert_true(n_sent < 100000);
		assert_true(wait_until(s.n_received == 1, LIMIT_MS));
		atomic_store(&s.is_parking, false);
		atomic_store(&s.may_receive[0], true);
		transport->pull_rearm(s.pull, 0);
		assert_true(wait_until(s.n_received == n_sent, LIMIT_MS));
		spr_sp_close(&peer);
		assert_true(wait_until(s.n_removed == 1, LIMIT_MS));
		close_scene(&s);
	}
}

/* Each allocation fails in turn. */
static inline void
test_no_memory(void **state)
{
	spr_pull_config config = {.socket = "intake",
				  .thread = "receiver",
				  .receives = 2,
				  .max_message = MAX_MESSAGE,
				  .on_receive = on_receive};
	char bound[SPR_URL_MAX];
	spr_pull *pull = NULL;
	unsigned long n = 0;
	spr_err rv;

	(void)state;
	do {
		assert_null(pull);
		spr_mem_fail_at(++n);
	} while ((rv = transport->pull_open(&pull, &config)) == SPR_E_NOMEM);
	assert_ok(rv);
	assert_true(n > 2); /* itself, the receives */
	n = 0;
	do {
		spr_mem_fail_at(++n);
	} while ((rv = transport->pull_listen(pull, "tcp://127.0.0.1:0", bound)) == SPR_E_NOMEM);
	assert_ok(rv);
	assert_true(n > 1); /* the endpoint */
	spr_mem_fail_at(0);
	transport->pull_close(pull);
}

/*
 * agent - a thread as data: do_work() drains a bounded batch and returns what it did; the idle rule is outside it.
 *
 * Tests call do_work() by hand, with no threads. A stop is a flag and a wake-up; nothing is ever cancelled.
 *
 * Writer      any thread: spr_agent_wake(), spr_agent_stop()
 * Reader      the agent's own thread
 * Ownership   the struct is the caller's; it must outlive the thread
 * Ordering    E3 (eventcount); what the thread did is visible after spr_agent_stop() returns (join)
 * Progress    wake is lock-free; stop blocks until the thread has ended
 * Limits      name is at most 15 characters
 * Teardown    spr_agent_stop()
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/eventcount.h"

typedef struct spr_agent spr_agent;
struct spr_agent {
	/* constant after start */
	const char *name; /* thread name */
	spr_role role;
	spr_err (*on_start)(void *state); /* [the thread] may be NULL */
	unsigned (*do_work)(void *state); /* [the thread] bounded; units of work done, 0 = idle */
	void (*on_stop)(void *state); /* [the thread] may be NULL; not after a failed on_start */
	void *state;
	uint64_t spin_ns; /* how long an idle thread spins before it parks */

	/* written by the agent's thread inside do_work */
	uint64_t wake_at_ns; /* monotonic; 0: sleep until woken. Reset to 0 before each do_work */

	/* shared */
	spr_ec ec;
	atomic_bool stopping;
	_Atomic uint64_t last_turn_ns; /* when do_work last returned */
	_Atomic uint64_t longest_turn_ns;
	atomic_bool is_parked;
	pthread_t thread;
	bool has_thread;
	spr_err start_result;
};

/* [any] Fills the shared part; the caller has set the constants. */
void spr_agent_init(spr_agent *agent);
/* [main] Starts the thread with all signals blocked and waits for on_start's result. */
spr_err spr_agent_start(spr_agent *agent);
/* [any] Makes a parked or about-to-park agent run do_work again. */
void spr_agent_wake(spr_agent *agent);
/* [main] Asks, wakes, joins. Fine on one that never started. */
void spr_agent_stop(spr_agent *agent);
/* [any] True once a stop was asked for. */
bool spr_agent_is_stopping(const spr_agent *agent);

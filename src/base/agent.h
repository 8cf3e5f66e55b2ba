/*
 * agent - a thread as data: do_work() drains a bounded batch and returns what it did; the idle rule is outside it.
 *
 * Tests call do_work() by hand, with no threads. A stop is a flag and a wake-up; nothing is ever cancelled.
 *
 * An agent with do_guest_work() lends its turn: a thread that has just made work for it and finds it idle does a small
 * turn itself, on the spot, instead of waking it. One thread at a time has the turn, so the agent's state needs no other
 * protection. While someone has it, a further offer leaves a mark, and whoever gives the turn back looks again or wakes
 * the agent's thread.
 *
 * Writer      any thread: spr_agent_wake(), spr_agent_offer(), spr_agent_stop()
 * Reader      whoever has the turn: the agent's own thread, or a guest
 * Ownership   the struct is the caller's; it must outlive the thread
 * Ordering    E3 (eventcount); E15: what was done in a turn, and before an offer, is visible to the next turn; what the
 *             thread did is visible after spr_agent_stop() returns (join)
 * Progress    wake is lock-free; offer never waits; stop blocks until the thread has ended
 * Limits      name is at most 15 characters
 * Teardown    spr_agent_stop()
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/eventcount.h"
#include "base/turn.h"

typedef struct spr_agent spr_agent;
struct spr_agent {
	/* constant after start */
	const char *name; /* thread name */
	spr_role role;
	spr_err (*on_start)(void *state); /* [the thread] may be NULL */
	unsigned (*do_work)(void *state); /* [the thread] bounded; units of work done, 0 = idle */
	void (*on_stop)(void *state); /* [the thread] may be NULL; not after a failed on_start */
	/* [a guest] a small turn; true: more is left for the agent's thread. NULL: never lent */
	bool (*do_guest_work)(void *state);
	void *state;
	uint64_t spin_ns; /* how long an idle thread spins before it parks */

	/* written by whoever has the turn */
	uint64_t wake_at_ns; /* monotonic; 0: sleep until woken. Reset to 0 before each turn */

	/* shared */
	spr_ec ec;
	spr_turn turn;
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
/*
 * [any] Work was made for the agent: does it here and now if the agent is idle and lends its turn, else sees to it that
 * the agent looks.
 */
void spr_agent_offer(spr_agent *agent);
/* [main] Asks, wakes, joins. Fine on one that never started. */
void spr_agent_stop(spr_agent *agent);
/* [any] False: the thread is neither parked nor did it come round within limit_ns. Fine on one that never started. */
bool spr_agent_is_alive(const spr_agent *agent, uint64_t now_ns, uint64_t limit_ns);
/* [any] True once a stop was asked for. */
bool spr_agent_is_stopping(const spr_agent *agent);

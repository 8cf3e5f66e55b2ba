/*
 * waiters - how a dispatcher that waits for something scarce is woken, and only then.
 *
 * A dispatcher that finds nothing free declares what it wants, looks once more, and parks. Whoever gives something back
 * wakes the dispatchers that want it. Nobody wants anything most of the time, so giving back costs one load a dispatcher.
 *
 * Writer      the dispatcher sets its own wants; any thread notifies
 * Reader      any thread
 * Ownership   the array belongs to the daemon; it outlives every user
 * Ordering    E11: giving back, then reading wants, against declaring wants, then looking again: both sides sequentially
 *             consistent, so one of the two always sees the other
 * Progress    wait-free, but for the wake-up's system call
 * Limits      none
 * Teardown    after its users stopped
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/agent.h"
#include "base/mem.h"
#include "base/sync.h"

typedef enum spr_want {
	SPR_WANT_SLOT = 1 << 0,     /* a free send slot of its lane */
	SPR_WANT_BYTES = 1 << 1,    /* room for job buffers */
	SPR_WANT_INFLIGHT = 1 << 2, /* a free notification */
	SPR_WANT_JOBS = 1 << 3,     /* credits for open jobs */
} spr_want;

typedef struct spr_waiter {
	_Alignas(SPR_CACHELINE) atomic_uint wants;
	spr_agent *agent;
} spr_waiter;

typedef struct spr_waiters {
	spr_waiter *waiter;
	unsigned n;
} spr_waiters;

/* [its dispatcher, with the turn] Then look again before parking. */
static inline void
spr_waiter_want(spr_waiter *waiter, spr_want want)
{
	atomic_fetch_or_explicit(&waiter->wants, want, memory_order_seq_cst /* E11 */);
}

/* [its dispatcher, with the turn] */
static inline void
spr_waiter_clear(spr_waiter *waiter)
{
	/* relaxed: only the turn sets it. E11: clear, then look for work, against spr_waiter_offer() */
	if (atomic_load_explicit(&waiter->wants, memory_order_relaxed) != 0)
		atomic_exchange_explicit(&waiter->wants, 0, memory_order_seq_cst);
}

/* [any] After putting work before it: the dispatcher waits for nothing that work does not bring. */
static inline bool
spr_waiter_is_free(const spr_waiter *waiter)
{
	SPR_FULL_FENCE(); /* E11: the work is visible before wants is read */
	return (atomic_load_explicit(&waiter->wants, memory_order_relaxed /* behind the fence */) ==
		0);
}

/*
 * [any] After putting work before the dispatcher: offers it (an idle one lends its turn), unless it waits for something
 * that work does not bring. It then looks by itself when it has got that.
 */
static inline void
spr_waiter_offer(spr_waiter *waiter)
{
	if (spr_waiter_is_free(waiter))
		spr_agent_offer(waiter->agent);
}

/* [any] The same, but the dispatcher's own thread is to do it. */
static inline void
spr_waiter_wake(spr_waiter *waiter)
{
	if (spr_waiter_is_free(waiter))
		spr_agent_wake(waiter->agent);
}

/* [any] After giving something back. */
static inline void
spr_waiter_notify(spr_waiter *waiter, spr_want want)
{
	if ((atomic_load_explicit(&waiter->wants, memory_order_seq_cst /* E11 */) & want) != 0)
		spr_agent_wake(waiter->agent);
}

/*
 * [nng-cb] The same for a thread that has nothing better to do: the dispatcher lends it the turn.
 */
static inline void
spr_waiter_notify_and_help(spr_waiter *waiter, spr_want want)
{
	if ((atomic_load_explicit(&waiter->wants, memory_order_seq_cst /* E11 */) & want) != 0)
		spr_agent_offer(waiter->agent);
}

/* [any] After giving something back: somebody wants it. */
static inline bool
spr_waiters_want(const spr_waiters *waiters, spr_want want)
{
	unsigned wants = 0;

	for (unsigned i = 0; i < waiters->n; i++)
		wants |=
		    atomic_load_explicit(&waiters->waiter[i].wants, memory_order_seq_cst /* E11 */);
	return ((wants & want) != 0);
}

/* [any] */
static inline void
spr_waiters_notify(const spr_waiters *waiters, spr_want want)
{
	for (unsigned i = 0; i < waiters->n; i++)
		spr_waiter_notify(&waiters->waiter[i], want);
}

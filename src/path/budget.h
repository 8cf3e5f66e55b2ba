/*
 * budget - the bytes that jobs may take, shared by dispatchers: each has an allowance of them, so that a job touches no count that
 * other dispatchers touch too.
 *
 *              a chunk, or what is needed            plain subtraction
 *   used ----------------------------------> allowance ---------------> a job
 *     ^                                       |    ^                      |
 *     |                             its turn  |    | when that is         | it ended
 *     |                                 ends  v    | used up              v
 *     +------------------------------------- spare <----------------------+
 *         too much of it, or somebody waits
 *
 * `used` counts jobs, allowances and spares, so it is a hard bound. Nobody waits for what another one only keeps: who finds too
 * little declares his want, takes what all have spare back into the common count, and looks again; while somebody wants bytes, what
 * is given back goes into the common count at once, and allowances are no larger than what is needed. What is in an allowance then is
 * given back at the end of its turn, which never waits.
 *
 * Writer      a dispatcher its allowance; its turns, completions and whoever waits its spare
 * Reader      any thread
 * Ownership   bytes are a number: who took them for a job gives as many back when it has ended
 * Ordering    E11: giving something to a spare, or to the common count, then reading wants, against declaring a want, then looking
 *             at all spares and the common count. Both sides sequentially consistent
 * Progress    lock-free; a look at all spares only when the bytes are short
 * Limits      max; a single job larger than that when nothing else is used
 * Teardown    none
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "path/waiters.h"

typedef struct spr_budget spr_budget;
typedef struct spr_budget_share spr_budget_share;

/* A dispatcher's. */
struct spr_budget_share {
	/* constant after init */
	spr_budget *budget;
	const spr_waiter *waiter; /* the dispatcher's */
	spr_budget_share *next;
	/* written by the dispatcher; others read it */
	_Atomic size_t allowance;
	/* written by whoever ends jobs, by the dispatcher, and by others that wait */
	_Alignas(SPR_CACHELINE) _Atomic size_t spare;
};

struct spr_budget {
	/* constant after init */
	size_t max;
	size_t chunk; /* that an allowance is filled with beyond what is needed, if that is less */
	const spr_waiters *waiters;
	spr_budget_share *shares;
	/* written by all, seldom */
	_Alignas(SPR_CACHELINE) _Atomic size_t used;
};

/* [main] Of zeroed memory. */
void spr_budget_init(spr_budget *budget, size_t max, const spr_waiters *waiters);
/* [main] Before the first take. */
void spr_budget_join(spr_budget *budget, spr_budget_share *share, const spr_waiter *waiter);
/* Out of line: what spr_budget_take() leaves over. */
bool spr_budget_refill(spr_budget_share *share, size_t len);
/* [dispatcher, its share, after declaring its want] The same, with what others have spare, and without more than is needed. */
bool spr_budget_take_all(spr_budget_share *share, size_t len);
/* [any] Of jobs of this share. */
void spr_budget_give_back(spr_budget_share *share, size_t len);
/* [dispatcher, its share] Its turn is over, or it is about to wait: nothing stays in its allowance. */
void spr_budget_end_turn(spr_budget_share *share);
/* [any] A snapshot of what jobs have; what is only kept for the next ones is not in it. */
size_t spr_budget_in_use(const spr_budget *budget);

/* [dispatcher, its share] Bytes for a job; false: none were taken. */
static inline bool
spr_budget_take(spr_budget_share *share, size_t len)
{
	/* relaxed, both: the dispatcher's own; others read it for a snapshot */
	size_t allowance = atomic_load_explicit(&share->allowance, memory_order_relaxed);

	if (allowance < len)
		return (spr_budget_refill(share, len));
	atomic_store_explicit(&share->allowance, allowance - len,
			      memory_order_relaxed /* as above */);
	return (true);
}

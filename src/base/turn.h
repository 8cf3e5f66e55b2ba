/*
 * turn - one thread at a time, and nobody waits: whoever finds the turn taken leaves a mark for its holder.
 *
 *   if (spr_turn_take(&turn)) {
 *           ... work ...
 *           if (spr_turn_give_back(&turn))
 *                   ... somebody has left a mark meanwhile: look again ...
 *   }
 *
 * Writer      any thread
 * Reader      any thread
 * Ownership   what the turn protects belongs to its holder
 * Ordering    E15: what was done in a turn, and before a take that failed, is visible to the next turn. Both steps are
 *             read-modify-writes, so either the holder sees the mark, or the other finds the turn free
 * Progress    lock-free
 * Limits      none
 * Teardown    take it and keep it
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/sync.h"

typedef atomic_uint spr_turn;

enum { SPR_TURN_FREE = 0, SPR_TURN_TAKEN = 1, SPR_TURN_WANTED = 2 };

/* [any] True: the turn is the caller's. False: its holder will see the mark. */
static inline bool
spr_turn_take(spr_turn *turn)
{
	for (;;) {
		/* E15 acquire: the last turn; release: what was made before, for the holder */
		if ((atomic_fetch_or_explicit(turn, SPR_TURN_TAKEN, memory_order_acq_rel) &
		     SPR_TURN_TAKEN) == 0)
			return (true);
		SPR_YIELD();
		/* E15: the mark; if the turn was given back in between, it is tried again */
		if ((atomic_fetch_or_explicit(turn, SPR_TURN_WANTED, memory_order_acq_rel) &
		     SPR_TURN_TAKEN) != 0)
			return (false);
	}
}

/* [holder] True: somebody left a mark. */
static inline bool
spr_turn_give_back(spr_turn *turn)
{
	SPR_YIELD();
	/* E15 release: this turn; acquire: what was made during it */
	return ((atomic_exchange_explicit(turn, SPR_TURN_FREE, memory_order_acq_rel) &
		 SPR_TURN_WANTED) != 0);
}

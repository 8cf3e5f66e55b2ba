/*
 * credits - the right to have jobs in the table of jobs (path/jobs.h): all that a fan-out may need, before its first job is opened.
 *
 *   dispatcher d --reserve_in_turn--> has them
 *                     |  too few, or somebody waits: d has a place in the line --reserve_in_turn, again--> has them --leave--> out of it
 *                     |                                                                             may leave before
 *   ledger --wanted--> gives up what is remembered until the first in line has enough; give_back
 *
 * The line is first come, first served: a large fan-out waits for those that have credits now and those before it in the line, never
 * for a stream of small ones of other dispatchers. Whoever comes back with jobs of an earlier attempt does not wait (two of them could
 * wait for each other's for ever) and passes the line by: its jobs are remembered when it ends, and given up while somebody waits.
 *
 * Writer      dispatchers reserve, each with one place in the line; any thread gives back
 * Reader      any thread
 * Ownership   credits are a number; a notification or a remembered id keeps how many it has
 * Ordering    E11: giving back, or leaving the line, then reading wants, against declaring a want, then looking again: sequentially
 *             consistent on both sides
 * Progress    lock-free; a look at the line reads a word a dispatcher, and only while somebody waits
 * Limits      as many as the table has entries, SPR_CREDITS_PLACES in the line
 * Teardown    none
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

#define SPR_CREDITS_PLACES 256 /* dispatchers, at most */

/* Of one dispatcher; 0: it does not wait. The lower ticket is the earlier. */
typedef struct spr_credits_place {
	_Atomic uint64_t ticket;
	_Atomic uint32_t n;
} spr_credits_place;

typedef struct spr_credits {
	uint32_t capacity;
	/* written by dispatchers and ledger, once a fan-out */
	_Alignas(SPR_CACHELINE) _Atomic uint32_t n_reserved;
	/* written only when somebody has to wait */
	_Alignas(SPR_CACHELINE) _Atomic uint32_t n_waiting;
	_Atomic uint64_t last_ticket;
	spr_credits_place place[SPR_CREDITS_PLACES];
} spr_credits;

/* [main] Of zeroed memory. */
void spr_credits_init(spr_credits *credits, uint32_t capacity);
/* [dispatcher] n more, past the line; false: not now, nothing was taken. */
bool spr_credits_reserve(spr_credits *credits, uint32_t n);
/*
 * [dispatcher d] n more, in turn. False: d has a place in the line now; it is to ask for the same n again when it is woken. Its place
 * is kept until it leaves, also when it has got them.
 */
bool spr_credits_reserve_in_turn(spr_credits *credits, unsigned d, uint32_t n);
/* [dispatcher d] Out of the line, if it is in it. */
void spr_credits_leave(spr_credits *credits, unsigned d);
/* [any] The caller wakes whoever waits. */
void spr_credits_give_back(spr_credits *credits, uint32_t n);
/* [any] How many the first in line wants; 0: nobody waits. */
uint32_t spr_credits_wanted(const spr_credits *credits);
/* [any] Snapshots. */
uint32_t spr_credits_reserved(const spr_credits *credits);
uint32_t spr_credits_waiting(const spr_credits *credits);

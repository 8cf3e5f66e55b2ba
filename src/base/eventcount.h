/*
 * eventcount - how a thread sleeps until another has something for it (wraps ck_ec32).
 *
 * Writer      any thread: spr_ec_wake()
 * Reader      one waiting thread per eventcount
 * Ownership   embedded in its owner; no memory of its own
 * Ordering    E3: what was written before wake is visible after the wait that it ends; a value read before testing the
 *             condition makes a lost wake-up impossible
 * Progress    wake is lock-free, a system call only when someone sleeps; wait blocks by design
 * Limits      none
 * Teardown    when nobody waits
 */
#pragma once

#include <ck_ec.h>
#include <stdint.h>

typedef struct spr_ec {
	struct ck_ec32 count __attribute__((aligned(64)));
} spr_ec;

/* [any] */
void spr_ec_init(spr_ec *ec);
/* [waiter] Snapshot; take it BEFORE testing for work. */
uint32_t spr_ec_value(const spr_ec *ec);
/* [any] Ends every wait on the value read before. */
void spr_ec_wake(spr_ec *ec);
/* [waiter] Sleeps until woken or deadline_ns (monotonic; 0: none). Returns false on deadline. Spins spin_ns first. */
_Bool spr_ec_wait(spr_ec *ec, uint32_t value, uint64_t deadline_ns, uint64_t spin_ns);

/*
 * sweep - removes subscriptions whose lease has been over for longer than --lease-grace, a bounded
 * batch at a time.
 *
 * Writer      the control writer
 * Reader      -
 * Ownership   the struct is its owner's; it keeps no memory between calls
 * Ordering    a row leaves the store (committed) before it leaves the subscriptions
 * Progress    waits for the disk
 * Limits      SPR_SWEEP_BATCH rows a call; nothing in the first hour of uptime; a jump of the wall
 *             clock forward counts only after it has lasted an hour
 * Teardown    none
 */
#pragma once

#include "control/verbs.h"

#define SPR_SWEEP_BATCH      1000
#define SPR_SWEEP_EVERY_NS   (UINT64_C(10) * 1000000000)
#define SPR_SWEEP_PATIENCE_S 3600

typedef struct spr_sweep {
	uint64_t start_ns;
	uint64_t next_ns; /* when to look again */
	/* how far the wall clock is ahead of the monotonic one: the least seen in this hour and in
	 * the one before */
	uint64_t hour_ns;
	int64_t least_now_s, least_before_s;
} spr_sweep;

/* [main] */
void spr_sweep_init(spr_sweep *sweep, const spr_control_env *env);
/* [control writer, no transaction open] Rows removed; 0 when it is not time yet, nothing is due or
 * the store failed. */
unsigned spr_sweep_run(spr_sweep *sweep, const spr_control_env *env);

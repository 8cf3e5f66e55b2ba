/*
 * timer - something is called once, so many milliseconds from now, whatever the wall clock does. Private to net/.
 *
 *   spr_timer_arm() --> the list, in the order of their time --> [timer] fire
 *
 * nng's own timers follow CLOCK_REALTIME: one that is pending when the clock is set back is late by as much, and a jump
 * forward ends all of them at once. So nothing in net/ that speaks SP itself gives nng a time.
 *
 * Writer      any thread
 * Reader      the one thread of all timers: fire
 * Ownership   the timer is the caller's memory; fire may free it
 * Ordering    what the caller did before arm is visible in fire: one mutex
 * Progress    arm looks from the latest timer back, as most are armed for the same few spans; stop waits while fire runs,
 *             but not inside a fire, and so no mutex may be held that fire takes. Nothing wakes up while nothing is due
 * Limits      fire does not wait: the others are late by as much
 * Teardown    stop each timer, then give back the hold; the last one ends the thread
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct spr_timer spr_timer;
struct spr_timer {
	/* constant after init */
	void (*fire)(void *arg);
	void *arg;

	/* guarded by the mutex of all timers, which is taken last */
	uint64_t due_ns;
	bool is_armed, is_stopped;
	spr_timer *earlier, *later;
};

/* [main] Timers fire while somebody holds. SPR_E_NOMEM: there is no thread for them. */
spr_err spr_timers_hold(void);
/* [main] Gives one hold back. */
void spr_timers_drop(void);

/* [any] fire is called on the timers' thread, once for each arm. */
void spr_timer_init(spr_timer *timer, void (*fire)(void *arg), void *arg);
/* [any, in fire too] One that is armed is armed anew; one that was stopped stays so. */
void spr_timer_arm(spr_timer *timer, unsigned ms);
/* [any, in fire too] The same, up to a quarter of a second later: with others that are about due then, in one wake-up. */
void spr_timer_arm_about(spr_timer *timer, unsigned ms);
/* [any] When it returns, fire does not run (but for the one that calls it) and never will. All zeros are fine. */
void spr_timer_stop(spr_timer *timer);

/*
 * ep_timer - a timer that fires on a loop. Private to net/.
 *
 *   spr_ep_timer_arm() --> the list of all timers --> [timer] --> the loop's mailbox --> [loop] fire
 *
 * Writer      whoever arms; one at a time, and not again until fire
 * Reader      the loop: fire
 * Ownership   the caller's memory; fire may arm it again
 * Ordering    what the caller did before arm is visible in fire: the timers' mutex, then E18
 * Progress    as spr_timer_arm()
 * Limits      fire does not wait
 * Teardown    stop the loop, then spr_ep_timer_stop(), in either order
 */
#pragma once

#include "net/ep_loop.h"
#include "net/timer.h"

typedef struct spr_ep_timer spr_ep_timer;
struct spr_ep_timer {
	spr_timer timer;
	spr_ep_task task;
	/* constant after init */
	spr_ep_loop *loop;
	/* [loop] */
	void (*fire)(spr_ep_timer *timer);
};

/* [main] */
void spr_ep_timer_init(spr_ep_timer *timer, spr_ep_loop *loop, void (*fire)(spr_ep_timer *timer));
/* [any] */
void spr_ep_timer_arm(spr_ep_timer *timer, unsigned ms);
/* [any] As arm with 0, but the way is short. */
void spr_ep_timer_fire(spr_ep_timer *timer);
/* [main] Nothing is posted any more. All zeros are fine. */
void spr_ep_timer_stop(spr_ep_timer *timer);

/*
 * fake_waiters - dispatchers that only wait: waiters with agents that have no thread, so that a test sees each wake-up
 * as a step of the agent's eventcount.
 */
#pragma once

#include "path/waiters.h"

#define SPR_FAKE_WAITERS 4

typedef struct spr_fake_waiters {
	spr_waiters waiters; /* what the code under test is given */
	spr_waiter waiter[SPR_FAKE_WAITERS];
	spr_agent agent[SPR_FAKE_WAITERS];
	uint32_t seen[SPR_FAKE_WAITERS];
} spr_fake_waiters;

/* n of them, nobody wants anything. */
void spr_fake_waiters_init(spr_fake_waiters *fake, unsigned n);
/* Wake-ups of this one since the last call. */
unsigned spr_fake_wakes(spr_fake_waiters *fake, unsigned waiter);
/* What it wants: spr_want bits. */
unsigned spr_fake_wants(const spr_fake_waiters *fake, unsigned waiter);

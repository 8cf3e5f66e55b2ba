/*
 * fake_waiters - see fake_waiters.h.
 */
#include "fake_waiters.h"

static unsigned
no_work(void *state)
{
	(void)state;
	return (0);
}

void
spr_fake_waiters_init(spr_fake_waiters *fake, unsigned n)
{
	fake->waiters = (spr_waiters){.waiter = fake->waiter, .n = n};
	for (unsigned i = 0; i < n; i++) {
		fake->agent[i] =
		    (spr_agent){.name = "waiter", .role = SPR_ROLE_DISPATCHER, .do_work = no_work};
		spr_agent_init(&fake->agent[i]);
		fake->waiter[i].agent = &fake->agent[i];
		atomic_init(&fake->waiter[i].wants, 0);
		fake->seen[i] = spr_ec_value(&fake->agent[i].ec);
	}
}

unsigned
spr_fake_wakes(spr_fake_waiters *fake, unsigned waiter)
{
	uint32_t now = spr_ec_value(&fake->agent[waiter].ec);
	uint32_t n = now - fake->seen[waiter];

	fake->seen[waiter] = now;
	return (n);
}

unsigned
spr_fake_wants(const spr_fake_waiters *fake, unsigned waiter)
{
	return (atomic_load(&fake->waiter[waiter].wants));
}

/*
 * sync - yields at edges, for race tests. On a machine with few cores a thread is hardly ever
 * preempted between two neighbouring atomics; giving up the processor right there makes the rare
 * interleavings frequent.
 */
#include "base/sync.h"

#if defined(SPR_CHECKED)

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

static atomic_uint percent;
static _Thread_local uint32_t state;
static _Atomic(uint32_t) n_seeds;

void
spr_sync_yield_percent(unsigned value)
{
	/* relaxed: a knob, no data goes with it */
	atomic_store_explicit(&percent, value, memory_order_relaxed);
}

void
spr_sync_yield(void)
{
	/* relaxed: a knob, no data goes with it */
	unsigned limit = atomic_load_explicit(&percent, memory_order_relaxed);

	if (limit == 0)
		return;
	if (state == 0) {
		/* relaxed: any distinct number will do */
		state = 2654435761U *
			(atomic_fetch_add_explicit(&n_seeds, 1, memory_order_relaxed) + 1);
	}
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	if (state % 100 < limit)
		sched_yield();
}

#endif

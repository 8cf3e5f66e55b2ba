/*
 * ep_load - a list that goes round, and what each holds.
 *
 * Looking at all connections for each frame would be exact and slow; the least of sixteen is as good when there are more:
 * whoever was given something goes to the back.
 */
#include "net/ep_load.h"

#include "base/assert.h"
#include "base/sync.h"

void
spr_ep_loads_add(spr_ep_loads *self, spr_ep_load *load)
{
	SPR_ASSERT(!load->is_listed);
	load->is_listed = true;
	load->next = NULL;
	load->prev = self->tail;
	if (self->tail != NULL)
		self->tail->next = load;
	else
		self->head = load;
	self->tail = load;
	self->n++;
}

void
spr_ep_loads_remove(spr_ep_loads *self, spr_ep_load *load)
{
	if (!load->is_listed)
		return;
	load->is_listed = false;
	if (load->prev != NULL)
		load->prev->next = load->next;
	else
		self->head = load->next;
	if (load->next != NULL)
		load->next->prev = load->prev;
	else
		self->tail = load->prev;
	self->n--;
}

static size_t
held_by(const spr_ep_load *load)
{
	/* relaxed: only the turn makes it more, and less does no harm */
	return (atomic_load_explicit(&load->held, memory_order_relaxed));
}

spr_ep_load *
spr_ep_loads_pick(const spr_ep_loads *self)
{
	spr_ep_load *least = self->head;
	size_t least_held = least != NULL ? held_by(least) : 0;
	unsigned n = 1;

	if (least == NULL)
		return (NULL);
	for (spr_ep_load *load = least->next;
	     load != NULL && least_held > 0 && n < SPR_EP_LOAD_PROBES; load = load->next, n++) {
		size_t held = held_by(load);

		if (held < least_held) {
			least = load;
			least_held = held;
		}
	}
	return (least);
}

bool
spr_ep_loads_has_room(const spr_ep_loads *self, const spr_ep_load *load, size_t meant, size_t bytes)
{
	size_t held = held_by(load) + meant;

	return (held == 0 || (bytes <= self->limit && held <= self->limit - bytes));
}

void
spr_ep_loads_give(spr_ep_loads *self, spr_ep_load *load, size_t bytes)
{
	/* relaxed: what is given goes by a mailbox (E2) */
	atomic_fetch_add_explicit(&load->held, bytes, memory_order_relaxed);
	if (load->next == NULL)
		return;
	spr_ep_loads_remove(self, load);
	spr_ep_loads_add(self, load);
}

/* Not for every frame that goes: when half is gone, if that is enough. */
void
spr_ep_loads_set_full(spr_ep_loads *self, spr_ep_load *load, size_t bytes)
{
	size_t below = bytes > self->limit                     ? 1
		       : self->limit - bytes < self->limit / 2 ? self->limit - bytes + 1
							       : self->limit / 2 + 1;

	spr_ep_loads_remove(self, load);
	atomic_store_explicit(&load->wake_below, below, memory_order_seq_cst); /* E22 */
	SPR_YIELD();
	SPR_FULL_FENCE(); /* E22: the mark, then the look */
	if (atomic_load_explicit(&load->held, memory_order_seq_cst) < below &&
	    atomic_exchange_explicit(&load->wake_below, 0, memory_order_seq_cst /* E22 */) != 0)
		spr_ep_loads_add(self, load);
}

bool
spr_ep_load_give_back(spr_ep_load *load, size_t bytes)
{
	/* E22: less is held, then the mark is read */
	size_t held = atomic_fetch_sub_explicit(&load->held, bytes, memory_order_seq_cst) - bytes;
	size_t below = atomic_load_explicit(&load->wake_below, memory_order_seq_cst /* E22 */);

	return (below != 0 && held < below &&
		atomic_exchange_explicit(&load->wake_below, 0, memory_order_seq_cst /* E22 */) !=
		    0);
}

/*
 * sp_frame - what a transport's user does with a job and a lane that needs nothing of the connections.
 */
#include "net/sp_frame.h"

#include "net/sp_push.h"

spr_err
spr_sp_out_alloc(spr_push_lane *lane, spr_out *out, size_t len)
{
	frame *f = spr_mem_alloc(sizeof(*f) + len);

	(void)lane;
	if (f == NULL)
		return (SPR_E_NOMEM);
	*out = (spr_out){.data = f->data, .len = len, .handle = f};
	return (SPR_OK);
}

void
spr_sp_out_free(spr_out *out)
{
	spr_mem_free(out->handle);
	out->handle = NULL;
}

unsigned
spr_sp_lane_room(spr_push_lane *lane)
{
	/* relaxed: the owner alone makes it less */
	return (lane->slots - atomic_load_explicit(&lane->n_out, memory_order_relaxed));
}

unsigned
spr_sp_lane_busy(spr_push_lane *lane)
{
	/* E10 acquire: pairs with the release in end_frames */
	return (atomic_load_explicit(&lane->n_busy, memory_order_acquire));
}

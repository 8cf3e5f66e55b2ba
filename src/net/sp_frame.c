/*
 * sp_frame - what is done with jobs and lanes that needs nothing of the connections.
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
	/* E10 acquire: pairs with the release in spr_sp_frames_end() */
	return (atomic_load_explicit(&lane->n_busy, memory_order_acquire));
}

void
spr_sp_frames_take(spr_stack *posted, frame_queue *queue)
{
	spr_stack_entry *entry, *next;

	for (entry = spr_mailbox_pop_all(posted); entry != NULL; entry = next) {
		next = spr_stack_next(entry);
		append(queue, SPR_STACK_CONTAINER(entry, frame, posted));
	}
}

void
spr_sp_frames_free(frame_queue *queue)
{
	frame *f;

	while ((f = take_first(queue)) != NULL)
		spr_mem_free(f);
}

void
spr_sp_frames_end(frame_queue *ended)
{
	void *cookies[SPR_DONE_MAX];

	while (ended->head != NULL) {
		spr_push_lane *lane = ended->head->lane;
		spr_err result = ended->head->result;
		unsigned n = 0;
		size_t bytes = 0;

		while (n < SPR_DONE_MAX && ended->head != NULL && ended->head->lane == lane &&
		       ended->head->result == result) {
			frame *f = take_first(ended);

			cookies[n++] = f->cookie;
			bytes += f->len;
			spr_mem_free(f);
		}
		/* relaxed: a free slot is a hint to its owner; on_done orders what follows from it */
		atomic_fetch_sub_explicit(&lane->n_out, n, memory_order_relaxed);
		lane->on_done(lane->arg, cookies, n, bytes, result);
		/* E10 release: whoever reads 0 sees everything that on_done did */
		atomic_fetch_sub_explicit(&lane->n_busy, n, memory_order_release);
	}
}

/*
 * none_transport - an outbox that throws every job away: `--outbox-listen none`, and benchmarks of what is before the outbox. It
 * sends only. As with other transports, jobs end together: when the lane is flushed, or when a call of on_done or 64 KiB is
 * full; on the caller's thread.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "net/net.h"

struct spr_push_lane {
	spr_push *push;
	spr_push_lane *next;
	void *arg;
	/* the owner's: thrown away, and not told */
	void *cookies[SPR_DONE_MAX];
	unsigned n;
	size_t bytes;
	atomic_uint n_busy; /* others read it */
};

#define RUN_BYTES ((size_t)64 << 10)

struct spr_push {
	spr_push_config config;
	spr_push_lane *lanes;
};

static spr_err
none_push_open(spr_push **out, const spr_push_config *config)
{
	spr_push *push = spr_mem_zalloc(sizeof(*push));

	if (push == NULL)
		return (SPR_E_NOMEM);
	push->config = *config;
	*out = push;
	return (SPR_OK);
}

static spr_err
none_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg)
{
	spr_push_lane *lane = spr_mem_zalloc_aligned(sizeof(*lane));

	(void)slots;
	if (lane == NULL)
		return (SPR_E_NOMEM);
	*lane = (spr_push_lane){.push = push, .next = push->lanes, .arg = lane_arg};
	push->lanes = lane;
	*out = lane;
	return (SPR_OK);
}

static spr_err
none_out_alloc(spr_push_lane *lane, spr_out *out, size_t len)
{
	(void)lane;
	if ((out->handle = spr_mem_alloc(len)) == NULL)
		return (SPR_E_NOMEM);
	out->data = out->handle;
	out->len = len;
	return (SPR_OK);
}

static void
none_out_free(spr_out *out)
{
	spr_mem_free(out->handle);
	out->handle = NULL;
}

static void
set_busy(spr_push_lane *lane, unsigned n)
{
	/* E10 release: whoever reads 0 sees everything that on_done did */
	atomic_store_explicit(&lane->n_busy, n, memory_order_release);
}

static void
none_lane_flush(spr_push_lane *lane)
{
	unsigned n = lane->n;
	size_t bytes = lane->bytes;

	if (n == 0)
		return;
	lane->n = 0;
	lane->bytes = 0;
	lane->push->config.on_done(lane->arg, lane->cookies, n, bytes, SPR_OK);
	set_busy(lane, 0);
}

static spr_err
none_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	lane->cookies[lane->n++] = cookie;
	lane->bytes += out->len;
	set_busy(lane, lane->n);
	none_out_free(out);
	if (lane->n == SPR_DONE_MAX || lane->bytes >= RUN_BYTES)
		none_lane_flush(lane);
	return (SPR_OK);
}

static unsigned
none_lane_room(spr_push_lane *lane)
{
	(void)lane;
	return (1);
}

static void
none_lane_abort(spr_push_lane *lane)
{
	(void)lane;
}

static unsigned
none_lane_busy(spr_push_lane *lane)
{
	/* E10 acquire: pairs with set_busy() */
	return (atomic_load_explicit(&lane->n_busy, memory_order_acquire));
}

static bool
none_push_flush(spr_push *push, uint64_t deadline_ns)
{
	(void)push;
	(void)deadline_ns;
	return (true);
}

static void
none_push_close(spr_push *push)
{
	spr_push_lane *next;

	if (push == NULL)
		return;
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = next) {
		next = lane->next;
		spr_mem_free(lane);
	}
	spr_mem_free(push);
}

const spr_transport spr_transport_none = {
    .name = "none",
    .push_open = none_push_open,
    .lane_open = none_lane_open,
    .out_alloc = none_out_alloc,
    .out_free = none_out_free,
    .lane_send = none_lane_send,
    .lane_flush = none_lane_flush,
    .lane_room = none_lane_room,
    .lane_abort = none_lane_abort,
    .lane_busy = none_lane_busy,
    .push_flush = none_push_flush,
    .push_close = none_push_close,
};

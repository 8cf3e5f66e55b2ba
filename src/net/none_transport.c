/*
 * none_transport - an outbox that throws every job away at once: `--outbox-listen none`, and benchmarks of what is before
 * the outbox. It sends only; completions run on the caller's thread.
 */
#include "base/mem.h"
#include "net/net.h"

struct spr_push_lane {
	spr_push *push;
	spr_push_lane *next;
	void *arg;
};

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
	spr_push_lane *lane = spr_mem_zalloc(sizeof(*lane));

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

static spr_err
none_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	size_t len = out->len;

	none_out_free(out);
	lane->push->config.on_done(lane->arg, &cookie, 1, len, SPR_OK);
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
	(void)lane;
	return (0);
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
    .lane_room = none_lane_room,
    .lane_abort = none_lane_abort,
    .lane_busy = none_lane_busy,
    .push_flush = none_push_flush,
    .push_close = none_push_close,
};

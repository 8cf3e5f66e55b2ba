/*
 * ep_push - frames from lanes to connections, written by whoever posts them.
 *
 *   lane_send --> open (the owner's) --lane_flush--> posted (mailbox) --+
 *                                                                       +--> [turn] pending x connections --> look at each
 *   connection new, has room again, lost ----> returned, died ----------+              |
 *                                                                                one system call
 *
 * As with streams (sp_push) matching is done in a turn, and nobody waits: whoever finds the turn taken leaves the rest to
 * its holder. What is different: a write ends at once, so a job that comes alone is in the kernel when lane_flush returns, by
 * one system call and no other thread; and what comes together is joined before it is posted. Frames that come together are
 * dealt to all connections alike, as runs.
 *
 * The loop has nothing to do but for connections that had no room, those that come and go, and frames that wait for TCP.
 */
#include "net/ep_push.h"

#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "net/ep_deal.h"
#include "net/ep_timer.h"
#include "net/sp_wire.h"

#define OPEN_BYTES    (64 * 1024) /* a lane flushes by itself; more in a system call gains nothing */
#define POLL_MS       1
#define POLL_MS_MAX   32
#define WATCH_MS      2000
#define FLUSH_STEP_NS (SPR_NS_PER_S / 1000)

struct spr_push {
	spr_ep_deal deal; /* first: it is aligned */

	/* constant after open, listen, dial */
	spr_push_lane *lanes;
	spr_ep_loop *loop;
	spr_ep_endpoint *endpoints;
	bool has_ipc, has_tcp;

	bool has_timers;
	spr_ep_timer watch;

	/* frames that wait for TCP */
	spr_ep_timer poll;
	atomic_bool is_polling;
	atomic_uint poll_ms;
};

/* ---- TCP's word ---- */

static void
on_poll(spr_ep_timer *timer)
{
	spr_push *push = SPR_STACK_CONTAINER(timer, spr_push, poll);

	/* E15: before the connections are asked to look, so that those that still wait arm it anew */
	atomic_store_explicit(&push->is_polling, false, memory_order_relaxed);
	spr_ep_deal_visit(&push->deal);
}

/* relaxed throughout: how soon is a guess, and who arms it is settled by the exchange alone */
static void
wants_poll(spr_ep_hub *hub, bool has_progressed)
{
	spr_push *push = (spr_push *)(void *)SPR_STACK_CONTAINER(hub, spr_ep_deal, hub);
	unsigned ms;

	/* relaxed, all: as said above */
	if (has_progressed)
		atomic_store_explicit(&push->poll_ms, POLL_MS, memory_order_relaxed);
	if (atomic_exchange_explicit(&push->is_polling, true, memory_order_relaxed))
		return;
	/* relaxed, both: as said above */
	ms = atomic_load_explicit(&push->poll_ms, memory_order_relaxed);
	atomic_store_explicit(&push->poll_ms, ms * 2 > POLL_MS_MAX ? POLL_MS_MAX : ms * 2,
			      memory_order_relaxed);
	spr_ep_timer_arm(&push->poll, ms);
}

static void
on_watch(spr_ep_timer *timer)
{
	spr_push *push = SPR_STACK_CONTAINER(timer, spr_push, watch);

	/* relaxed, both: before the connections are asked to look, as above (E15) */
	atomic_store_explicit(&push->deal.hub.is_watching, false, memory_order_relaxed);
	atomic_fetch_add_explicit(&push->deal.hub.n_watches, 1, memory_order_relaxed);
	spr_ep_deal_visit(&push->deal);
}

/* Nothing wakes up while nothing is on its way. */
static void
wants_watch(spr_ep_hub *hub)
{
	spr_push *push = (spr_push *)(void *)SPR_STACK_CONTAINER(hub, spr_ep_deal, hub);

	/* relaxed, both: who arms it is settled by the exchange alone */
	if (!atomic_load_explicit(&hub->is_watching, memory_order_relaxed) &&
	    !atomic_exchange_explicit(&hub->is_watching, true, memory_order_relaxed))
		spr_ep_timer_arm(&push->watch, WATCH_MS);
}

/* ---- the table's functions ---- */

static void
on_stream(void *arg, spr_ep_endpoint *endpoint, spr_ep_loop *loop, int fd, const spr_peer *peer)
{
	spr_push *push = arg;

	spr_ep_connection_new(&push->deal.hub, endpoint, loop, fd, peer);
}

static void
init(spr_push *push, const spr_push_config *config)
{
	spr_ep_deal_init(&push->deal, config, wants_poll);
	push->deal.hub.wants_watch = wants_watch;
	atomic_init(&push->poll_ms, POLL_MS);
}

spr_err
spr_ep_push_open(spr_push **out, const spr_push_config *config)
{
	const spr_ep_loop_config loop = {.name = "outbox"};
	spr_push *push = spr_mem_zalloc_aligned(sizeof(*push));
	spr_err rv;

	if (push == NULL)
		return (SPR_E_NOMEM);
	init(push, config);
	if ((rv = spr_timers_hold()) != SPR_OK)
		goto fail;
	push->has_timers = true;
	if ((rv = spr_ep_loop_start(&push->loop, &loop)) != SPR_OK)
		goto fail;
	spr_ep_timer_init(&push->poll, push->loop, on_poll);
	spr_ep_timer_init(&push->watch, push->loop, on_watch);
	*out = push;
	return (SPR_OK);
fail:
	spr_ep_push_close(push);
	return (rv);
}

static spr_err
add_endpoint(spr_push *push, const char *url, char *bound)
{
	const spr_ep_endpoint_config config = {.protocol = SPR_SP_PUSH,
					       .peer = SPR_SP_PULL,
					       .loops = &push->loop,
					       .n_loops = 1,
					       .on_stream = on_stream,
					       .arg = push};
	spr_err rv = spr_ep_endpoints_add(&push->endpoints, &config, url, bound);

	if (rv != SPR_OK)
		return (rv);
	if (spr_ep_endpoint_is_ipc(push->endpoints))
		push->has_ipc = true;
	else
		push->has_tcp = true;
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = lane->next) {
		/* relaxed: either will do */
		atomic_store_explicit(&lane->has_lead, push->has_ipc && !push->has_tcp,
				      memory_order_relaxed);
	}
	return (SPR_OK);
}

spr_err
spr_ep_push_listen(spr_push *push, const char *url, char *bound)
{
	return (add_endpoint(push, url, bound));
}

spr_err
spr_ep_push_dial(spr_push *push, const char *url)
{
	return (add_endpoint(push, url, NULL));
}

spr_err
spr_ep_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg)
{
	spr_push_lane *lane = spr_ep_lane_new(push, slots, lane_arg);

	if (lane == NULL)
		return (SPR_E_NOMEM);
	lane->next = push->lanes;
	push->lanes = lane;
	*out = lane;
	return (SPR_OK);
}

/* What has ended is in the kernel, or with its peer: what is left of it is what TCP has not passed on. */
static bool
is_flushed(spr_push *push)
{
	bool is_empty = true;

	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = lane->next)
		is_empty &= spr_ep_lane_busy(lane) == 0;
	return (is_empty && spr_ep_deal_is_passed_on(&push->deal));
}

bool
spr_ep_push_flush(spr_push *push, uint64_t deadline_ns)
{
	const struct timespec step = {.tv_nsec = FLUSH_STEP_NS};

	while (!is_flushed(push)) {
		if (spr_clock_now_ns() >= deadline_ns)
			return (false);
		nanosleep(&step, NULL);
	}
	return (true);
}

void
spr_ep_push_close(spr_push *push)
{
	spr_push_lane *next;

	if (push == NULL)
		return;
	spr_ep_timer_stop(&push->poll);
	spr_ep_timer_stop(&push->watch);
	spr_ep_loop_stop(push->loop);
	spr_ep_endpoints_stop(push->endpoints);
	spr_ep_deal_fini(&push->deal);
	spr_ep_endpoints_free(push->endpoints);
	spr_ep_loop_free(push->loop);
	if (push->has_timers)
		spr_timers_drop();
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = next) {
		next = lane->next;
		spr_ep_lane_free(lane);
	}
	spr_mem_free(push);
}

/* ---- a lane ---- */

spr_err
spr_ep_out_alloc(spr_push_lane *lane, spr_out *out, size_t len)
{
	spr_ep_frame *frame = spr_ep_frame_new(lane, len);

	if (frame == NULL)
		return (SPR_E_NOMEM);
	*out = (spr_out){.data = frame->data, .len = len, .handle = frame};
	return (SPR_OK);
}

void
spr_ep_out_free(spr_out *out)
{
	spr_ep_frame_free(out->handle);
	out->handle = NULL;
}

spr_err
spr_ep_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	spr_ep_frame *frame = out->handle;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (spr_ep_lane_room(lane) == 0)
		return (SPR_E_FULL);
	out->handle = NULL;
	spr_ep_frame_seal(frame, out->len);
	frame->cookie = cookie;
	/* relaxed, all: the owner alone writes n_sent; an abort is looked for again in the turn */
	frame->aborts = atomic_load_explicit(&lane->n_aborts, memory_order_relaxed);
	/* relaxed: the owner alone writes it */
	atomic_store_explicit(&lane->n_sent,
			      atomic_load_explicit(&lane->n_sent, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	spr_ep_queue_append(&lane->open, frame);
	lane->open_bytes += frame->len;
	if (lane->open_bytes >= OPEN_BYTES || spr_ep_lane_room(lane) == 0)
		spr_ep_lane_flush(lane);
	return (SPR_OK);
}

void
spr_ep_lane_flush(spr_push_lane *lane)
{
	if (lane->open.head == NULL)
		return;
	lane->open_bytes = 0;
	spr_ep_queue_push(&lane->open, &lane->push->deal.hub.posted); /* E2 */
	spr_ep_deal_look(&lane->push->deal);
}

unsigned
spr_ep_lane_room(spr_push_lane *lane)
{
	/* relaxed, both: the owner alone makes it less */
	return (lane->slots - (atomic_load_explicit(&lane->n_sent, memory_order_relaxed) -
			       atomic_load_explicit(&lane->n_freed, memory_order_relaxed)));
}

unsigned
spr_ep_lane_busy(spr_push_lane *lane)
{
	/* E10 acquire: pairs with the release in spr_ep_frames_end; read first, so that it is never ahead of n_sent */
	unsigned n_done = atomic_load_explicit(&lane->n_done, memory_order_acquire);

	/* relaxed: as above */
	return (atomic_load_explicit(&lane->n_sent, memory_order_relaxed) - n_done);
}

void
spr_ep_lane_abort(spr_push_lane *lane)
{
	/* relaxed: seen by whoever sees the count below, and in the turn that is asked for (E15) */
	atomic_fetch_add_explicit(&lane->n_aborts, 1, memory_order_relaxed);
	/* release: pairs with the acquire in a connection's turn */
	atomic_fetch_add_explicit(&lane->push->deal.hub.n_aborts, 1, memory_order_release);
	spr_ep_deal_visit(&lane->push->deal);
}

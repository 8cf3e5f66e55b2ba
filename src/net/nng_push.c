/*
 * nng_push - sends on a PUSH socket through lanes of preallocated aios.
 *
 * A completed send means that a pipe took the message, no more; the socket keeps no queue of its
 * own (NNG_OPT_SENDBUF stays 0), so a completion is the most that nng can tell. Free slots travel
 * back from nng's threads to the lane's owner through a mailbox; the owner keeps a private list, so
 * that taking a slot is usually a plain pop.
 */
#include "net/nng_push.h"

#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stack.h"
#include "net/nng_common.h"

#define FLUSH_POLL_MS   2
#define FLUSH_SETTLE_NS SPR_NS_PER_S

typedef struct send_slot {
	spr_stack_entry free;
	spr_push_lane *lane;
	nng_aio *aio;
	void *cookie;
	size_t len;
} send_slot;

struct spr_push_lane {
	/* constant after open */
	spr_push *push;
	void *arg; /* of the callbacks */
	spr_push_lane *next;
	send_slot *slots;
	unsigned n_slots;

	/* written by the lane's owner */
	_Alignas(SPR_CACHELINE) spr_stack_entry *ready;
	unsigned n_ready;

	/* written by nng's threads */
	_Alignas(SPR_CACHELINE) spr_stack returned;
	atomic_uint busy; /* also by the owner */
};

struct spr_push {
	/* constant after open */
	nng_socket socket;
	bool has_socket;
	spr_push_config config;
	spr_push_lane *lanes;

	/* written by nng's threads */
	_Atomic uint64_t taken; /* messages that a pipe took */

	/* written by nng's reaper, one pipe after the other */
	_Atomic uint64_t lost_written; /* by pipes that went away */
	_Atomic uint32_t lost_pipe;    /* the last one, counted in lost_written */
	_Atomic uint64_t maybe_lost;   /* messages that went away with their pipes, at most */
};

/* Adds to live what this socket's pipes have written whole to the kernel; to lost, if it is that pipe. */
static void
add_written(nng_stat *pipe, int socket, uint32_t lost_pipe, uint64_t *live, uint64_t *lost)
{
	uint64_t sent = 0, owner = 0, id = 0;

	for (nng_stat *leaf = nng_stat_child(pipe); leaf != NULL; leaf = nng_stat_next(leaf)) {
		if (strcmp(nng_stat_name(leaf), "socket") == 0)
			owner = nng_stat_value(leaf);
		else if (strcmp(nng_stat_name(leaf), "id") == 0)
			id = nng_stat_value(leaf);
		else if (strcmp(nng_stat_name(leaf), "tx_msgs") == 0)
			sent = nng_stat_value(leaf);
	}
	if (owner == (uint64_t)socket)
		*(id == lost_pipe ? lost : live) += sent;
}

static void
count_written(const spr_push *push, uint32_t lost_pipe, uint64_t *live, uint64_t *lost)
{
	nng_stat *root = NULL;

	*live = *lost = 0;
	if (nng_stats_get(&root) != 0)
		return;
	for (nng_stat *node = nng_stat_child(root); node != NULL; node = nng_stat_next(node)) {
		if (strncmp(nng_stat_name(node), "pipe", 4) == 0)
			add_written(node, nng_socket_id(push->socket), lost_pipe, live, lost);
	}
	nng_stats_free(root);
}

/* What all pipes together have taken and not written yet. While lanes are busy, at most that. */
static uint64_t
count_unwritten(const spr_push *push)
{
	/* acquire: lost_pipe is at least as new, so that no pipe is counted twice */
	uint64_t written = atomic_load_explicit(&push->lost_written, memory_order_acquire);
	uint32_t lost_pipe = atomic_load_explicit(&push->lost_pipe, memory_order_relaxed);
	uint64_t live, lost, taken = 0;

	count_written(push, lost_pipe, &live, &lost);
	written += live;
	/* busy before taken: a completion counts the other way round. E10 of idle lanes orders the rest */
	for (const spr_push_lane *lane = push->lanes; lane != NULL; lane = lane->next)
		taken += atomic_load_explicit(&lane->busy, memory_order_acquire);
	taken += atomic_load_explicit(&push->taken, memory_order_acquire);
	return (taken > written ? taken - written : 0);
}

/*
 * [nng's reaper] The pipe is still in the statistics: what it has written is kept. Whether it died with a message in it
 * nobody can tell, unless nothing at all is unwritten.
 */
static void
on_pipe_lost(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	spr_push *push = arg;
	uint32_t id = (uint32_t)nng_pipe_id(pipe);
	uint64_t live, lost, unwritten;
	/* relaxed: this thread is the only writer of the three */
	uint64_t maybe_lost = atomic_load_explicit(&push->maybe_lost, memory_order_relaxed) + 1;

	(void)event;
	count_written(push, id, &live, &lost);
	atomic_store_explicit(&push->lost_pipe, id, memory_order_relaxed);
	/* release: pairs with count_unwritten */
	atomic_fetch_add_explicit(&push->lost_written, lost, memory_order_release);
	unwritten = count_unwritten(push);
	/* relaxed: a bound that flush reads; it was too large before */
	atomic_store_explicit(&push->maybe_lost, maybe_lost < unwritten ? maybe_lost : unwritten,
			      memory_order_relaxed);
	if (push->config.pipes.on_pipe != NULL)
		push->config.pipes.on_pipe(push->config.pipes.arg, -1);
}

static void
on_sent(void *arg)
{
	send_slot *slot = arg;
	spr_push_lane *lane = slot->lane;
	spr_push *push = lane->push;
	void *cookie = slot->cookie;
	size_t len = slot->len;
	int rv = nng_aio_result(slot->aio);

	if (rv != 0) { /* a failed send gives the message back */
		nng_msg_free(nng_aio_get_msg(slot->aio));
		nng_aio_set_msg(slot->aio, NULL);
	} else {
		atomic_fetch_add_explicit(
		    &push->taken, 1,
		    memory_order_relaxed /* read by flush, after the lanes are idle */);
	}
	spr_mailbox_push(&lane->returned,
			 &slot->free); /* E2: the owner may use the slot from here on */
	push->config.on_done(lane->arg, &cookie, 1, len, spr_err_from_nng(rv));
	/* E10 release: whoever reads 0 sees everything that on_done did */
	atomic_fetch_sub_explicit(&lane->busy, 1, memory_order_release);
}

spr_err
spr_nng_push_open(spr_push **out, const spr_push_config *config)
{
	spr_err rv;
	spr_push *push = spr_mem_zalloc(sizeof(*push));
	int nrv;

	if (push == NULL)
		return (SPR_E_NOMEM);
	push->config = *config;
	if ((nrv = nng_push0_open(&push->socket)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open outbox socket: %s", nng_strerror(nrv));
		goto fail;
	}
	push->has_socket = true;
	/* a PUSH peer has nothing to say; a small limit is all it gets */
	if ((rv = spr_nng_socket_setup(push->socket, 1024, &push->config.pipes)) != SPR_OK)
		goto fail;
	if ((nrv = nng_pipe_notify(push->socket, NNG_PIPE_EV_REM_POST, on_pipe_lost, push)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open outbox socket: %s", nng_strerror(nrv));
		goto fail;
	}
	*out = push;
	return (SPR_OK);
fail:
	spr_nng_push_close(push);
	return (rv);
}

spr_err
spr_nng_push_listen(spr_push *push, const char *url, char *bound)
{
	return (spr_nng_listen(push->socket, url, bound));
}

spr_err
spr_nng_push_dial(spr_push *push, const char *url)
{
	return (spr_nng_dial(push->socket, url));
}

static void
lane_free(spr_push_lane *lane)
{
	for (unsigned i = 0; lane->slots != NULL && i < lane->n_slots; i++) {
		if (lane->slots[i].aio != NULL)
			nng_aio_free(lane->slots[i].aio);
	}
	spr_mem_free(lane->slots);
	spr_mem_free(lane);
}

spr_err
spr_nng_lane_open(spr_push_lane **out, spr_push *push, unsigned slots, void *lane_arg)
{
	spr_push_lane *lane = spr_mem_zalloc_aligned(sizeof(*lane));

	if (lane == NULL)
		return (SPR_E_NOMEM);
	lane->push = push;
	lane->arg = lane_arg;
	spr_stack_init(&lane->returned);
	if ((lane->slots = spr_mem_zalloc_aligned(slots * sizeof(send_slot))) == NULL)
		goto fail;
	for (unsigned i = 0; i < slots; i++) {
		send_slot *slot = &lane->slots[i];

		slot->lane = lane;
		lane->n_slots = i + 1;
		if (nng_aio_alloc(&slot->aio, on_sent, slot) != 0)
			goto fail;
		nng_aio_set_timeout(slot->aio, NNG_DURATION_INFINITE);
		spr_mailbox_push(&lane->returned, &slot->free);
	}
	lane->next = push->lanes;
	push->lanes = lane;
	*out = lane;
	return (SPR_OK);
fail:
	lane_free(lane);
	return (SPR_E_NOMEM);
}

spr_err
spr_nng_out_alloc(spr_push_lane *lane, spr_out *out, size_t len)
{
	nng_msg *msg;

	(void)lane;
	if (nng_msg_alloc(&msg, len) != 0)
		return (SPR_E_NOMEM);
	out->handle = msg;
	out->data = nng_msg_body(msg);
	out->len = len;
	return (SPR_OK);
}

void
spr_nng_out_free(spr_out *out)
{
	nng_msg_free(out->handle);
	out->handle = NULL;
}

/* Moves what came back to the owner's private list. */
static void
collect_returned(spr_push_lane *lane)
{
	spr_stack_entry *entry = spr_mailbox_pop_all(&lane->returned);
	spr_stack_entry *next;

	for (; entry != NULL; entry = next) {
		next = spr_stack_next(entry);
		entry->link.next = lane->ready != NULL ? &lane->ready->link : NULL;
		lane->ready = entry;
		lane->n_ready++;
	}
}

spr_err
spr_nng_lane_send(spr_push_lane *lane, spr_out *out, void *cookie)
{
	send_slot *slot;

	SPR_ASSERT_ROLE(SPR_ROLE_DISPATCHER);
	if (lane->ready == NULL)
		collect_returned(lane);
	if (lane->ready == NULL)
		return (SPR_E_FULL);
	slot = SPR_STACK_CONTAINER(lane->ready, send_slot, free);
	lane->ready = spr_stack_next(lane->ready);
	lane->n_ready--;
	slot->cookie = cookie;
	slot->len = out->len;
	nng_msg_chop(out->handle, nng_msg_len(out->handle) - out->len);
	nng_aio_set_msg(slot->aio, out->handle);
	out->handle = NULL;
	/* relaxed: only the owner's own later read and on_sent's release matter */
	atomic_fetch_add_explicit(&lane->busy, 1, memory_order_relaxed);
	nng_send_aio(lane->push->socket, slot->aio);
	return (SPR_OK);
}

unsigned
spr_nng_lane_room(spr_push_lane *lane)
{
	if (lane->n_ready == 0)
		collect_returned(lane);
	return (lane->n_ready);
}

void
spr_nng_lane_abort(spr_push_lane *lane)
{
	for (unsigned i = 0; i < lane->n_slots; i++)
		nng_aio_abort(lane->slots[i].aio, NNG_ECANCELED);
}

unsigned
spr_nng_lane_busy(spr_push_lane *lane)
{
	/* E10 acquire: pairs with the release in on_sent */
	return (atomic_load_explicit(&lane->busy, memory_order_acquire));
}

bool
spr_nng_push_flush(spr_push *push, uint64_t deadline_ns)
{
	uint64_t before = UINT64_MAX;
	uint64_t moved_ns = 0;

	for (;;) {
		uint64_t now_ns = spr_clock_now_ns();
		uint64_t unwritten = count_unwritten(push);

		if (unwritten == 0)
			return (true);
		if (unwritten != before) {
			before = unwritten;
			moved_ns = now_ns;
		}
		/* it may have died with pipes that went away: then quiet is all that can be waited for */
		if (unwritten <= atomic_load_explicit(&push->maybe_lost,
						      memory_order_relaxed /* a bound */) &&
		    now_ns - moved_ns > FLUSH_SETTLE_NS)
			return (true);
		if (now_ns >= deadline_ns)
			return (false);
		nng_msleep(FLUSH_POLL_MS);
	}
}

void
spr_nng_push_close(spr_push *push)
{
	spr_push_lane *next;

	if (push == NULL)
		return;
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = lane->next) {
		for (unsigned i = 0; i < lane->n_slots; i++)
			nng_aio_stop(lane->slots[i].aio);
	}
	if (push->has_socket)
		spr_nng_close_settled(push->socket);
	for (spr_push_lane *lane = push->lanes; lane != NULL; lane = next) {
		next = lane->next;
		lane_free(lane);
	}
	spr_mem_free(push);
}

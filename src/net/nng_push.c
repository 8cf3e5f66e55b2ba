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
#define FLUSH_SETTLE_NS (100 * SPR_NS_PER_MS)

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
	spr_pipe_events pipes; /* the caller's, behind our own count */
	spr_push_lane *lanes;

	/* written by nng's threads */
	_Atomic uint64_t taken;   /* messages that a pipe took */
	atomic_uint n_lost_pipes; /* pipes that went away: what they held can no longer be told */
};

static void
on_push_pipe(void *arg, int change)
{
	spr_push *push = arg;

	if (change < 0)
		atomic_fetch_add_explicit(&push->n_lost_pipes, 1,
					  memory_order_relaxed /* a hint for flush */);
	if (push->config.pipes.on_pipe != NULL)
		push->config.pipes.on_pipe(push->config.pipes.arg, change);
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
	push->config.on_done(lane->arg, cookie, len, spr_err_from_nng(rv));
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
	push->pipes = (spr_pipe_events){.on_pipe = on_push_pipe, .arg = push};
	if ((nrv = nng_push0_open(&push->socket)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open outbox socket: %s", nng_strerror(nrv));
		goto fail;
	}
	push->has_socket = true;
	/* a PUSH peer has nothing to say; a small limit is all it gets */
	if ((rv = spr_nng_socket_setup(push->socket, 1024, &push->pipes)) != SPR_OK)
		goto fail;
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
spr_nng_out_alloc(spr_out *out, size_t len)
{
	nng_msg *msg;

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

/* Messages that live pipes of this socket have written whole to the kernel. */
static uint64_t
sum_written(nng_socket socket)
{
	nng_stat *root = NULL;
	uint64_t sum = 0;

	if (nng_stats_get(&root) != 0)
		return (0);
	for (nng_stat *node = nng_stat_child(root); node != NULL; node = nng_stat_next(node)) {
		bool is_pipe = strncmp(nng_stat_name(node), "pipe", 4) == 0;
		bool is_ours = false;
		uint64_t sent = 0;

		for (nng_stat *leaf = nng_stat_child(node); is_pipe && leaf != NULL;
		     leaf = nng_stat_next(leaf)) {
			if (strcmp(nng_stat_name(leaf), "socket") == 0)
				is_ours = nng_stat_value(leaf) == (uint64_t)nng_socket_id(socket);
			else if (strcmp(nng_stat_name(leaf), "tx_msgs") == 0)
				sent = nng_stat_value(leaf);
		}
		sum += is_ours ? sent : 0;
	}
	nng_stats_free(root);
	return (sum);
}

bool
spr_nng_push_flush(spr_push *push, uint64_t deadline_ns)
{
	uint64_t taken = atomic_load_explicit(
	    &push->taken, memory_order_relaxed /* ordered by E10 of the idle lanes */);
	uint64_t written = sum_written(push->socket);
	uint64_t moved_ns = spr_clock_now_ns();

	for (;;) {
		uint64_t now_ns = spr_clock_now_ns();
		uint64_t written_now = sum_written(push->socket);

		if (written_now == taken)
			return (true);
		if (written_now != written) {
			written = written_now;
			moved_ns = now_ns;
		}
		/* pipes that went away took their counts along: then quiet is all that can be
		 * waited for */
		if (atomic_load_explicit(&push->n_lost_pipes, memory_order_relaxed /* a hint */) >
			0 &&
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

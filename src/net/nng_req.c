/*
 * nng_req - requests on the contexts of one REQ socket.
 *
 * nng's own re-sending is off: the caller decides about every retry, and a lost connection is told
 * at once instead of after a minute. The receive is posted only when the send has completed:
 * posting both crashes nng 1.5.
 */
#include "net/nng_req.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/nng_common.h"

typedef struct req_slot {
	spr_req *req;
	nng_aio *aio;
	nng_ctx ctx;
	bool has_ctx;
	/* handed over by nng's own locks */
	bool is_busy;    /* its on_reply is still to be called */
	bool is_sending; /* else receiving */
	uint64_t deadline_ns;
	unsigned number;
} req_slot;

struct spr_req {
	/* constant after open */
	nng_socket socket;
	bool has_socket;
	spr_req_config config;
	spr_pipe_events pipes;
	req_slot *slots;
	bool is_stopped; /* by main, when the sender has stopped */

	/* written by nng's threads */
	atomic_int peers;
};

static void
on_req_pipe(void *arg, int change)
{
	spr_req *req = arg;

	atomic_fetch_add_explicit(&req->peers, change, memory_order_relaxed /* a gauge */);
	if (req->config.pipes.on_pipe != NULL)
		req->config.pipes.on_pipe(req->config.pipes.arg, change);
}

static void
finish(req_slot *slot, spr_err result, const uint8_t *data, size_t len)
{
	spr_req_config *config = &slot->req->config;

	slot->is_busy = false;
	config->on_reply(config->arg, slot->number, result, data, len);
}

/* What of the limit the send has left. */
static void
receive_reply(req_slot *slot)
{
	uint64_t now_ns = spr_clock_now_ns();
	uint64_t left_ns = slot->deadline_ns > now_ns ? slot->deadline_ns - now_ns : 0;

	slot->is_sending = false;
	nng_aio_set_timeout(slot->aio, (nng_duration)(left_ns / SPR_NS_PER_MS + 1));
	nng_ctx_recv(slot->ctx, slot->aio);
}

static void
on_req_event(void *arg)
{
	req_slot *slot = arg;
	int rv = nng_aio_result(slot->aio);
	nng_msg *msg;

	if (slot->is_sending && rv == 0) {
		receive_reply(slot);
		return;
	}
	if (rv != 0) {
		if (slot->is_sending && (msg = nng_aio_get_msg(slot->aio)) != NULL)
			nng_msg_free(msg);
		nng_aio_set_msg(slot->aio, NULL);
		finish(slot, spr_err_from_nng(rv), NULL, 0);
		return;
	}
	msg = nng_aio_get_msg(slot->aio);
	nng_aio_set_msg(slot->aio, NULL);
	finish(slot, SPR_OK, nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_free(msg);
}

static int
open_slot(spr_req *req, unsigned number)
{
	req_slot *slot = &req->slots[number];
	int rv;

	slot->req = req;
	slot->number = number;
	if ((rv = nng_ctx_open(&slot->ctx, req->socket)) != 0)
		return (rv);
	slot->has_ctx = true;
	if ((rv = nng_ctx_set_ms(slot->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) != 0 ||
	    (rv = nng_aio_alloc(&slot->aio, on_req_event, slot)) != 0)
		return (rv);
	return (0);
}

spr_err
spr_nng_req_open(spr_req **out, const spr_req_config *config)
{
	spr_err rv = SPR_E_NOMEM;
	spr_req *req = spr_mem_zalloc(sizeof(*req));
	int nrv;

	if (req == NULL)
		return (SPR_E_NOMEM);
	req->config = *config;
	req->pipes = (spr_pipe_events){.on_pipe = on_req_pipe, .arg = req};
	if ((req->slots = spr_mem_zalloc(config->window * sizeof(req_slot))) == NULL)
		goto fail;
	if ((nrv = nng_req0_open(&req->socket)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open ack socket: %s", nng_strerror(nrv));
		goto fail;
	}
	req->has_socket = true;
	if ((rv = spr_nng_socket_setup(req->socket, config->max_reply, &req->pipes)) != SPR_OK)
		goto fail;
	for (unsigned i = 0; i < config->window; i++) {
		if ((nrv = open_slot(req, i)) != 0) {
			rv = spr_fail(spr_err_from_nng(nrv), "open ack context: %s",
				      nng_strerror(nrv));
			goto fail;
		}
	}
	*out = req;
	return (SPR_OK);
fail:
	spr_nng_req_close(req);
	return (rv);
}

spr_err
spr_nng_req_listen(spr_req *req, const char *url, char *bound)
{
	return (spr_nng_listen(req->socket, url, bound));
}

spr_err
spr_nng_req_dial(spr_req *req, const char *url)
{
	return (spr_nng_dial(req->socket, url));
}

spr_err
spr_nng_req_send(spr_req *req, unsigned number, const void *data, size_t len)
{
	req_slot *slot = &req->slots[number];
	nng_msg *msg;

	SPR_ASSERT(number < req->config.window && !slot->is_busy);
	if (req->is_stopped)
		return (SPR_E_CANCELLED);
	if (spr_nng_req_peers(req) == 0)
		return (SPR_E_CLOSED);
	if (nng_msg_alloc(&msg, 0) != 0)
		return (SPR_E_NOMEM);
	if (nng_msg_append(msg, data, len) != 0) {
		nng_msg_free(msg);
		return (SPR_E_NOMEM);
	}
	slot->is_busy = true;
	slot->is_sending = true;
	slot->deadline_ns = spr_clock_now_ns() + req->config.timeout_ms * SPR_NS_PER_MS;
	nng_aio_set_timeout(slot->aio, (nng_duration)req->config.timeout_ms);
	nng_aio_set_msg(slot->aio, msg);
	nng_ctx_send(slot->ctx, slot->aio); /* E6: nng's lock orders this before on_reply */
	return (SPR_OK);
}

unsigned
spr_nng_req_peers(const spr_req *req)
{
	int peers = atomic_load_explicit(&req->peers, memory_order_relaxed /* a gauge */);

	return (peers > 0 ? (unsigned)peers : 0);
}

void
spr_nng_req_stop(spr_req *req)
{
	req->is_stopped = true;
	for (unsigned i = 0; i < req->config.window; i++) {
		req_slot *slot = &req->slots[i];

		if (slot->aio != NULL)
			nng_aio_stop(slot->aio);
		/* stopped between its two halves: nng refuses the receive and tells nobody */
		if (slot->is_busy)
			finish(slot, SPR_E_CANCELLED, NULL, 0);
	}
}

void
spr_nng_req_close(spr_req *req)
{
	if (req == NULL)
		return;
	if (req->slots != NULL)
		spr_nng_req_stop(req);
	for (unsigned i = 0; req->slots != NULL && i < req->config.window; i++) {
		if (req->slots[i].has_ctx)
			nng_ctx_close(req->slots[i].ctx);
	}
	if (req->has_socket)
		spr_nng_close_settled(req->socket);
	for (unsigned i = 0; req->slots != NULL && i < req->config.window; i++) {
		if (req->slots[i].aio != NULL)
			nng_aio_free(req->slots[i].aio);
	}
	spr_mem_free(req->slots);
	spr_mem_free(req);
}

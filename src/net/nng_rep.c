/*
 * nng_rep - a parallel REP server on the contexts of one socket.
 *
 * Each context goes round receive -> work -> reply -> receive. While its request is being worked on
 * nothing of the context runs, so the owner of the request may reply from any thread.
 */
#include "net/nng_rep.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/nng_common.h"

typedef enum rep_state { REP_RECEIVING, REP_WORKING, REP_REPLYING } rep_state;

typedef struct rep_slot {
	spr_rep *rep;
	nng_aio *aio;
	nng_ctx ctx;
	bool has_ctx;
	rep_state state; /* handed over by nng's locks, and by E7 while WORKING */
	nng_msg *request;
	unsigned number;
} rep_slot;

struct spr_rep {
	/* constant after open */
	nng_socket socket;
	bool has_socket;
	spr_rep_config config;
	rep_slot *slots;
};

static void
receive_next(rep_slot *slot)
{
	slot->state = REP_RECEIVING;
	nng_ctx_recv(slot->ctx, slot->aio);
}

static void
on_rep_event(void *arg)
{
	rep_slot *slot = arg;
	spr_rep_config *config = &slot->rep->config;
	int rv = nng_aio_result(slot->aio);

	if (rv != 0 && slot->state == REP_REPLYING && nng_aio_get_msg(slot->aio) != NULL) {
		nng_msg_free(
		    nng_aio_get_msg(slot->aio)); /* the asker is gone; it costs only itself */
		nng_aio_set_msg(slot->aio, NULL);
	}
	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (slot->state == REP_REPLYING || rv != 0) {
		receive_next(slot);
		return;
	}
	slot->state = REP_WORKING;
	slot->request = nng_aio_get_msg(slot->aio);
	nng_aio_set_msg(slot->aio, NULL);
	config->on_request(config->arg, slot->number, nng_msg_body(slot->request),
			   nng_msg_len(slot->request));
}

spr_err
spr_nng_rep_open(spr_rep **out, const spr_rep_config *config)
{
	spr_err rv = SPR_E_NOMEM;
	spr_rep *rep = spr_mem_zalloc(sizeof(*rep));
	int nrv;

	if (rep == NULL)
		return (SPR_E_NOMEM);
	rep->config = *config;
	if ((rep->slots = spr_mem_zalloc(config->window * sizeof(rep_slot))) == NULL)
		goto fail;
	if ((nrv = nng_rep0_open(&rep->socket)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open control socket: %s", nng_strerror(nrv));
		goto fail;
	}
	rep->has_socket = true;
	if ((rv = spr_nng_socket_setup(rep->socket, config->max_request, &rep->config.pipes)) !=
	    SPR_OK)
		goto fail;
	for (unsigned i = 0; i < config->window; i++) {
		rep_slot *slot = &rep->slots[i];

		slot->rep = rep;
		slot->number = i;
		if ((nrv = nng_ctx_open(&slot->ctx, rep->socket)) != 0)
			goto fail_nng;
		slot->has_ctx = true;
		if ((nrv = nng_aio_alloc(&slot->aio, on_rep_event, slot)) != 0)
			goto fail_nng;
		nng_aio_set_timeout(slot->aio, NNG_DURATION_INFINITE);
	}
	*out = rep;
	return (SPR_OK);
fail_nng: /* a foreign code ends here */
	rv = spr_fail(spr_err_from_nng(nrv), "open control context: %s", nng_strerror(nrv));
fail:
	spr_nng_rep_close(rep);
	return (rv);
}

spr_err
spr_nng_rep_listen(spr_rep *rep, const char *url, char *bound)
{
	return (spr_nng_listen(rep->socket, url, bound));
}

void
spr_nng_rep_start(spr_rep *rep)
{
	for (unsigned i = 0; i < rep->config.window; i++)
		receive_next(&rep->slots[i]);
}

void
spr_nng_rep_reply(spr_rep *rep, unsigned number, const void *data, size_t len)
{
	rep_slot *slot = &rep->slots[number];
	nng_msg *msg = NULL;

	SPR_ASSERT(slot->state == REP_WORKING);
	nng_msg_free(slot->request);
	slot->request = NULL;
	if (nng_msg_alloc(&msg, 0) != 0 || nng_msg_append(msg, data, len) != 0) {
		/* no memory for the reply: the asker times out and asks again */
		if (msg != NULL)
			nng_msg_free(msg);
		receive_next(slot);
		return;
	}
	slot->state = REP_REPLYING;
	nng_aio_set_msg(slot->aio, msg);
	nng_ctx_send(slot->ctx, slot->aio); /* after a stop nng refuses it and calls nobody */
}

void
spr_nng_rep_stop(spr_rep *rep)
{
	for (unsigned i = 0; i < rep->config.window; i++) {
		if (rep->slots[i].aio != NULL)
			nng_aio_stop(rep->slots[i].aio);
	}
}

void
spr_nng_rep_close(spr_rep *rep)
{
	if (rep == NULL)
		return;
	if (rep->slots != NULL)
		spr_nng_rep_stop(rep);
	for (unsigned i = 0; rep->slots != NULL && i < rep->config.window; i++) {
		if (rep->slots[i].has_ctx)
			nng_ctx_close(rep->slots[i].ctx);
	}
	if (rep->has_socket)
		spr_nng_close_settled(rep->socket);
	for (unsigned i = 0; rep->slots != NULL && i < rep->config.window; i++) {
		rep_slot *slot = &rep->slots[i];

		/* a reply that came after the stop */
		if (slot->state == REP_REPLYING && nng_aio_get_msg(slot->aio) != NULL)
			nng_msg_free(nng_aio_get_msg(slot->aio));
		if (slot->aio != NULL)
			nng_aio_free(slot->aio);
		if (slot->request != NULL)
			nng_msg_free(slot->request);
	}
	spr_mem_free(rep->slots);
	spr_mem_free(rep);
}

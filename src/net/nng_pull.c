/*
 * nng_pull - receives on a PULL socket: one aio a receive, re-armed inside its own completion.
 *
 * A blocking receive costs about ten times the processor time of a completion that re-arms itself,
 * so there is none. A completion touches nothing of its receive after on_receive said "parked":
 * from then on whoever un-parks it may re-arm it, even while this completion is still returning.
 */
#include "net/nng_pull.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/nng_common.h"

typedef struct receive {
	spr_pull *pull;
	nng_aio *aio;
	unsigned index;
} receive;

struct spr_pull {
	/* constant after open */
	nng_socket socket;
	bool has_socket;
	spr_pull_config config;
	receive *receives;

	/* written by main */
	atomic_bool is_stopping;
};

/* A received nng message seen as a buffer. */
typedef struct nng_buf {
	spr_buf buf;
	nng_msg *msg;
} nng_buf;

static void
release_buf(spr_buf *buf)
{
	nng_buf *self = (nng_buf *)buf;

	nng_msg_free(self->msg);
	spr_mem_free(self);
}

static spr_buf *
wrap_msg(nng_msg *msg)
{
	nng_buf *self = spr_mem_alloc(sizeof(*self));

	if (self == NULL)
		return (NULL);
	self->msg = msg;
	self->buf.data = nng_msg_body(msg);
	self->buf.len = nng_msg_len(msg);
	self->buf.received_ns = spr_clock_now_ns();
	self->buf.peer = (spr_peer){.kind = SPR_PEER_UNKNOWN};
	self->buf.release = release_buf;
	atomic_init(&self->buf.refs, 1);
	return (&self->buf);
}

/* Memory is short: the message cannot be handed on and must not be dropped, so it waits here and is
 * tried again. */
static spr_buf *
wrap_msg_patiently(spr_pull *pull, nng_msg *msg)
{
	spr_buf *buf;

	while ((buf = wrap_msg(msg)) == NULL) {
		if (atomic_load_explicit(
			&pull->is_stopping,
			memory_order_relaxed /* polled; nothing is read through it */))
			return (NULL);
		nng_msleep(10);
	}
	return (buf);
}

static void
on_received(void *arg)
{
	receive *self = arg;
	spr_pull *pull = self->pull;
	int rv = nng_aio_result(self->aio);
	nng_msg *msg;
	spr_buf *buf;

	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (rv == 0) {
		msg = nng_aio_get_msg(self->aio);
		if ((buf = wrap_msg_patiently(pull, msg)) == NULL) {
			nng_msg_free(msg); /* stopping: as if still unread in the socket */
			return;
		}
		if (!pull->config.on_receive(pull->config.arg, self->index, buf))
			return;
	}
	nng_recv_aio(pull->socket, self->aio);
}

spr_err
spr_nng_pull_open(spr_pull **out, const spr_pull_config *config)
{
	spr_err rv = SPR_E_NOMEM;
	spr_pull *pull = spr_mem_zalloc(sizeof(*pull));
	int nrv;

	if (pull == NULL)
		return (SPR_E_NOMEM);
	pull->config = *config;
	atomic_init(&pull->is_stopping, false);
	if ((pull->receives = spr_mem_zalloc(config->receives * sizeof(receive))) == NULL)
		goto fail;
	if ((nrv = nng_pull0_open(&pull->socket)) != 0) {
		rv = spr_fail(spr_err_from_nng(nrv), "open intake socket: %s", nng_strerror(nrv));
		goto fail;
	}
	pull->has_socket = true;
	if ((rv = spr_nng_socket_setup(pull->socket, config->max_message, &pull->config.pipes)) !=
	    SPR_OK)
		goto fail;
	for (unsigned i = 0; i < config->receives; i++) {
		receive *self = &pull->receives[i];

		self->pull = pull;
		self->index = i;
		if ((nrv = nng_aio_alloc(&self->aio, on_received, self)) != 0) {
			rv = spr_err_from_nng(nrv);
			goto fail;
		}
		nng_aio_set_timeout(self->aio, NNG_DURATION_INFINITE);
	}
	*out = pull;
	return (SPR_OK);
fail:
	spr_nng_pull_close(pull);
	return (rv);
}

spr_err
spr_nng_pull_listen(spr_pull *pull, const char *url, char *bound)
{
	return (spr_nng_listen(pull->socket, url, bound));
}

spr_err
spr_nng_pull_dial(spr_pull *pull, const char *url)
{
	return (spr_nng_dial(pull->socket, url));
}

void
spr_nng_pull_start(spr_pull *pull)
{
	for (unsigned i = 0; i < pull->config.receives; i++)
		nng_recv_aio(pull->socket, pull->receives[i].aio);
}

void
spr_nng_pull_rearm(spr_pull *pull, unsigned index)
{
	/* on a stopped aio nng refuses to begin and calls nobody, so a late re-arm is harmless */
	nng_recv_aio(pull->socket, pull->receives[index].aio);
}

void
spr_nng_pull_stop(spr_pull *pull)
{
	atomic_store_explicit(&pull->is_stopping, true,
			      memory_order_relaxed /* polled; nothing is read through it */);
	for (unsigned i = 0; i < pull->config.receives; i++) {
		if (pull->receives[i].aio != NULL)
			nng_aio_stop(pull->receives[i].aio);
	}
}

void
spr_nng_pull_close(spr_pull *pull)
{
	if (pull == NULL)
		return;
	if (pull->receives != NULL)
		spr_nng_pull_stop(pull);
	if (pull->has_socket)
		spr_nng_close_settled(pull->socket);
	for (unsigned i = 0; pull->receives != NULL && i < pull->config.receives; i++) {
		if (pull->receives[i].aio != NULL)
			nng_aio_free(pull->receives[i].aio);
	}
	spr_mem_free(pull->receives);
	spr_mem_free(pull);
}

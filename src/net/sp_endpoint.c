/*
 * sp_endpoint - accept or dial, then eight bytes each way.
 *
 * Every stream has a handshake record of its own until it is given out, so a peer that says nothing holds up nobody else,
 * and a connection that is closed in the middle costs only itself.
 */
#include "net/sp_endpoint.h"

#include <string.h>

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include "base/assert.h"
#include "base/mem.h"

#define HANDSHAKE_MS    10000
#define ACCEPT_PAUSE_MS 10
#define DIAL_MIN_MS     20
#define DIAL_MAX_MS     2000
#define HANDSHAKE_BYTES 8

typedef struct handshake handshake;
struct handshake {
	spr_sp_endpoint *endpoint;
	nng_stream *stream;
	nng_aio *aio;
	bool is_reading;
	unsigned n_done;
	bool is_taken; /* by stop; guarded by the mutex */
	uint8_t bytes[HANDSHAKE_BYTES];
	handshake *next, *prev; /* guarded by the endpoint's mutex */
};

struct spr_sp_endpoint {
	/* constant after open */
	spr_sp_endpoint_config config;
	nng_stream_listener *listener;
	nng_stream_dialer *dialer;
	nng_aio *aio;
	bool is_ipc;

	/* one step at a time: nng's locks hand it on */
	bool is_pausing;
	unsigned dial_ms;

	/* guarded by mutex, which is taken alone */
	pthread_mutex_t mutex;
	handshake *handshakes;
};

static void
next_stream(spr_sp_endpoint *self)
{
	self->is_pausing = false;
	if (self->listener != NULL)
		nng_stream_listener_accept(self->listener, self->aio);
	else
		nng_stream_dialer_dial(self->dialer, self->aio);
}

static void
pause_then_next(spr_sp_endpoint *self, unsigned ms)
{
	self->is_pausing = true;
	nng_sleep_aio((nng_duration)ms, self->aio);
}

/* Full jitter: peers that were lost together do not come back together. */
static void
dial_later(spr_sp_endpoint *self)
{
	unsigned ms = nng_random() % (self->dial_ms + 1);

	self->dial_ms = self->dial_ms * 2 < DIAL_MAX_MS ? self->dial_ms * 2 : DIAL_MAX_MS;
	pause_then_next(self, ms);
}

/* The mutex is held. */
static void
unlink_handshake(handshake *h)
{
	if (h->prev != NULL)
		h->prev->next = h->next;
	else
		h->endpoint->handshakes = h->next;
	if (h->next != NULL)
		h->next->prev = h->prev;
}

/* Its stream was given out or closed. While stop has it, stop frees it. */
static void
end_handshake(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;
	bool is_taken;

	pthread_mutex_lock(&self->mutex);
	is_taken = h->is_taken;
	if (!is_taken)
		unlink_handshake(h);
	pthread_mutex_unlock(&self->mutex);
	if (is_taken)
		return;
	nng_aio_reap(h->aio); /* this is its callback */
	spr_mem_free(h);
}

static void
close_stream(handshake *h)
{
	nng_stream_close(h->stream);
	nng_stream_free(h->stream);
	h->stream = NULL;
}

static void
refuse(handshake *h)
{
	spr_sp_endpoint *self = h->endpoint;

	close_stream(h);
	if (self->dialer != NULL)
		dial_later(self);
	end_handshake(h);
}

static void
move_bytes(handshake *h)
{
	nng_iov iov = {.iov_buf = h->bytes + h->n_done, .iov_len = HANDSHAKE_BYTES - h->n_done};

	nng_aio_set_iov(h->aio, 1, &iov);
	if (h->is_reading)
		nng_stream_recv(h->stream, h->aio);
	else
		nng_stream_send(h->stream, h->aio);
}

static void
write_greeting(uint8_t *bytes, uint16_t protocol)
{
	const uint8_t greeting[HANDSHAKE_BYTES] = {
	    0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0};

	memcpy(bytes, greeting, sizeof(greeting));
}

static void
on_handshake(void *arg)
{
	handshake *h = arg;
	spr_sp_endpoint *self = h->endpoint;
	uint8_t expected[HANDSHAKE_BYTES];
	nng_stream *stream;

	if (nng_aio_result(h->aio) != 0) {
		refuse(h);
		return;
	}
	h->n_done += (unsigned)nng_aio_count(h->aio);
	if (h->n_done < HANDSHAKE_BYTES || !h->is_reading) {
		if (h->n_done == HANDSHAKE_BYTES) {
			h->is_reading = true;
			h->n_done = 0;
		}
		move_bytes(h);
		return;
	}
	write_greeting(expected, self->config.peer);
	if (memcmp(expected, h->bytes, sizeof(expected)) != 0) {
		refuse(h);
		return;
	}
	if (self->dialer != NULL)
		self->dial_ms = DIAL_MIN_MS;
	stream = h->stream;
	h->stream = NULL;
	self->config.on_stream(self->config.arg, self, stream);
	end_handshake(h);
}

/* False when it cannot be begun: the stream is still the caller's. */
static bool
begin_handshake(spr_sp_endpoint *self, nng_stream *stream)
{
	handshake *h = spr_mem_zalloc(sizeof(*h));

	if (h == NULL || nng_aio_alloc(&h->aio, on_handshake, h) != 0) {
		spr_mem_free(h);
		return (false);
	}
	h->endpoint = self;
	h->stream = stream;
	nng_aio_set_timeout(h->aio, HANDSHAKE_MS);
	pthread_mutex_lock(&self->mutex);
	h->next = self->handshakes;
	if (h->next != NULL)
		h->next->prev = h;
	self->handshakes = h;
	pthread_mutex_unlock(&self->mutex);
	write_greeting(h->bytes, self->config.protocol);
	move_bytes(h);
	return (true);
}

/* A stream came, or a pause is over. */
static void
on_endpoint(void *arg)
{
	spr_sp_endpoint *self = arg;
	int rv = nng_aio_result(self->aio);
	nng_stream *stream;

	/*
	 * No result is taken for the end: a peer that hangs up and resets makes a dial end with NNG_ECLOSED, because that is
	 * what nng makes of EPIPE. Behind stop nothing begins any more.
	 */
	if (self->is_pausing) {
		next_stream(self);
		return;
	}
	if (rv == 0) {
		stream = nng_aio_get_output(self->aio, 0);
		if (!begin_handshake(self, stream)) {
			nng_stream_close(stream);
			nng_stream_free(stream);
			rv = NNG_ENOMEM;
		}
	}
	if (self->listener == NULL) {
		if (rv != 0)
			dial_later(self);
	} else if (rv != 0) {
		pause_then_next(self, ACCEPT_PAUSE_MS);
	} else {
		next_stream(self);
	}
}

static spr_err
open_listener(spr_sp_endpoint *self, const char *url, char *bound)
{
	int rv, port = 0;

	if ((rv = nng_stream_listener_alloc(&self->listener, url)) != 0)
		return (spr_nng_fail_listen(url, rv));
	/* half-open peers are found by the kernel; schemes without tcp refuse the option, which is fine */
	(void)nng_stream_listener_set_bool(self->listener, NNG_OPT_TCP_KEEPALIVE, true);
	if ((rv = nng_stream_listener_listen(self->listener)) != 0)
		return (spr_nng_fail_listen(url, rv));
	(void)nng_stream_listener_get_int(self->listener, NNG_OPT_TCP_BOUND_PORT, &port);
	spr_nng_bound_url(url, port, bound);
	return (SPR_OK);
}

static spr_err
open_dialer(spr_sp_endpoint *self, const char *url)
{
	int rv;

	if ((rv = nng_stream_dialer_alloc(&self->dialer, url)) != 0)
		return (
		    spr_fail(SPR_E_ADDRESS, "dial %s: %s; check the URL", url, nng_strerror(rv)));
	(void)nng_stream_dialer_set_bool(self->dialer, NNG_OPT_TCP_KEEPALIVE, true);
	return (SPR_OK);
}

spr_err
spr_sp_endpoint_open(spr_sp_endpoint **out, const spr_sp_endpoint_config *config, const char *url,
		     char *bound)
{
	spr_sp_endpoint *self = spr_mem_zalloc(sizeof(*self));
	spr_err rv = SPR_E_NOMEM;

	if (self == NULL)
		return (SPR_E_NOMEM);
	self->config = *config;
	self->dial_ms = DIAL_MIN_MS;
	self->is_ipc = strncmp(url, "ipc", 3) == 0 || strncmp(url, "unix", 4) == 0 ||
		       strncmp(url, "abstract", 8) == 0;
	pthread_mutex_init(&self->mutex, NULL);
	if (nng_aio_alloc(&self->aio, on_endpoint, self) != 0)
		goto fail;
	nng_aio_set_timeout(self->aio, NNG_DURATION_INFINITE);
	if ((rv = bound != NULL ? open_listener(self, url, bound) : open_dialer(self, url)) !=
	    SPR_OK)
		goto fail;
	next_stream(self);
	*out = self;
	return (SPR_OK);
fail:
	spr_sp_endpoint_free(self);
	return (rv);
}

void
spr_sp_endpoint_lost(spr_sp_endpoint *self)
{
	if (self->dialer != NULL)
		dial_later(self);
}

bool
spr_sp_endpoint_is_ipc(const spr_sp_endpoint *self)
{
	return (self->is_ipc);
}

/* The next handshake, which is now the caller's; NULL: there is none. */
static handshake *
take_handshake(spr_sp_endpoint *self)
{
	handshake *h;

	pthread_mutex_lock(&self->mutex);
	if ((h = self->handshakes) != NULL) {
		unlink_handshake(h);
		h->is_taken = true;
	}
	pthread_mutex_unlock(&self->mutex);
	return (h);
}

void
spr_sp_endpoint_stop(spr_sp_endpoint *self)
{
	handshake *h;

	if (self->listener != NULL)
		nng_stream_listener_close(self->listener);
	if (self->dialer != NULL)
		nng_stream_dialer_close(self->dialer);
	if (self->aio != NULL)
		nng_aio_stop(self->aio); /* from here on no handshake begins */
	while ((h = take_handshake(self)) != NULL) {
		/* not by closing its stream: nng never ends an operation that begins on a closed one */
		nng_aio_stop(h->aio);
		if (h->stream != NULL)
			close_stream(h);
		nng_aio_free(h->aio);
		spr_mem_free(h);
	}
}

void
spr_sp_endpoint_free(spr_sp_endpoint *self)
{
	if (self == NULL)
		return;
	spr_sp_endpoint_stop(self);
	if (self->listener != NULL)
		nng_stream_listener_free(self->listener);
	if (self->dialer != NULL)
		nng_stream_dialer_free(self->dialer);
	if (self->aio != NULL)
		nng_aio_free(self->aio);
	pthread_mutex_destroy(&self->mutex);
	spr_mem_free(self);
}
